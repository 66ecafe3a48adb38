//! The file that names the process to signal.
//!
//! It is for scripts and supervisors that know no better way. This process itself never signals a pid that it reads there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::lifecycle::aside;
use crate::log;

/// A pid has at most seven digits (`/proc/sys/kernel/pid_max`). A longer file is no pid file.
const LONGEST: u64 = 32;

/// The pid file of this service.
#[derive(Clone, Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// Whom the file names: this process, or the supervisor that stays when this process is replaced.
    pid: u32,
}

/// What a file at the path of the pid file is.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A pid file. An empty one comes from a program that ran out of disk space.
    Pid(Option<u32>),
    /// Not ours to replace.
    Other,
}

impl PidFile {
    pub(crate) fn new(path: PathBuf, pid: u32) -> Self {
        Self { path, pid }
    }

    /// Writes the file, whole or not at all. If that fails, the service goes on without it.
    pub(crate) async fn write(&self) {
        self.aside(|file| {
            if let Err(error) = file.replace() {
                log::error(format_args!(
                    "the pid file {} can't be written: {error}; this process, pid {}, serves all the same: make its \
                     directory writable and free some space, or set another `pid_file`",
                    file.path.display(),
                    file.pid
                ));
            }
        })
        .await;
    }

    /// Removes the file, if it still names this service.
    pub(crate) async fn remove(&self) {
        self.aside(|file| file.remove_now()).await;
    }

    /// Removes the file, if it still names this service. For a process that may wait for the disk.
    ///
    /// Another process of the service may put its own file there at any moment. So the file is first taken away, and
    /// put back if it turns out to be that one.
    pub(crate) fn remove_now(&self) {
        // If one of these steps fails, the next start recognises a stale file.
        let taken = self.beside("old");
        if self.is_named_at(&self.path) && fs::rename(&self.path, &taken).is_ok() {
            if !self.is_named_at(&taken) {
                // A link never replaces a file, and there may be a newer one by now.
                let _ = fs::hard_link(&taken, &self.path);
            }
            let _ = fs::remove_file(&taken);
        }
    }

    /// Whether the file at this path names this service.
    fn is_named_at(&self, path: &Path) -> bool {
        matches!(find(path), Ok(Found::Pid(Some(pid))) if pid == self.pid)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it names this very process, and no supervisor.
    pub(crate) fn names_this_process(&self) -> bool {
        self.pid == std::process::id()
    }

    /// On a thread of its own, since a disk can be slow.
    async fn aside(&self, work: impl FnOnce(Self) + Send + 'static) {
        let file = self.clone();
        if let Err(error) = aside("pid-file", "writing the pid file", move || work(file)).await {
            log::error(format_args!("{error}"));
        }
    }

    fn replace(&self) -> io::Result<()> {
        match find(&self.path)? {
            Found::Other => {
                return Err(io::Error::other("another file is in its place, which is no pid file"));
            }
            Found::Pid(Some(pid)) if pid == self.pid => return Ok(()),
            Found::Pid(Some(pid)) => self.report_earlier(pid),
            Found::Pid(None) | Found::Nothing => {}
        }
        let temporary = self.beside("new");
        let written = write_new(&temporary, &format!("{}\n", self.pid));
        written.and_then(|()| fs::rename(&temporary, &self.path)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    /// A path in the same directory, so that the file can be renamed. No other process of this service has this name.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.{ending}", std::process::id()));
        self.path.with_file_name(name)
    }

    /// An earlier process has left the file, or one of another service has it.
    fn report_earlier(&self, pid: u32) {
        // The predecessor's, which this process replaces.
        if is_own_program(pid) {
            return;
        }
        let path = self.path.display();
        match command_of(pid) {
            Some(command) => log::notice(format_args!(
                "the pid file {path} named pid {pid}, which is a process of another program (`{command}`): this process \
                 has replaced it; if two services share the path, give one another `pid_file`"
            )),
            None => log::info(format_args!(
                "the pid file {path} named pid {pid}, which has ended without removing it: this process has replaced it"
            )),
        }
    }
}

fn find(path: &Path) -> io::Result<Found> {
    match read(path) {
        // It may also be removed between two looks at it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        found => found,
    }
}

fn read(path: &Path) -> io::Result<Found> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return Ok(Found::Other);
    }
    let content = fs::read(path)?;
    let text = content.trim_ascii();
    if text.is_empty() {
        return Ok(Found::Pid(None));
    }
    let pid = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(pid.and_then(|pid| pid.parse().ok()).map_or(Found::Other, |pid| Found::Pid(Some(pid))))
}

