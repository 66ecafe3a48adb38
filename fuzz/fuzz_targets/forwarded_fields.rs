//! What trusted proxies, and a client before them, say in `Forwarded` and `X-Forwarded-For`.

#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| gracehttp::__private::read_forwarded_fields(script));
