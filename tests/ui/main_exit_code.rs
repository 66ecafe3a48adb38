//! Start-up code that returns what no server could want of it.

use std::process::ExitCode;

mod plain {
    #[gracehttp::main(servers(ping))]
    async fn main() -> super::ExitCode {
        super::ExitCode::FAILURE
    }
}

mod result {
    #[gracehttp::main(servers(ping))]
    async fn main() -> Result<super::ExitCode, std::io::Error> {
        Ok(super::ExitCode::FAILURE)
    }
}

#[gracehttp::server(port = 8080)]
async fn ping() {}

fn main() {
    let _ = (ping(), ExitCode::SUCCESS);
}
