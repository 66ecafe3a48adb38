//! The keys that are needed before the configuration is settled: whether there is a supervisor, the form of the log,
//! and the user.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use toml::de::DeTable;

use super::file::File;
use super::{Settings, env, value};
use crate::lifecycle::Supervise;
use crate::log::LogChoice;

/// The keys of the file that are read early.
const KEYS: [&str; 5] = ["supervise", "log_format", "log", "user", "group"];

/// What the environment and the file say of these keys. A value that is not valid is passed over here; the process that
/// then serves reports it with all other faults.
pub(crate) struct Early<'e> {
    environment: &'e [(OsString, OsString)],
    /// Of the file.
    texts: Vec<(&'static str, String)>,
}

impl<'e> Early<'e> {
    /// Reads the file that the environment names, or the application.
    pub(crate) fn read(environment: &'e [(OsString, OsString)], file: Option<&Path>) -> Self {
        Self { environment, texts: of_file(environment, file).unwrap_or_default() }
    }

    /// The supervisor, or else `chosen`, the attribute's value.
    pub(crate) fn supervise(&self, chosen: Supervise) -> Supervise {
        self.first_valid("supervise", |text| value::supervise(text).ok()).unwrap_or(chosen)
    }

    /// The log, whose first line may come before the configuration is settled.
    pub(crate) fn log_choice(&self, chosen: &Settings) -> LogChoice {
        let format = self.first_valid("log_format", |text| value::log_format(text).ok());
        let levels = self.first_valid("log", |text| value::log_levels(text).ok());
        LogChoice {
            format: format.unwrap_or(chosen.log_format),
            levels: levels.or_else(|| chosen.log.clone()),
        }
    }

    /// The user as whom the process serves, and the group.
    pub(crate) fn user_and_group(&self, chosen: &Settings) -> (Option<String>, Option<String>) {
        let named = |key| self.first_valid(key, |text| value::named(text).ok());
        (named("user").or_else(|| chosen.user.clone()), named("group").or_else(|| chosen.group.clone()))
    }

    /// The first value that is valid: of the environment, or of the file.
    fn first_valid<T>(&self, key: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let variable = env::process_variable(key);
        let of_environment = || {
            let (_, text) = self.environment.iter().find(|(name, _)| *name == *variable)?;
            read(text.to_str()?.trim())
        };
        let of_file = || {
            let (_, text) = self.texts.iter().find(|(name, _)| *name == key)?;
            read(text)
        };
        of_environment().or_else(of_file)
    }
}

fn of_file(environment: &[(OsString, OsString)], file: Option<&Path>) -> Option<Vec<(&'static str, String)>> {
    let (path, _) = File::named(environment, file).ok()?;
    // A pipe can be read only once, and its writer may be slow.
    let is_regular = fs::metadata(&path).is_ok_and(|found| found.is_file());
    let text = is_regular.then(|| fs::read_to_string(path).ok()).flatten()?;
    let (root, _) = DeTable::parse_recoverable(&text);
    let of_key = |key| Some((key, root.get_ref().get(key)?.get_ref().as_str()?.to_owned()));
    Some(KEYS.into_iter().filter_map(of_key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, text)| (name.into(), text.into())).collect()
    }

    #[test]
    fn the_environment_comes_before_the_file_and_the_file_before_the_attribute() {
        let directory = std::env::temp_dir().join(format!("gracehttp-early-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("app.toml");
        fs::write(&file, "# nothing else is looked at\nnonsense = 1\nsupervise = \"always\"\n").unwrap();
        let supervise = |environment: &[(OsString, OsString)], file: &Path, chosen| {
            Early::read(environment, Some(file)).supervise(chosen)
        };
        let of_file = supervise(&[], &file, Supervise::Off);
        let of_both = supervise(&environment(&[("GRACEHTTP_SUPERVISE", "off")]), &file, Supervise::Auto);
        fs::write(&file, "supervise = \"sometimes\"").unwrap();
        let of_wrong_file = supervise(&[], &file, Supervise::Off);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!((of_file, of_both, of_wrong_file), (Supervise::Always, Supervise::Off, Supervise::Off));
        assert_eq!(supervise(&[], &directory, Supervise::Always), Supervise::Always);
    }
}
