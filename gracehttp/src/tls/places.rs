//! Where the replacement of a file shows: in the directories on the way to it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A name in a directory. If it is replaced there, a file that is reached over it may be another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) name: OsString,
}

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// The names by which a path reaches its file: its own, each symbolic link on the way, and where the way ends too early. certbot replaces a link to
/// the file, Kubernetes one to its directory.
pub(super) fn places_of(path: &Path) -> Vec<Place> {
    let Ok(absolute) = std::path::absolute(path) else { return Vec::new() };
    let mut ahead: VecDeque<OsString> = parts(&absolute);
    let mut reached = PathBuf::from("/");
    let mut places = Vec::new();
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&name);
        let target = fs::read_link(&next).ok();
        let is_missing = fs::symlink_metadata(&next).is_err();
        if target.is_some() || is_missing || ahead.is_empty() {
            places.push(Place { directory: reached.clone(), name });
        }
        // The rest of the way shows once this is there.
        if is_missing {
            break;
        }
        match target {
            Some(_) if places.len() > MOST_LINKS => break,
            Some(target) => {
                if target.is_absolute() {
                    reached = PathBuf::from("/");
                }
                let mut parts = parts(&target);
                parts.append(&mut ahead);
                ahead = parts;
            }
            None => reached = next,
        }
    }
    places
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_a_place() {
        let root = std::env::temp_dir().join(format!("gracehttp-places-{}", std::process::id()));
        let root = {
            fs::create_dir_all(root.join("..2024/deep")).unwrap();
            fs::canonicalize(root).unwrap()
        };
        fs::write(root.join("..2024/tls.crt"), "").unwrap();
        symlink("..2024", root.join("..data")).unwrap();
        symlink("..data/tls.crt", root.join("tls.crt")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let place = |directory: &str, name: &str| Place {
            directory: if directory.is_empty() { root.clone() } else { root.join(directory) },
            name: name.into(),
        };
        let found = places_of(&root.join("tls.crt"));
        assert_eq!(found, [place("", "tls.crt"), place("", "..data"), place("..2024", "tls.crt")]);
        assert_eq!(places_of(&root.join("..2024/deep/../tls.crt")), [place("..2024", "tls.crt")]);
        assert_eq!(places_of(&root.join("none.pem")), [place("", "none.pem")]);
        assert_eq!(places_of(&root.join("none/deep/cert.pem")), [place("", "none")]);
        assert!(places_of(&root.join("loop")).len() <= MOST_LINKS + 1);
        fs::remove_dir_all(root).unwrap();
    }
}
