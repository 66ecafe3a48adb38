//! The file of a Unix socket: bound without taking it from a live process, removed only while it is ours.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::listen_options::ListenOptions;
use super::socket_access::{AccessFault, give};

/// One socket file. Device and inode tell it from a later file at the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketFile {
    // Absolute: the application may change its working directory before the file is to be removed.
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// The socket file that is at `path` now, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let path = std::path::absolute(path).ok()?;
        let metadata = fs::symlink_metadata(&path).ok()?;
        let is_socket = metadata.file_type().is_socket();
        is_socket.then(|| Self { path, device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Removes the file at the final stop, unless another process has put its own there.
pub(crate) fn unlink_if_ours(file: &SocketFile) {
    if SocketFile::at(&file.path).as_ref() == Some(file) {
        // If this fails, the next start replaces the stale file.
        let _ = fs::remove_file(&file.path);
    }
}

/// Binds `path` and listens. A stale file of an earlier process is replaced. If a process listens at the file, that is
/// `AddrInUse`; if the file is no socket, that is `AlreadyExists`. Both are left alone.
///
/// The socket is bound under its final name, not under a temporary one that is renamed: the kernel remembers the name
/// that was bound, and `ss` and the successor's check would see that. No process answers at a stale file, so no client
/// loses anything in the instant without a file.
pub(super) fn bind(path: &Path, options: &ListenOptions<'_>) -> Result<(Socket, SocketFile), BindFault> {
    let address = SockAddr::unix(path)?;
    let socket = new_socket()?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &address)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    let file = SocketFile::at(path).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
    // Before `listen`: until then no client can connect, even if the umask has left the file open to all.
    give(path, options.access)
        .map_err(BindFault::Access)
        .and_then(|()| Ok(options.listen(&socket)?))
        .inspect_err(|_| unlink_if_ours(&file))?;
    Ok((socket, file))
}

/// Why a socket could not be bound to its file.
pub(super) enum BindFault {
    Bind(io::Error),
    Access(AccessFault),
}

impl From<io::Error> for BindFault {
    fn from(error: io::Error) -> Self {
        Self::Bind(error)
    }
}

fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let Some(found) = SocketFile::at(path) else {
        return match fs::symlink_metadata(path) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            // Its owner has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
    };
    match new_socket()?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            unlink_if_ours(&found);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // Accepted, or its queue is full, or it is a socket of another type: a process has it.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Non-blocking, so that the check for a listening process can't hang on a full queue.
fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
