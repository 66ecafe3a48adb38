//! Owner and mode of the file of a Unix socket.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::path::Path;

use nix::libc;
use nix::unistd::{Group, User};

use crate::server::{Mode, SocketAccess};

/// Why the access of a socket file could not be set.
#[derive(Debug)]
pub(super) enum AccessFault {
    /// No `user` or `group` of this name exists.
    Unknown { kind: &'static str, name: String },
    /// `setting` is, for example, `socket_mode = 0660`.
    Refused { setting: String, error: io::Error },
}

impl fmt::Display for AccessFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { kind, name } => {
                write!(f, "there is no {kind} `{name}`: create it, or correct socket_{kind}")
            }
            Self::Refused { setting, error } if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "{setting}: permission denied: only root may give a file to any user or group, other users only to \
                 groups of their own: run this as root, or remove the setting"
            ),
            Self::Refused { setting, error } => write!(f, "{setting}: {error}"),
        }
    }
}

/// Whether all users and groups exist.
pub(super) fn check(access: &SocketAccess) -> Result<(), AccessFault> {
    user(access)?;
    group(access)?;
    Ok(())
}

/// Gives the socket file the configured access, and changes only what differs.
pub(super) fn give(path: &Path, access: &SocketAccess) -> Result<(), AccessFault> {
    if access == &SocketAccess::default() {
        return Ok(());
    }
    let (user, group) = (user(access)?, group(access)?);
    let refused = |setting: String| move |error| AccessFault::Refused { setting, error };
    let (held, found) = hold(path).map_err(refused("its access".to_owned()))?;
    // The descriptor leads to the file itself.
    let file = format!("/proc/self/fd/{}", held.as_raw_fd());

    if let Some(id) = group.filter(|id| *id != found.gid()) {
        chown(&file, None, Some(id)).map_err(refused(format!("socket_group = {id}")))?;
    }
    if let Some(mode) = access.mode.filter(|mode| mode.bits() != found.mode() & 0o777) {
        let bits = Permissions::from_mode(mode.bits());
        fs::set_permissions(&file, bits).map_err(refused(format!("socket_mode = {mode}")))?;
    }
    // Last: once the file has another owner, only root can change it.
    if let Some(id) = user.filter(|id| *id != found.uid()) {
        chown(&file, Some(id), None).map_err(refused(format!("socket_user = {id}")))?;
    }
    Ok(())
}

/// The access that the file has now; nothing if it can't be read.
pub(super) fn found(path: &Path) -> SocketAccess {
    let Ok((_, found)) = hold(path) else { return SocketAccess::default() };
    SocketAccess {
        mode: Mode::new(found.mode() & 0o777),
        user: Some(found.uid().to_string()),
        group: Some(found.gid().to_string()),
    }
}

fn user(access: &SocketAccess) -> Result<Option<u32>, AccessFault> {
    let find = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
    access.user.as_ref().map(|name| id(name, "user", find)).transpose()
}

fn group(access: &SocketAccess) -> Result<Option<u32>, AccessFault> {
    let find = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
    access.group.as_ref().map(|name| id(name, "group", find)).transpose()
}

/// Opens the file as such, not the socket.
///
/// A user who may write to the directory could put a link in place of the path, to get another file.
fn hold(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("it is no socket any more"));
    }
    Ok((file, metadata))
}

/// The number of this name, which may itself be a number.
fn id(
    name: &str,
    kind: &'static str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, AccessFault> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match find(name) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(AccessFault::Unknown { kind, name: name.to_owned() }),
        Err(errno) => {
            Err(AccessFault::Refused { setting: format!("socket_{kind} = {name}"), error: errno.into() })
        }
    }
}
