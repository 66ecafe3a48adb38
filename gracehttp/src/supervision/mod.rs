//! Who starts and watches this process, and who is told about it: the supervisor, the service manager, the pid file.

mod activation;

pub(crate) use activation::Activation;
