//! Files that a test writes to the disk; they disappear at its end.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::run;

/// A directory that belongs to one test.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    /// A new, empty directory.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("gracehttp-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // Left by a test that was killed, whose pid this process has now.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("a directory for temporary files");
                    return Self(path);
                }
            }
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in one step: no reader sees half of it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        let new = self.join(&format!("{name}.new"));
        fs::write(&new, content).expect("writable");
        fs::rename(&new, &path).expect("writable");
        path
    }

    /// Installs a program under `name` as a deployment does: a copy, then a rename over what was there.
    ///
    /// `cp` makes the copy. If this process made it, a child that another test forks at that moment would hold the
    /// copy open for writing, and its start would fail with "text file busy".
    pub fn install(&self, program: &Path, name: &str) -> PathBuf {
        let path = self.join(name);
        let new = self.join(&format!("{name}.new"));
        run("cp", &[OsStr::new("--"), program.as_os_str(), new.as_os_str()]);
        fs::rename(&new, &path).expect("writable");
        path
    }

    /// A certificate for localhost and its key: `NAME.pem`, `NAME.key`.
    pub fn certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let cert = self.write(&format!("{name}.pem"), made.cert.pem());
        let key = self.write(&format!("{name}.key"), made.signing_key.serialize_pem());
        (cert, key)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A remaining directory does no harm.
        _ = fs::remove_dir_all(&self.0);
    }
}
