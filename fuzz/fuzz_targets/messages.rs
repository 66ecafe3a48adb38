//! Datagrams on the channel between two processes, TLS sessions among them: none of them does harm.

#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| gracehttp::__private::read_handoff_message(datagram));
