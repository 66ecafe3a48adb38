fn main() -> ::std::process::ExitCode {
    /// Connects to the database.
    async fn main() -> Result<App, Error> {
        App::connect().await
    }
    #[allow(unused_imports)]
    use facade::gracehttp::__private::Infallible as _;
    const __SERVERS: [facade::gracehttp::__private::Listens; 2usize] = [
        {
            #[allow(unused_imports)]
            use self::ping as with_attribute_server;
            #[allow(unused_imports)]
            use facade::gracehttp::__private::undeclared::*;
            with_attribute_server::server()
        }
            .listens(),
        {
            #[allow(unused_imports)]
            use my::api as with_attribute_server;
            #[allow(unused_imports)]
            use facade::gracehttp::__private::undeclared::*;
            with_attribute_server::server()
        }
            .listens(),
    ];
    const _: () = if __SERVERS[0usize].is_undeclared() {
        ::core::panic!(
            "{}", "`ping` is not a server: `#[server(port = …)]` is missing on it"
        )
    };
    const _: () = if __SERVERS[1usize].is_undeclared() {
        ::core::panic!(
            "{}", "`my::api` is not a server: `#[server(port = …)]` is missing on it"
        )
    } else if __SERVERS[1usize].is_same_item(__SERVERS[0usize]) {
        ::core::panic!("{}", "`my::api` is listed already, as `ping`")
    } else if __SERVERS[1usize].is_namesake(__SERVERS[0usize]) {
        ::core::panic!(
            "{}",
            "`ping` and `my::api` are two servers of one name: give one of them another, `name = \"…\"`"
        )
    } else if __SERVERS[1usize].shares_variables(__SERVERS[0usize]) {
        ::core::panic!(
            "{}",
            "the names of `ping` and `my::api` mean the same variables: give one of them another, `name = \"…\"`"
        )
    } else if __SERVERS[1usize].clash(__SERVERS[0usize]) {
        ::core::panic!(
            "{}", facade::gracehttp::__private::Clash::of("ping", __SERVERS[0usize],
            "my::api", __SERVERS[1usize]).text()
        )
    };
    facade::gracehttp::__private::start_up(main)
        .app()
        .serve({
            #[allow(unused_imports)]
            use self::ping as with_attribute_server;
            #[allow(unused_imports)]
            use facade::gracehttp::__private::undeclared::*;
            with_attribute_server::server()
        })
        .serve({
            #[allow(unused_imports)]
            use my::api as with_attribute_server;
            #[allow(unused_imports)]
            use facade::gracehttp::__private::undeclared::*;
            with_attribute_server::server()
        })
        .drain_timeout(::core::time::Duration::from_secs(10))
        .ready_timeout(::core::time::Duration::from_secs(60))
        .standby(::core::time::Duration::from_secs(0))
        .lame_duck(::core::time::Duration::new(1, 1))
        .worker_threads(4)
        .config(concat!(env!("CARGO_MANIFEST_DIR"), "/my_app.toml"))
        .cli()
        .on_info(log::info)
        .on_notice(|line| println!("{line}"))
        .on_error(log::error)
        .restart_on([facade::gracehttp::Signal::Hup, facade::gracehttp::Signal::Usr2])
        .stop_on([facade::gracehttp::Signal::Term])
        .run()
}
