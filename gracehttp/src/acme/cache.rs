//! What outlives the process: the account, the certificate, when to renew it, and the order under way.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::acme::account::SavedAccount;
use crate::acme::failure::Failure;
use crate::acme::renewal::SavedRenewal;
use crate::log;
use crate::server::Acme;
use crate::tls::contents;

/// The directory of one authority, for one certificate. The calls wait for the disk.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    certificate: PathBuf,
}

/// An order that the authority knows, and the key of its certificate.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedOrder {
    pub(super) url: String,
    pub(super) domains: Vec<String>,
    pub(super) key: String,
}

/// The most files of unused accounts that are kept.
const MOST_ASIDE: u32 = 9;

/// Held by the one process that orders. It ends with the process at the latest.
pub(super) struct Lock {
    _file: Flock<File>,
}

impl Cache {
    pub(super) fn of(acme: &Acme) -> Self {
        Self { folder: acme.folder(), certificate: acme.certificate_file() }
    }

    /// Takes the lock; none while another process has it.
    pub(super) fn lock(&self) -> Result<Option<Lock>, Failure> {
        let create = || DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        create().map_err(|error| fault("be created", &self.folder, &error))?;
        let path = self.folder.join("lock");
        // It follows no link, and does not wait for a pipe's other end.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(&path).map_err(|error| fault("be written", &path, &error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Lock { _file: file })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(fault("be locked", &path, &errno.into())),
        }
    }

    /// The account as it was stored.
    pub(super) fn account(&self) -> Result<Option<SavedAccount>, Failure> {
        self.read(&self.account_file())
    }

    pub(super) fn store_account(&self, account: &SavedAccount) -> Result<(), Failure> {
        self.write_json(&self.account_file(), account)
    }

    /// Makes room for another account. The key of this one may still be needed, so its file is renamed and stays. Returns the
    /// new path.
    pub(super) fn set_account_aside(&self) -> Result<PathBuf, Failure> {
        let path = self.account_file();
        let name = |number: u32| path.with_added_extension(format!("unused-{number}"));
        // An authority that forgets each account must not fill the disk.
        let free = (1..MOST_ASIDE).map(name).find(|aside| aside.symlink_metadata().is_err());
        let aside = free.unwrap_or_else(|| name(MOST_ASIDE));
        match fs::rename(&path, &aside) {
            Ok(()) => Ok(aside),
            Err(error) => Err(fault("be renamed", &path, &error)),
        }
    }

    /// What is known about the time of the next renewal.
    pub(super) fn renewal(&self) -> Result<Option<SavedRenewal>, Failure> {
        self.read(&self.renewal_file())
    }

    pub(super) fn store_renewal(&self, renewal: &SavedRenewal) -> Result<(), Failure> {
        self.write_json(&self.renewal_file(), renewal)
    }

    /// The order under way. None if its certificate is stored already, so that the order is over: a process may be killed after it
    /// has stored the certificate, and before it has removed the order.
    pub(super) fn order(&self) -> Result<Option<SavedOrder>, Failure> {
        let order: Option<SavedOrder> = self.read(&self.order_file())?;
        let stored = contents(&self.certificate).unwrap_or_default();
        Ok(order.filter(|order| !stored.ends_with(order.key.as_bytes())))
    }

    pub(super) fn store_order(&self, order: &SavedOrder) -> Result<(), Failure> {
        self.write_json(&self.order_file(), order)
    }

    pub(super) fn forget_order(&self) {
        let _ = fs::remove_file(self.order_file());
    }

    /// Stores a certificate with its key, in place of an earlier one.
    pub(super) fn store_certificate(&self, pem: &str) -> Result<(), Failure> {
        write(&self.certificate, pem.as_bytes())
    }

    pub(super) fn account_file(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    fn renewal_file(&self) -> PathBuf {
        self.certificate.with_added_extension("renewal")
    }

    fn order_file(&self) -> PathBuf {
        self.certificate.with_added_extension("order")
    }

    /// What a file holds. None if there is no file, or if it is damaged: whatever it held can be made anew.
    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Failure> {
        match contents(path) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes);
                if let Err(error) = &read {
                    log::notice(format_args!("{} is damaged ({error}): it is made anew", path.display()));
                }
                Ok(read.ok())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("be read", path, &error)),
        }
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(value).map_err(|error| Failure::fault(error.to_string()))?;
        write(path, &bytes)
    }
}

/// Replaces a file whole: after a crash it has the old content or the new one. Only its owner can read it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = path.with_added_extension("new");
    let written = || {
        // It may be there: left by a process that has ended, or a link that leads elsewhere.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        fault("be written", path, &error)
    })
}

fn fault(what: &str, path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the user that runs this process own the directory and write to it"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on that disk",
        _ => "correct `tls.acme.cache`, or what stands there",
    };
    Failure::fault(format!("{} cannot {what} ({error}): {remedy}", path.display()))
}
