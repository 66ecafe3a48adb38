//! How a successor finds the channel to its predecessor: in a variable of its environment.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::unistd::getppid;

use crate::config::HANDOFF_VARIABLE;
use crate::error::Error;
use crate::handoff::channel::may_succeed_later;
use crate::handoff::predecessor::channel_broke;
use crate::handoff::wire::{Hello, LARGEST_HELLO};
use crate::lifecycle::Signal;
use crate::sys::{self, Received};

/// What a successor inherits.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// The channel to the predecessor.
    pub(crate) socket: OwnedFd,
    /// The predecessor's greeting, if it had come already.
    pub(crate) greeting: Option<Greeting>,
    /// The signals that this process ignores until it has installed its own handlers.
    pub(crate) ignored: Vec<Signal>,
}

/// The predecessor's greeting, read before there is a runtime.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(super) hello: Hello,
    /// Not if the kernel had no memory for the answer.
    pub(super) is_answered: bool,
}

/// What this process inherits, if it is a successor.
///
/// Has to be called before the process has a second thread. Only a handoff from our own parent is accepted: otherwise
/// another process could hand us sockets.
pub(crate) fn inherited() -> Result<Option<Inherited>, Error> {
    let Some(value) = sys::take_var(HANDOFF_VARIABLE.as_ref()) else { return Ok(None) };
    let refused = |why: &str| {
        Error::new(format!(
            "{HANDOFF_VARIABLE} is set to `{}`, but {why}; only a restart sets this variable: unset it",
            value.display()
        ))
    };
    let (number, ignored) =
        value.to_str().and_then(parse).ok_or_else(|| refused("that is not the number of a descriptor"))?;
    let socket = sys::own_inherited(number).ok_or_else(|| refused("no such descriptor was inherited"))?;
    if getsockopt(&socket, sockopt::SockType) != Ok(SockType::SeqPacket) {
        // It is not ours to close.
        std::mem::forget(socket);
        return Err(refused("that descriptor is not a handoff socket"));
    }
    let peer = getsockopt(&socket, sockopt::PeerCredentials).map(|credentials| credentials.pid());
    if peer != Ok(getppid().as_raw()) {
        return Err(refused("its other end is not held by the parent of this process"));
    }
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .map_err(|errno| refused(&format!("it can't be kept from child processes ({errno})")))?;
    let greeting = greet(&socket).map_err(channel_broke)?;
    Ok(Some(Inherited { socket, greeting, ignored }))
}

/// Answers the predecessor's greeting, if it has come already: then the predecessor sends its listeners while this process
/// reads its configuration. An earlier release sends it later.
fn greet(socket: &OwnedFd) -> io::Result<Option<Greeting>> {
    let mut buffer = [0; LARGEST_HELLO];
    let len = match sys::receive(socket.as_fd(), &mut buffer) {
        // It is closed, which the next look shows, too.
        Ok(Received { len: 0, .. }) => return Ok(None),
        Ok(Received { len, .. }) => len,
        // It is read later.
        Err(error) if may_succeed_later(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let hello: Hello = postcard::from_bytes(&buffer[..len]).map_err(broken)?;
    let answer = postcard::to_slice(&hello.answer(), &mut buffer).map_err(broken)?;
    let is_answered = match sys::send(socket.as_fd(), answer, &[]) {
        Ok(()) => true,
        Err(error) if may_succeed_later(&error) => false,
        Err(error) => return Err(error),
    };
    Ok(Some(Greeting { hello, is_answered }))
}

/// `5`, or `5,HUP,USR1`: the descriptor, and the signals that are ignored.
fn parse(value: &str) -> Option<(i32, Vec<Signal>)> {
    let mut parts = value.split(',');
    let number = parts.next()?.parse().ok()?;
    Some((number, parts.map(|name| name.parse().ok()).collect::<Option<_>>()?))
}

/// The value of the variable, as [`inherited`] reads it.
pub(super) fn variable_value(fd: &OwnedFd, ignored: &[Signal]) -> String {
    let names = ignored.iter().map(|signal| signal.name());
    [fd.as_raw_fd().to_string().as_str()].into_iter().chain(names).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All releases share the form of the variable, as they share the messages.
    #[test]
    fn d18_the_variable_is_a_descriptor_and_the_signals_that_are_ignored() {
        assert_eq!(parse("5"), Some((5, Vec::new())));
        assert_eq!(parse("12,HUP,USR1"), Some((12, vec![Signal::Hup, Signal::Usr1])));
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let value = variable_value(&fd, &[Signal::Hup, Signal::Usr1]);
        assert_eq!(parse(&value), Some((fd.as_raw_fd(), vec![Signal::Hup, Signal::Usr1])));
        for wrong in ["", "x", "5,", "5,NONE"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
