//! Where a command looks for the process that serves. It reads two keys and no more: it has to reach the process from a
//! shell without the variables of the service, and while the file has a mistake.

use std::ffi::OsString;
use std::path::Path;

use super::file::File;
use super::keys::{Key, PROCESS_KEYS};
use super::{Settings, env};
use crate::error::Error;

const CONTROL: &str = "control";

/// The keys that say where the control socket is.
const KEYS: [&str; 2] = [CONTROL, "pid_file"];

/// Settles these keys. A fault in another one does not matter, nor does a file that can't be read if a variable says where
/// the socket is.
pub(crate) fn settle_socket_place(
    environment: &[(OsString, OsString)],
    chosen: Option<&Path>,
    settings: &mut Settings,
) -> Result<(), Error> {
    let says = |key: &str| {
        let variable = env::process_variable(key);
        let found = environment.iter().find(|(name, _)| *name == *variable);
        found.map(|(_, text)| (variable, text.to_string_lossy().trim().to_owned()))
    };
    let file = match File::find(environment, chosen) {
        Err(_) if says(CONTROL).is_some() => None,
        file => file.map_err(|fault| {
            Error::caused_by(format!("{fault}; or name the control socket by --control PATH"), fault)
        })?,
    };
    for key in PROCESS_KEYS.iter().filter(|key| KEYS.contains(&key.name)) {
        match (says(key.name), &file) {
            (Some((variable, text)), _) => set(key, settings, &text, &format!("{variable}={text}"))?,
            (None, Some(file)) => {
                if let Some((place, text)) = file.says(key.name) {
                    set(key, settings, &text, &format!("{place}: `{} = {text}`", key.name))?;
                }
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn set(key: &Key<Settings>, settings: &mut Settings, text: &str, said: &str) -> Result<(), Error> {
    (key.set)(settings, text).map_err(|reason| Error::new(format!("{said}: {reason}")))
}
