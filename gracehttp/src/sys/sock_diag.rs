//! What the kernel knows of a Unix socket, asked over netlink (sock_diag(7)). Any user may ask.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::sys::stat::fstat;

/// Asks about one kind of socket (linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Asks for the lengths of the queues, and is the number of the attribute that has them (linux/unix_diag.h).
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;

/// The lengths of `struct nlmsghdr` and `struct unix_diag_msg`.
const HEADER: usize = 16;
const MESSAGE: usize = 16;

/// How many clients wait in the queue of a Unix listener.
pub(crate) fn unix_queue_length(listener: BorrowedFd<'_>) -> io::Result<usize> {
    // The kernel knows a socket by its inode number, for which sock_diag has 32 bits.
    let number = u32::try_from(fstat(listener)?.st_ino).map_err(|_| Errno::EOVERFLOW)?;
    let netlink =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    send(netlink.as_raw_fd(), &request(number), MsgFlags::empty())?;
    let mut reply = [0; 1024];
    // No wait: the kernel has answered before `send` returns.
    let length = recv(netlink.as_raw_fd(), &mut reply, MsgFlags::MSG_DONTWAIT)?;
    queue_in(&reply[..length]).ok_or_else(|| Errno::ENOENT.into())
}

/// `struct nlmsghdr`, then `struct unix_diag_req`.
fn request(number: u32) -> Vec<u8> {
    let any_cookie = [u32::MAX; 2];
    let words = [u32::MAX, number, UDIAG_SHOW_RQLEN, any_cookie[0], any_cookie[1]];
    let mut body = vec![libc::AF_UNIX as u8, 0, 0, 0];
    body.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The length of the queue that a reply tells; none if the reply is an error or of another kind.
fn queue_in(reply: &[u8]) -> Option<usize> {
    if word(reply, 4)? as u16 != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut attributes = reply.get(HEADER + MESSAGE..)?;
    loop {
        let head = attributes.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        if u16::from_ne_bytes([head[2], head[3]]) == UNIX_DIAG_RQLEN {
            return word(attributes, 4).map(|length| length as usize);
        }
        // A length below that of the head makes no sense, and the loop would never end.
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn the_kernel_says_how_many_clients_wait() {
        let path = std::env::temp_dir().join(format!("gracehttp-sock-diag-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let _clients = [(); 3].map(|()| UnixStream::connect(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(unix_queue_length(listener.as_fd()).unwrap(), 3);
        listener.accept().unwrap();
        assert_eq!(unix_queue_length(listener.as_fd()).unwrap(), 2);
    }

    #[test]
    fn a_reply_that_makes_no_sense_is_none() {
        let mut reply = [0_u8; HEADER + MESSAGE + 4].to_vec();
        assert_eq!(queue_in(&reply), None, "another message");
        reply[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        assert_eq!(queue_in(&reply), None, "an attribute without a length");
        reply.extend([1, 2]);
        assert_eq!(queue_in(&reply), None, "cut off");
        assert_eq!(queue_in(&[]), None);
    }
}
