fn main() -> ::std::process::ExitCode {
    fn main() {}
    ::core::unreachable!()
}
::core::compile_error! {
    "the server `ping` is listed twice"
}
::core::compile_error! {
    "`HUP` restarts by default\nhelp: say which signals do instead: `restart_on(USR1, USR2)`"
}
::core::compile_error! {
    "`main` holds the start-up code, which is async: write `async fn main`\nhelp: `#[gracehttp::main]` makes the runtime, too; there is no `#[tokio::main]` beside it"
}
