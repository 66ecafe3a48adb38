fn main() -> ::std::process::ExitCode {
    async fn main() -> App {
        App::new()
    }
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
    const _: () = if !{
        #[allow(unused_imports)]
        use self::database as with_attribute_health;
        #[allow(unused_imports)]
        use ::gracehttp::__private::undeclared::*;
        with_attribute_health::health()
    }
        .is_health_check()
    {
        ::core::panic!(
            "{}",
            "`database` is not a health check: `#[gracehttp::health]` is missing on it"
        )
    };
    const _: () = if !{
        #[allow(unused_imports)]
        use my::cache as with_attribute_health;
        #[allow(unused_imports)]
        use ::gracehttp::__private::undeclared::*;
        with_attribute_health::health()
    }
        .is_health_check()
    {
        ::core::panic!(
            "{}",
            "`my::cache` is not a health check: `#[gracehttp::health]` is missing on it"
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
        .health({
            #[allow(unused_imports)]
            use self::database as with_attribute_health;
            #[allow(unused_imports)]
            use ::gracehttp::__private::undeclared::*;
            with_attribute_health::health()
        })
        .health({
            #[allow(unused_imports)]
            use my::cache as with_attribute_health;
            #[allow(unused_imports)]
            use ::gracehttp::__private::undeclared::*;
            with_attribute_health::health()
        })
        .run()
}
