fn main() -> ::std::process::ExitCode {
    /// Connects to the database.
    async fn main() -> Result<App, Error> {
        App::connect().await
    }
    #[allow(unused_imports)]
    use facade::gracehttp::__private::Infallible as _;
    facade::gracehttp::__private::start_up(main)
        .app()
        .serve(ping::server())
        .serve(my::api::server())
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
