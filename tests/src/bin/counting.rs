//! The server of the benchmarks, which counts how often it allocates memory: `counting serve handler|routed THREADS`.

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tests::bench::{ours, routed};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [role, kind, _] if role == "serve" && kind == "handler" => ours::serve(1),
        [role, kind, _] if role == "serve" && kind == "routed" => routed::serve_uncounted(1),
        _ => {
            eprintln!("usage: counting serve handler|routed THREADS");
            ExitCode::FAILURE
        }
    }
}
