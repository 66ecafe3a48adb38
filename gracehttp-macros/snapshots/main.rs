fn main() -> ::std::process::ExitCode {
    async fn main() {}
    #[allow(unused_imports)]
    use ::gracehttp::__private::Infallible as _;
    ::gracehttp::__private::start_up(main).app().serve(ping::server()).run()
}
