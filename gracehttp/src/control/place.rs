//! Where the control socket is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::config::ControlAddress;

/// What says where a process has its socket, if no key does.
pub(crate) struct Surroundings<'a> {
    /// The program that serves.
    pub(crate) program: &'a Path,
    pub(crate) environment: &'a [(OsString, OsString)],
    pub(crate) pid_file: Option<&'a Path>,
}

/// The path of the socket; none if it is off, or if there is no usual place.
pub(crate) fn place(address: &ControlAddress, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    match address {
        ControlAddress::At(path) => Some(path.clone()),
        ControlAddress::Off => None,
        ControlAddress::Usual => surroundings.usual_place(),
    }
}

impl Surroundings<'_> {
    /// Where a command looks that was not started by the service manager: systemd's directory for a service of this
    /// name, of the system or of the user, if there is a socket.
    pub(crate) fn customary_place(&self) -> Option<PathBuf> {
        let name = self.program.file_name()?;
        let roots = ["/run".into()].into_iter().chain(self.variable("XDG_RUNTIME_DIR").map(PathBuf::from));
        roots.map(|root: PathBuf| root.join(name).join(self.file_name())).find(|path| path.exists())
    }

    fn usual_place(&self) -> Option<PathBuf> {
        let in_runtime_directory = || {
            let directories = self.variable("RUNTIME_DIRECTORY")?;
            // systemd separates several by colons.
            let first = directories.as_bytes().split(|byte| *byte == b':').next()?;
            (!first.is_empty()).then(|| Path::new(OsStr::from_bytes(first)).join(self.file_name()))
        };
        in_runtime_directory().or_else(|| {
            let pid_file = self.pid_file?;
            Some(pid_file.with_extension("sock")).filter(|path| path != pid_file)
        })
    }

    /// `NAME.sock`, by the name of the program.
    fn file_name(&self) -> OsString {
        let mut name = self.program.file_name().unwrap_or("app".as_ref()).to_owned();
        name.push(".sock");
        name
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_os_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(address: &ControlAddress, directory: Option<&str>, pid_file: Option<&str>) -> Option<String> {
        let variable = directory.map(|directory| ("RUNTIME_DIRECTORY".into(), directory.into()));
        let environment: Vec<(OsString, OsString)> = variable.into_iter().collect();
        let surroundings = Surroundings {
            program: Path::new("/opt/shop/bin/shop"),
            environment: &environment,
            pid_file: pid_file.map(Path::new),
        };
        place(address, &surroundings).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_key_comes_first_then_the_runtime_directory_then_the_pid_file() {
        let (usual, pid_file) = (ControlAddress::Usual, Some("/run/shop.pid"));
        let at = ControlAddress::At("/tmp/a.sock".into());
        assert_eq!(found(&at, Some("/run/shop"), pid_file).unwrap(), "/tmp/a.sock");
        assert_eq!(found(&usual, Some("/run/shop:/run/other"), pid_file).unwrap(), "/run/shop/shop.sock");
        assert_eq!(found(&usual, Some(""), pid_file).unwrap(), "/run/shop.sock");
        assert_eq!(found(&usual, None, Some("var/shop.pid")).unwrap(), "var/shop.sock");
        assert_eq!(found(&usual, None, Some("/run/shop")).unwrap(), "/run/shop.sock");
        assert_eq!(found(&usual, None, Some("/run/shop.sock")), None, "the pid file itself");
        assert_eq!(found(&usual, None, None), None);
        assert_eq!(found(&ControlAddress::Off, Some("/run/shop"), pid_file), None);
    }
}
