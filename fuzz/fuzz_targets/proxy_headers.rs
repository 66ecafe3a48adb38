//! The beginning of a connection from a proxy: a PROXY header, or anything else.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gracehttp::__private::read_proxy_header(bytes));
