fn main() -> ::std::process::ExitCode {
    async fn main(settings: Settings) -> Settings {
        settings
    }
    #[allow(unused_imports)]
    use ::gracehttp::__private::Infallible as _;
    ::gracehttp::__private::start_up_with_settings(main)
        .app()
        .serve(ping::server())
        .run()
}
