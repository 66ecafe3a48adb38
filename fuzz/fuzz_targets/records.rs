//! A client that may do anything, and a TLS session of ours that rests and moves meanwhile: it never panics, and takes
//! nothing for data that the client has not sealed.

#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| gracehttp::__private::open_records(script));
