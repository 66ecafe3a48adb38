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

/// What the environment, the file or else `chosen`, the attribute's value, say about the supervisor. A value that is not
/// valid is passed over here; the process that then serves reports it with all other faults.
pub(crate) fn supervise(
    environment: &[(OsString, OsString)],
    file: Option<&Path>,
    chosen: Supervise,
) -> Supervise {
    first_valid("supervise", environment, file, |text| value::supervise(text).ok()).unwrap_or(chosen)
}

/// The same for the log, whose first line may come before the configuration is settled.
pub(crate) fn log_choice(
    environment: &[(OsString, OsString)],
    file: Option<&Path>,
    chosen: &Settings,
) -> LogChoice {
    let format = first_valid("log_format", environment, file, |text| value::log_format(text).ok());
    let levels = first_valid("log", environment, file, |text| value::log_levels(text).ok());
    LogChoice { format: format.unwrap_or(chosen.log_format), levels: levels.or_else(|| chosen.log.clone()) }
}

/// The same for the user as whom the process serves, and the group.
pub(crate) fn user_and_group(
    environment: &[(OsString, OsString)],
    file: Option<&Path>,
    chosen: &Settings,
) -> (Option<String>, Option<String>) {
    let named = |key| first_valid(key, environment, file, |text| value::named(text).ok());
    (named("user").or_else(|| chosen.user.clone()), named("group").or_else(|| chosen.group.clone()))
}

/// The first value that is valid: of the environment, or of the file.
fn first_valid<T>(
    key: &str,
    environment: &[(OsString, OsString)],
    file: Option<&Path>,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let variable = env::process_variable(key);
    let of_environment = || {
        let (_, text) = environment.iter().find(|(name, _)| *name == *variable)?;
        read(text.to_str()?.trim())
    };
    of_environment().or_else(|| of_file(key, environment, file, &read))
}

fn of_file<T>(
    key: &str,
    environment: &[(OsString, OsString)],
    file: Option<&Path>,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let (path, _) = File::named(environment, file).ok()?;
    // A pipe can be read only once, and its writer may be slow.
    let is_regular = fs::metadata(&path).is_ok_and(|found| found.is_file());
    let text = is_regular.then(|| fs::read_to_string(path).ok()).flatten()?;
    let (root, _) = DeTable::parse_recoverable(&text);
    read(root.get_ref().get(key)?.get_ref().as_str()?)
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
        let of_file = supervise(&[], Some(&file), Supervise::Off);
        let of_both =
            supervise(&environment(&[("GRACEHTTP_SUPERVISE", "off")]), Some(&file), Supervise::Auto);
        fs::write(&file, "supervise = \"sometimes\"").unwrap();
        let of_wrong_file = supervise(&[], Some(&file), Supervise::Off);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!((of_file, of_both, of_wrong_file), (Supervise::Always, Supervise::Off, Supervise::Off));
        assert_eq!(supervise(&[], Some(&directory), Supervise::Always), Supervise::Always);
    }
}
