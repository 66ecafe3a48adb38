//! The command that started this process. It starts the successor, too.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::Program;

/// How this process was started: program, arguments, working directory and environment, as they were
/// before the application could change any of them.
#[derive(Clone, Debug)]
pub(crate) struct StartCommand {
    /// Absolute, but with its symbolic links: a link that was changed leads to the new program.
    program: PathBuf,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

impl StartCommand {
    /// Notes it. The handoff's own variable must have been removed from the environment before.
    pub(crate) fn capture() -> Self {
        // Not `env::args`, which panics where an argument is not Unicode.
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let directory = logical_directory();
        Self {
            program: locate(&name, directory.as_deref()),
            arguments: std::iter::once(name).chain(arguments).collect(),
            directory,
            environment: env::vars_os().collect(),
        }
    }

    /// The program that a successor runs.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The path of a file that was named at start-up.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.as_ref().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }

    /// The environment at start-up.
    pub(crate) fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// The same command once more, with one more variable. If the directory is removed meanwhile, it runs in that of the
    /// process that starts it.
    pub(crate) fn program_with(&self, variable: &str, value: impl AsRef<OsStr>) -> Program {
        // Neither argument nor variable can hold a null byte: they have come through exec.
        let text = |text: &OsStr| CString::new(text.as_bytes()).unwrap_or_default();
        let variables = self.environment.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let variables = variables.chain([(OsStr::new(variable), value.as_ref())]);
        let environment = variables.map(|(name, value)| {
            let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(variable).unwrap_or_default()
        });
        Program {
            path: text(self.program.as_os_str()),
            arguments: self.arguments.iter().map(|argument| text(argument)).collect(),
            environment: environment.collect(),
            directory: self.directory.as_ref().map(|directory| text(directory.as_os_str())),
        }
    }
}

/// The working directory as the shell knows it, symbolic links included (as in POSIX `pwd -L`), so that a changed link
/// takes effect. The kernel only knows the directory itself.
fn logical_directory() -> Option<PathBuf> {
    let actual = env::current_dir().ok();
    let claimed = env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute());
    let is_same = |path: &Path| {
        let (Ok(claimed), Ok(actual)) = (path.metadata(), Path::new(".").metadata()) else { return false };
        (claimed.dev(), claimed.ino()) == (actual.dev(), actual.ino())
    };
    claimed.filter(|path| is_same(path)).or(actual)
}

/// The path of the program with this name, found as a shell finds it. Links stay in it, since they may lead elsewhere
/// later. If the name leads to another program, or to none (`exec -a`, a wrapper), it is the path of the running
/// file.
fn locate(name: &OsString, directory: Option<&Path>) -> PathBuf {
    let running = Running::find();
    candidates(name, directory)
        .into_iter()
        .find(|candidate| is_executable(candidate) && running.is_at(candidate))
        .unwrap_or(running.path)
}

/// The file that this process runs.
struct Running {
    path: PathBuf,
    metadata: Option<Metadata>,
}

impl Running {
    fn find() -> Self {
        let path = env::current_exe().unwrap_or_default();
        // The kernel's mark for a file that was replaced since its start. The path leads to the replacement.
        let name = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").map(OsStr::from_bytes);
        let path = name.map_or_else(|| path.clone(), PathBuf::from);
        // Not of its path, which may already lead to a replacement.
        Self { path, metadata: fs::metadata("/proc/self/exe").ok() }
    }

    /// Whether the candidate is this file, or has replaced it. Without `/proc` every candidate counts as that.
    fn is_at(&self, candidate: &Path) -> bool {
        let Some(running) = &self.metadata else { return true };
        let is_same = candidate
            .metadata()
            .is_ok_and(|found| (found.dev(), found.ino()) == (running.dev(), running.ino()));
        is_same || candidate.canonicalize().is_ok_and(|found| found == self.path)
    }
}

/// The paths that a name can mean, in the order of a shell.
fn candidates(name: &OsString, directory: Option<&Path>) -> Vec<PathBuf> {
    let absolute = |path: &Path| directory.map_or_else(|| path.to_owned(), |directory| directory.join(path));
    let path = Path::new(name);
    if name.as_bytes().contains(&b'/') {
        // Drops `.` on the way; `..` and links stay, since they may lead elsewhere later.
        return vec![absolute(path).components().collect()];
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).map(|entry| absolute(&entry).join(path)).collect()
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_slash_is_looked_up_in_the_path() {
        assert!(
            candidates(&OsString::from("sh"), None)
                .iter()
                .any(|path| path.ends_with("sh") && is_executable(path))
        );
    }

    #[test]
    fn a_relative_name_is_made_absolute_and_keeps_its_links() {
        let directory = std::env::temp_dir().join(format!("gracehttp-locate-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let link = directory.join("app");
        std::os::unix::fs::symlink(env::current_exe().unwrap(), &link).unwrap();
        let found = locate(&OsString::from("./app"), Some(&directory));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found, link);
    }

    #[test]
    fn a_name_that_means_nothing_or_another_program_falls_back_to_the_running_binary() {
        for name in ["no-such-program", "sh", "/bin/sh"] {
            assert_eq!(locate(&OsString::from(name), None), env::current_exe().unwrap(), "{name}");
        }
    }
}
