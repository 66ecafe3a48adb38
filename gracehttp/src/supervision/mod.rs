//! Who starts and watches this process, and who is told about it: the supervisor, the service manager, the pid file.

mod activation;
mod beginning;
mod message;
mod notifier;
mod notify_socket;
mod page;
mod pid_file;
mod service_manager;
mod supervised;
mod supervisor;
mod watchdog;

pub(crate) use activation::Activation;
pub(crate) use beginning::{Begun, begin};
pub(crate) use message::Kept;
pub(crate) use notifier::MainProcess;
pub(crate) use notify_socket::NotifySocket;
pub(crate) use page::{CrashLimits, Rules};
pub(crate) use pid_file::PidFile;
pub(crate) use service_manager::{Held, ServiceManager};
pub(crate) use supervised::{Legacy, PARCEL, Supervised, legacy};
pub(crate) use watchdog::Watchdog;
