mod routes {
    async fn index() {}
}
::core::compile_error! {
    "a module of routes needs gracehttp's feature `axum`\nhelp: turn it on in Cargo.toml: `features = [\"axum\"]`"
}
