//! The same records for a TLS session of ours and for a rustls server with the same keys: they read the same text, and
//! end with the same alert.

#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| gracehttp::__private::open_as_rustls(script));
