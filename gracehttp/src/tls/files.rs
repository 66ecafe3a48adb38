//! Certificates and keys in PEM files, as operators leave them there.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::fcntl::OFlag;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;
use crate::server::CertificateFiles;
use crate::tls::certificate::Certificate;
use crate::tls::der;
use crate::tls::places::places_of;

/// The certificate in these files of `server`, checked as a whole.
pub(super) fn certificate(server: &str, files: &CertificateFiles) -> Result<Certificate, Error> {
    let CertificateFiles { cert, key } = files;
    let chain = read_chain(server, "certificate", cert);
    let key = read_key(server, key);
    let shown = format!("server `{server}`: the certificate {files}");
    match (chain, key) {
        (Ok(chain), Ok(key)) => Certificate::check(&shown, chain, key),
        (Err(one), Err(other)) => Err(Error::several(vec![one, other])),
        (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => Err(fault),
    }
}

/// How long the start waits for files of which only some are replaced.
const HALF_REPLACED: Duration = Duration::from_secs(1);

/// Reads files at the start of a process, which has nothing from before. It may start in the moment in which they are
/// replaced, one after the other: what can't be used and has changed just now is read again for a while.
pub(super) fn settled<T, E>(paths: &[&Path], mut read: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    loop {
        let read = read();
        if read.is_ok() || start.elapsed() >= HALF_REPLACED || !have_just_changed(paths) {
            return read;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A file that was moved here may have old times, and one that was removed has none: then the change shows in one of the
/// directories on the way to it.
fn have_just_changed(paths: &[&Path]) -> bool {
    paths.iter().any(|path| is_new(path) || places_of(path).iter().any(|place| is_new(&place.directory)))
}

/// By the change time, which no program sets back. The clock of a file server may be ahead.
fn is_new(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    let since_epoch = u64::try_from(metadata.ctime()).map(Duration::from_secs).unwrap_or_default();
    (UNIX_EPOCH + since_epoch).elapsed().unwrap_or_default() < 10 * HALF_REPLACED
}

/// The certificates of a file; `what` is what messages call it.
pub(super) fn read_chain(
    server: &str,
    what: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read_text(server, what, path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| damaged(server, what, path, error))?;
    if chain.is_empty() {
        let why = if PrivateKeyDer::from_pem_slice(&text).is_ok() {
            "it holds a key: are two paths swapped?"
        } else {
            from_der(&text).unwrap_or("it must be PEM, with a section `-----BEGIN CERTIFICATE-----`")
        };
        return Err(in_file(server, what, path, &format!("holds no certificate: {why}")));
    }
    Ok(chain)
}

fn read_key(server: &str, path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read_text(server, "key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if is_encrypted(&text) {
            let why = "is encrypted, and a server can't ask for its passphrase: decrypt it with \
                       `openssl pkey -in KEY -out PLAIN` and guard the result by its file mode";
            return in_file(server, "key", path, why);
        }
        if !matches!(error, pem::Error::NoItemsFound) {
            return damaged(server, "key", path, error);
        }
        let why = if CertificateDer::from_pem_slice(&text).is_ok() {
            "it holds a certificate: are two paths swapped?"
        } else {
            from_der(&text).unwrap_or("it must be PEM, with a section `-----BEGIN PRIVATE KEY-----`")
        };
        in_file(server, "key", path, &format!("holds no private key: {why}"))
    })
}

/// How to make PEM of a file in DER. Its first elements tell what it is; none if they don't.
fn from_der(bytes: &[u8]) -> Option<&'static str> {
    let first = der::next(&mut der::sequence(&mut &bytes[..])?)?;
    match (first.tag, first.content) {
        (der::SEQUENCE, _) => {
            Some("it is in DER: make PEM of it by `openssl x509 -inform der -in OLD -out NEW`")
        }
        (der::INTEGER, [3]) => {
            Some("it is in PKCS #12: make PEM of it by `openssl pkcs12 -nodes -in OLD -out NEW`")
        }
        (der::INTEGER, _) => {
            Some("it is in DER: make PEM of it by `openssl pkey -inform der -in OLD -out NEW`")
        }
        _ => None,
    }
}

/// PKCS #8 says so in the section's name, the older formats in a header line.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// The longest file. The revocation lists of large authorities have some megabytes.
const LONGEST: u64 = 16 << 20;

/// What a file holds. Whatever stands at its path, this ends soon: a pipe may never have a writer, and a device no end.
pub(crate) fn contents(path: &Path) -> io::Result<Vec<u8>> {
    // Without the flag, opening a pipe waits for its writer.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    // Reading a directory fails by itself, in words that are known.
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("it is a pipe, a socket or a device"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LONGEST {
        true => Err(io::Error::other("it is longer than 16 MiB")),
        false => Ok(bytes),
    }
}

pub(super) fn read(server: &str, what: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = contents(path).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
                "is a link to a file that does not exist: create it, or correct the link".to_owned()
            }
            io::ErrorKind::NotFound => match std::path::absolute(path) {
                Ok(absolute) if path.is_relative() => format!(
                    "does not exist (as {}): create it, correct the path, or start the program in another \
                     directory",
                    absolute.display()
                ),
                _ => "does not exist: create it, or correct the path".to_owned(),
            },
            io::ErrorKind::PermissionDenied => {
                "cannot be read, permission denied: let the user that runs this process read it".to_owned()
            }
            _ => format!("cannot be read ({error}): put a readable file in its place"),
        };
        Error::caused_by(describe(server, what, path, &reason), error)
    })?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(in_file(server, what, path, "is text in UTF-16: save it as UTF-8"));
    }
    Ok(bytes)
}

fn read_text(server: &str, what: &str, path: &Path) -> Result<Vec<u8>, Error> {
    read(server, what, path).map(without_marks)
}

/// Removes the byte order marks that some editors write at the beginning. In a file that was joined from several they
/// are inside, too.
pub(super) fn without_marks(mut text: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    while let Some(at) = text.windows(MARK.len()).position(|bytes| bytes == MARK) {
        text.drain(at..at + MARK.len());
    }
    text
}

pub(super) fn damaged(server: &str, what: &str, path: &Path, error: pem::Error) -> Error {
    let how = match &error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line `-----END {}-----` is missing", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("`{}` begins no section", String::from_utf8_lossy(line).trim_end())
        }
        error => error.to_string(),
    };
    let reason = format!("is damaged ({how}): replace it by a whole copy");
    Error::caused_by(describe(server, what, path, &reason), error)
}

pub(super) fn in_file(server: &str, what: &str, path: &Path, reason: &str) -> Error {
    Error::new(describe(server, what, path, reason))
}

fn describe(server: &str, what: &str, path: &Path, reason: &str) -> String {
    format!("server `{server}`: the {what} file {} {reason}", path.display())
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
