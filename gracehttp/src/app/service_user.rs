//! The user as whom the process serves, once it has what only root can get.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::error::Error;
use crate::lifecycle::Privileges;
use crate::listen::OwnAddress;
use crate::log;
use crate::server::{Server, SocketAccess};

/// The user as whom the process serves.
pub(super) struct ServiceUser {
    privileges: Privileges,
    /// This process is root. A successor is not, nor is a process after a crash.
    is_to_change: bool,
}

impl ServiceUser {
    /// The user of the keys, if they name one and this process is that user or can become it.
    pub(super) fn find(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(privileges) = Privileges::find(settings.user.as_deref(), settings.group.as_deref())? else {
            return Ok(None);
        };
        let is_to_change = privileges.are_to_be_dropped();
        if !is_to_change {
            privileges.assume()?;
        }
        Ok(Some(Self { privileges, is_to_change }))
    }

    /// The same for a process that only checks: anyone may, but root alone can find out what the user can do.
    #[cfg(feature = "cli")]
    pub(super) fn find_for_check(settings: &Settings) -> Result<Option<Self>, Error> {
        let privileges = Privileges::find(settings.user.as_deref(), settings.group.as_deref())?;
        let to_become = privileges.filter(Privileges::are_to_be_dropped);
        Ok(to_become.map(|privileges| Self { privileges, is_to_change: true }))
    }

    /// Gives the user the socket files that root is about to make, except where a key names another owner.
    pub(super) fn own_socket_files<S>(&self, servers: &mut [Server<S>], own: &mut [OwnAddress]) {
        if !self.is_to_change {
            return;
        }
        let (uid, gid) = self.privileges.ids();
        let give = |access: &mut SocketAccess| {
            access.user.get_or_insert_with(|| uid.to_string());
            access.group.get_or_insert_with(|| gid.to_string());
        };
        servers.iter_mut().for_each(|server| give(&mut server.options.socket));
        own.iter_mut().for_each(|address| give(&mut address.socket));
    }

    /// From now on this process is the user's. What a restart reads again has to be readable then: a fault that is found at
    /// the next restart comes too late.
    pub(super) fn assume<S>(
        &self,
        servers: &[Server<S>],
        configuration: Option<&Path>,
        secrets: &[PathBuf],
    ) -> Result<(), Error> {
        if !self.is_to_change {
            return Ok(());
        }
        self.privileges.assume()?;
        log::info(format_args!("the rights of root are given up: this process is {}", self.privileges));
        self.check_files(servers, configuration, secrets)
    }

    /// The same for a process that only checks, and says nothing else.
    #[cfg(feature = "cli")]
    pub(super) fn assume_for_check<S>(
        &self,
        servers: &[Server<S>],
        configuration: Option<&Path>,
        secrets: &[PathBuf],
    ) -> Result<(), Error> {
        self.privileges.assume()?;
        self.check_files(servers, configuration, secrets)
    }

    /// Whether the user that this process has become can read and write what a service needs.
    fn check_files<S>(
        &self,
        servers: &[Server<S>],
        configuration: Option<&Path>,
        secrets: &[PathBuf],
    ) -> Result<(), Error> {
        let configuration = configuration.map(|path| ("the configuration file", path));
        let secrets = secrets.iter().map(|path| ("the secret's file", path.as_path()));
        let certificates = servers.iter().flat_map(|server| files_of(server));
        // Several servers may have one certificate.
        let mut seen = HashSet::new();
        let unreadable = configuration
            .into_iter()
            .chain(secrets)
            .chain(certificates)
            .filter(|(_, path)| seen.insert(path.to_path_buf()))
            .filter_map(|(what, path)| self.privileges.check_readable(what, path).err());
        #[cfg(feature = "acme")]
        let unreadable = unreadable.chain(caches(servers).filter_map(|cache| {
            self.privileges.check_writable("the directory of an authority's certificates", cache).err()
        }));
        Error::check(unreadable.collect())
    }
}

/// Where certificates of authorities are kept.
#[cfg(feature = "acme")]
fn caches<S>(servers: &[Server<S>]) -> impl Iterator<Item = &Path> {
    let authorities = servers.iter().filter_map(|server| server.options.tls.as_ref()?.authority());
    authorities.map(|acme| acme.cache.as_path())
}

/// The files of a server's certificates.
#[cfg(feature = "tls")]
fn files_of<S>(server: &Server<S>) -> Vec<(&'static str, &Path)> {
    let tls = server.options.tls.as_ref();
    let pairs = tls.into_iter().flat_map(|tls| tls.all_files());
    let others = tls.into_iter().flat_map(|tls| {
        let ocsp = tls.ocsp.iter().map(|path| ("the OCSP response", path.as_path()));
        let authorities = tls.client_ca.iter().map(|path| ("the file of authorities", path.as_path()));
        let revoked = tls.client_crls.iter().map(|path| ("the revocation list", path.as_path()));
        #[cfg(feature = "acme")]
        let revoked = revoked.chain(tls.authority().into_iter().flat_map(|acme| {
            let ca = acme.ca.iter().map(|path| ("`tls.acme.ca`", path.as_path()));
            ca.chain(
                acme.eab_hmac_key_file.iter().map(|path| ("`tls.acme.eab_hmac_key_file`", path.as_path())),
            )
        }));
        ocsp.chain(authorities).chain(revoked)
    });
    pairs
        .flat_map(|pair| [("the certificate", pair.cert.as_path()), ("the private key", pair.key.as_path())])
        .chain(others)
        .collect()
}

#[cfg(not(feature = "tls"))]
fn files_of<S>(_: &Server<S>) -> Vec<(&'static str, &Path)> {
    Vec::new()
}
