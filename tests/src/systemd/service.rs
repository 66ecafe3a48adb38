//! The service `app` of a booted systemd.

use super::Systemd;
use crate::client::{Target, get_once};

/// The plan of most tests.
pub const WEB: &str = "server web 127.0.0.1:0";

/// Lines of a unit without a supervisor, to whose predecessors systemd listens, too. Its main process is not systemd's child,
/// so systemd would not wait for its end, but kill it at once: the command waits.
pub const OFF: &str = "Environment=GRACEHTTP_SUPERVISE=off\nNotifyAccess=all\n\
                       ExecStop=/bin/sh -c 'kill -TERM $MAINPID; while kill -0 $MAINPID; do sleep 0.05; done'";

/// A unit of the test application. `more` are further lines of its section.
pub fn unit(more: &str) -> String {
    format!(
        "[Service]\nType=notify\nExecStart={{app}}\nExecReload={{app}} restart --wait\nRuntimeDirectory=app\n\
         Environment=APP_PLAN={{at}}/plan GRACEHTTP_CONTROL=unix:/run/app/app.sock GRACEHTTP_STANDBY=300ms\n\
         Environment=GRACEHTTP_DRAIN_TIMEOUT=20s GRACEHTTP_WORKER_THREADS=2\n\
         KillMode=mixed\nNotifyAccess=main\nRestart=on-failure\nRestartSec=100ms\n{more}\n"
    )
}

/// How many reloads one test makes: more with `GRACEHTTP_LONG`.
pub fn reloads() -> usize {
    if std::env::var_os("GRACEHTTP_LONG").is_some() { 50 } else { 4 }
}

/// The process that answers.
pub async fn pid(target: &Target) -> u32 {
    get_once(target, "/ping").await.expect("an answer").pid().expect("a pid")
}

impl Systemd {
    /// A systemd with this unit as `app.service`, which runs this plan, and its server `web`.
    pub async fn with_service(unit: &str, plan: &str) -> Option<(Self, Target)> {
        let systemd = Self::boot(&[("app.service", unit)]).await?;
        let target = systemd.serve(plan).await;
        Some((systemd, target))
    }

    /// Starts `app.service`, which runs this plan, and its server `web`.
    pub async fn serve(&self, plan: &str) -> Target {
        self.write("plan", plan);
        self.succeeds(&["start", "app"]);
        // It has waited for READY=1.
        assert_eq!(self.property("app", "ActiveState"), "active", "{}", self.journal());
        self.target("web").await
    }

    /// `systemctl reload app`, which has to succeed.
    pub async fn reload(&self) {
        let output = self.finish(&["reload", "app"]).await;
        assert!(output.status.success(), "{output:?}\n{}", self.journal());
    }

    /// `systemctl stop app`, which has to be a success of the service, too.
    pub fn stop(&self) {
        self.succeeds(&["stop", "app"]);
        assert_eq!(self.property("app", "Result"), "success", "{}", self.journal());
    }

    /// Whether the service runs as before: active, and never started anew. If another systemd of this machine changes the
    /// control groups at that moment, a start can fail before the program runs (219, CGROUP). That one does not count.
    pub fn is_untouched(&self) -> bool {
        let before_the_program = self.journal().matches("status=219/CGROUP").count();
        self.property("app", "ActiveState") == "active"
            && self.property("app", "NRestarts") == before_the_program.to_string()
    }

    /// Whether a process is there.
    pub fn is_alive(&self, pid: u32) -> bool {
        self.kill("-0", pid)
    }

    /// Sends a signal, such as `-HUP`. Whether there is such a process.
    pub fn kill(&self, signal: &str, pid: u32) -> bool {
        self.run(&["kill", signal, &pid.to_string()]).status.success()
    }
}
