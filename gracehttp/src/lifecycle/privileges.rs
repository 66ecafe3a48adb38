//! The user as whom the process serves: root binds its endpoints, and then gives up its rights.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
#[cfg(feature = "acme")]
use nix::unistd::{AccessFlags, access};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist, getresuid};

use crate::error::Error;
use crate::sys;

/// A user and groups, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// As it was configured.
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// The key `group`, if it is set.
    group: Option<String>,
}

/// No user and no group has this number: to a system call it says that nothing changes.
const UNCHANGED: u32 = u32::MAX;

impl Privileges {
    /// Looks up what the keys `user` and `group` say; `None` if they say nothing.
    pub(crate) fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>, Error> {
        let Some(name) = user else {
            return match group {
                Some(group) => {
                    Err(Error::new(format!("group is `{group}`, but there is no user: set `user`, too")))
                }
                None => Ok(None),
            };
        };
        let unreadable = |error: nix::Error| {
            Error::caused_by(
                format!("user is `{name}`: the users of this machine can't be read: {error}"),
                error,
            )
        };
        let entry = match name.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)).map_err(unreadable)?,
            Err(_) => User::from_name(name).map_err(unreadable)?,
        };
        let uid = entry.as_ref().map(|user| user.uid.as_raw()).or_else(|| name.parse().ok());
        let uid = uid.filter(|uid| *uid != UNCHANGED);
        let uid = uid.ok_or_else(|| {
            Error::new(format!("user is `{name}`: there is no such user: create it, or correct the key"))
        })?;
        if uid == 0 {
            return Err(Error::new(format!(
                "user is `{name}`: valid is a user other than root, who keeps all rights"
            )));
        }
        let gid = match (group, &entry) {
            (Some(group), _) => gid_of(group)?,
            (None, Some(user)) => user.gid.as_raw(),
            (None, None) => {
                return Err(Error::new(format!(
                    "user is `{name}`: this number has no entry among the users, which would name its group: set `group`"
                )));
            }
        };
        let groups = entry.and_then(|user| groups_of(&user.name, gid)).unwrap_or_else(|| vec![gid]);
        Ok(Some(Self { name: name.to_owned(), uid, gid, groups, group: group.map(str::to_owned) }))
    }

    /// Those of a user by number, other than root.
    pub(crate) fn of(name: &str, uid: u32, gid: u32, groups: Vec<u32>) -> Option<Self> {
        (uid != 0).then(|| Self { name: name.to_owned(), uid, gid, groups, group: None })
    }

    /// Whether this process is root and has to give its rights up.
    pub(crate) fn are_to_be_dropped(&self) -> bool {
        Uid::effective().is_root()
    }

    /// Gives up, as root, what a program that this process starts could get rights by. It has to be called while the process
    /// has one thread, long before the rest is given up.
    pub(crate) fn forgo_new_rights() {
        if Uid::effective().is_root() {
            sys::forgo_new_rights();
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Number of the user and of the group.
    pub(crate) fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// Makes this process the user's, with all its threads and for good, or says why it can't be.
    pub(crate) fn assume(&self) -> Result<(), Error> {
        if self.are_to_be_dropped() {
            sys::become_user(self.uid, self.gid, &self.groups).map_err(|error| {
                Error::caused_by(
                    format!(
                        "user is `{}`, and the rights of root can't be given up for it: {error}; the service needs the \
                         capabilities CAP_SETUID and CAP_SETGID when it starts",
                        self.name
                    ),
                    error,
                )
            })?;
        }
        let has_user = getresuid()
            .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|uid| uid.as_raw() == self.uid));
        if !has_user {
            return Err(Error::new(format!(
                "user is `{}`, but this process is user {} and not root, so it can't become another: start it as root or \
                 as `{}`, or remove the key",
                self.name,
                Uid::effective(),
                self.name
            )));
        }
        match &self.group {
            Some(group) if Gid::effective().as_raw() != self.gid => Err(Error::new(format!(
                "group is `{group}`, but this process has group {} and is not root, so it can't take another: start it as \
                 root or with that group, or remove the key",
                Gid::effective()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a file can be read now that the rights are given up. A restart reads it again. A pipe is not waited for.
    pub(crate) fn check_readable(&self, what: &str, path: &Path) -> Result<(), Error> {
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        options.open(path).map(drop).map_err(|error| {
            Error::caused_by(
                format!(
                    "{what} {} can't be read by user `{}` ({error}), as whom every restart and reload will read it: make it \
                     readable for that user, for example by its group",
                    path.display(),
                    self.name
                ),
                error,
            )
        })
    }

    /// Whether a directory can be written to, or made where it is missing, now that the rights are given up.
    #[cfg(feature = "acme")]
    pub(crate) fn check_writable(&self, what: &str, folder: &Path) -> Result<(), Error> {
        let place = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let existing = place.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&place);
        access(existing, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
            Error::caused_by(
                format!(
                    "{what} {} can't be written to by user `{}` ({error}), as whom this process will: make it before the \
                     start, and give it to that user",
                    folder.display(),
                    self.name
                ),
                error,
            )
        })
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {} (uid {}, gid {})", self.name, self.uid, self.gid)
    }
}

fn gid_of(group: &str) -> Result<u32, Error> {
    if let Some(number) = group.parse().ok().filter(|number| *number != UNCHANGED) {
        return Ok(number);
    }
    match Group::from_name(group) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(Error::new(format!(
            "group is `{group}`: there is no such group: create it, or correct the key"
        ))),
        Err(error) => Err(Error::caused_by(
            format!("group is `{group}`: the groups of this machine can't be read: {error}"),
            error,
        )),
    }
}

/// All groups of a user, as a login would have them.
fn groups_of(user: &str, gid: u32) -> Option<Vec<u32>> {
    let user = CString::new(user).ok()?;
    let groups = getgrouplist(&user, gid.into()).ok()?;
    Some(groups.into_iter().map(|group| group.as_raw()).collect())
}
