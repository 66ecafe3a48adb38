//! Who starts and watches this process, and who is told about it: the supervisor, the service manager, the pid file.

mod activation;
mod notify_socket;
mod pid_file;
mod service_manager;
mod watchdog;

pub(crate) use activation::Activation;
pub(crate) use notify_socket::NotifySocket;
pub(crate) use pid_file::PidFile;
pub(crate) use service_manager::{Held, ServiceManager};
pub(crate) use watchdog::Watchdog;
