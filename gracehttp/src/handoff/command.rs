//! The command that started this process, to start its successor with.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How this process was started: program, arguments, working directory and environment, as they were
/// before the application could change any of them.
#[derive(Clone, Debug)]
pub(crate) struct StartUp {
    /// Absolute, but with its symbolic links: a link that moves leads to the new program.
    program: PathBuf,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

impl StartUp {
    /// Takes the picture. The environment is to be free of the handoff's own variable by now.
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

    /// The environment at start-up.
    pub(crate) fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// The same command once more.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let mut arguments = self.arguments.iter();
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A directory that was removed meanwhile is left as it is: the successor inherits it.
        if let Some(directory) = self.directory.as_deref().filter(|directory| directory.is_dir()) {
            command.current_dir(directory);
        }
        command
    }
}

/// The working directory as the shell knows it, symbolic links included (as in POSIX `pwd -L`), so that
/// one that moves takes effect. The kernel only knows the directory itself.
fn logical_directory() -> Option<PathBuf> {
    let actual = env::current_dir().ok();
    let claimed = env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute());
    let is_same = |path: &Path| {
        let (Ok(claimed), Ok(actual)) = (path.metadata(), Path::new(".").metadata()) else { return false };
        (claimed.dev(), claimed.ino()) == (actual.dev(), actual.ino())
    };
    claimed.filter(|path| is_same(path)).or(actual)
}

/// Where the program is that was started by this name, found as a shell finds it.
///
/// `/proc/self/exe` is the last resort only: it has its links resolved, and ends in ` (deleted)` once the
/// binary was replaced.
fn locate(name: &OsString, directory: Option<&Path>) -> PathBuf {
    let path = Path::new(name);
    let candidate = if name.as_bytes().contains(&b'/') {
        let joined = directory.map_or_else(|| path.to_owned(), |directory| directory.join(path));
        // Drops `.` on the way; `..` and links stay, since they may lead elsewhere later.
        joined.components().collect()
    } else {
        env::var_os("PATH")
            .iter()
            .flat_map(env::split_paths)
            .map(|entry| {
                directory.map_or_else(|| entry.clone(), |directory| directory.join(&entry)).join(path)
            })
            .find(|candidate| is_executable(candidate))
            .unwrap_or_default()
    };
    if is_executable(&candidate) { candidate } else { env::current_exe().unwrap_or(candidate) }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_slash_is_looked_up_in_the_path() {
        assert!(locate(&OsString::from("sh"), None).ends_with("sh"));
        assert!(is_executable(&locate(&OsString::from("sh"), None)));
    }

    #[test]
    fn a_relative_name_is_made_absolute_and_keeps_its_links() {
        let directory = std::env::temp_dir().join(format!("gracehttp-locate-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let link = directory.join("app");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        let found = locate(&OsString::from("./app"), Some(&directory));
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(found.is_absolute() && found.ends_with("app"), "{found:?}");
    }

    #[test]
    fn what_can_not_be_found_falls_back_to_the_running_binary() {
        assert_eq!(locate(&OsString::from("no-such-program"), None), env::current_exe().unwrap());
    }
}