/// Writes a file that must not exist yet. A link in its place is not followed.
fn write_new(path: &Path, content: &str) -> io::Result<()> {
    // One of a process that was killed in this very moment, and had our pid.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(content.as_bytes())
}

/// Whether the process runs the same program, replaced or not.
fn is_own_program(pid: u32) -> bool {
    let program = |process: &str| {
        let path = fs::read_link(format!("/proc/{process}/exe")).ok()?;
        Some(path.to_str()?.trim_end_matches(" (deleted)").to_owned())
    };
    let own = program("self");
    own.is_some() && own == program(&pid.to_string())
}

/// The command name of a process; nothing if there is none of this pid.
fn command_of(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, which goes with the value.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gracehttp-pid-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PidFile {
            PidFile::new(self.0.join("app.pid"), std::process::id())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn it_is_written_whole_replaces_a_stale_one_and_is_removed_if_it_is_ours() {
        let directory = Directory::new("whole");
        let file = directory.file();
        for earlier in [None, Some("4194304\n"), Some(""), Some("1")] {
            if let Some(earlier) = earlier {
                fs::write(&file.path, earlier).unwrap();
            }
            file.write().await;
            assert_eq!(fs::read_to_string(&file.path).unwrap(), format!("{}\n", std::process::id()));
            assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "no temporary file is left");
        }
        file.remove().await;
        assert!(!file.path.exists());
        fs::write(&file.path, "1\n").unwrap();
        file.remove().await;
        assert!(file.path.exists(), "it names another process");
    }

    #[test]
    fn the_file_of_a_process_that_takes_over_at_that_moment_stays() {
        let directory = Directory::new("moment");
        let (own, of_successor) = (directory.file(), PidFile::new(directory.0.join("app.pid"), 4_194_304));
        for round in 0..2_000 {
            own.replace().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| own.remove_now());
                of_successor.replace().unwrap();
            });
            assert_eq!(find(&own.path).unwrap(), Found::Pid(Some(4_194_304)), "in round {round}");
            assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "no other file is left");
            fs::remove_file(&own.path).unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_pid_file_is_left_alone() {
        let directory = Directory::new("other");
        let file = directory.file();
        fs::write(&file.path, "root:x:0:0\n").unwrap();
        assert!(file.replace().is_err());
        file.remove().await;
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "root:x:0:0\n");
        fs::remove_file(&file.path).unwrap();
        fs::create_dir(&file.path).unwrap();
        assert!(file.replace().is_err());
        std::os::unix::fs::symlink("/dev/null", directory.0.join("link")).unwrap();
        let link = PidFile::new(directory.0.join("link"), 1);
        assert!(link.replace().is_err() && link.path.is_symlink());
    }

    #[tokio::test]
    async fn a_file_that_can_not_be_written_leaves_nothing_behind() {
        let directory = Directory::new("full");
        let missing = PidFile::new(directory.0.join("none/app.pid"), 1);
        assert_eq!(missing.replace().unwrap_err().kind(), io::ErrorKind::NotFound);
        missing.write().await;
        assert!(!missing.path.exists());
    }

    #[test]
    fn what_lies_at_the_path_is_recognised() {
        let directory = Directory::new("find");
        let path = directory.0.join("app.pid");
        let found = |content: &str| {
            fs::write(&path, content).unwrap();
            find(&path).unwrap()
        };
        assert_eq!(found(" 12 \n"), Found::Pid(Some(12)));
        assert_eq!(found("\n"), Found::Pid(None));
        for other in ["-1", "12 13", "99999999999", "x", "12345678901234567890123456789012345"] {
            assert_eq!(found(other), Found::Other, "{other}");
        }
    }
}
