fn main() -> ::std::process::ExitCode {
    async fn main() {}
    #[allow(unused_imports)]
    use ::gracehttp::__private::Infallible as _;
    const __SERVERS: [::gracehttp::__private::Listens; 1usize] = [
        {
            #[allow(unused_imports)]
            use self::ping as with_attribute_server;
            #[allow(unused_imports)]
            use ::gracehttp::__private::undeclared::*;
            with_attribute_server::server()
        }
            .listens(),
    ];
    const _: () = if __SERVERS[0usize].is_undeclared() {
        ::core::panic!(
            "{}", "`ping` is not a server: `#[server(port = …)]` is missing on it"
        )
    };
    ::gracehttp::__private::start_up(main)
        .app()
        .serve({
            #[allow(unused_imports)]
            use self::ping as with_attribute_server;
            #[allow(unused_imports)]
            use ::gracehttp::__private::undeclared::*;
            with_attribute_server::server()
        })
        .run()
}
::core::compile_error! {
    "the key `cli` needs gracehttp's feature `cli`\nhelp: turn it on in Cargo.toml: `features = [\"cli\"]`"
}
