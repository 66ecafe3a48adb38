//! Signals that do not exist, or that would have to do two things.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

mod unknown {
    #[gracehttp::main(servers(super::ping), restart_on(USR, SIGHUP, KILL, "USR2"), stop_on(term, TERM, TERM))]
    async fn main() {}
}

mod both {
    #[gracehttp::main(servers(super::ping), restart_on(HUP, USR1), stop_on(TERM, USR1))]
    async fn main() {}
}

mod defaults {
    #[gracehttp::main(servers(super::ping), stop_on(TERM, USR1))]
    async fn main() {}
}

mod more_defaults {
    #[gracehttp::main(servers(super::ping), restart_on(INT))]
    async fn main() {}
}

mod shape {
    #[gracehttp::main(servers(super::ping), restart_on = HUP)]
    async fn main() {}
}

fn main() {}
