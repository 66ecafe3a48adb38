//! The one key that is needed before the configuration is settled: whether there is a supervisor.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use toml::de::DeTable;

use super::file::File;
use super::{env, value};
use crate::lifecycle::Supervise;

/// What the environment, the file or else `chosen`, the attribute's value, say about the supervisor. A value that is not
/// valid is passed over here; the process that then serves reports it with all other faults.
pub(crate) fn supervise(
    environment: &[(OsString, OsString)],
    file: Option<&Path>,
    chosen: Supervise,
) -> Supervise {
    let variable = env::process_variable("supervise");
    let of_environment = || {
        let (_, text) = environment.iter().find(|(name, _)| *name == *variable)?;
        value::supervise(text.to_str()?.trim()).ok()
    };
    of_environment().or_else(|| of_file(environment, file)).unwrap_or(chosen)
}

fn of_file(environment: &[(OsString, OsString)], file: Option<&Path>) -> Option<Supervise> {
    let (path, _) = File::named(environment, file).ok()?;
    // A pipe can be read only once, and its writer may be slow.
    let is_regular = fs::metadata(&path).is_ok_and(|found| found.is_file());
    let text = is_regular.then(|| fs::read_to_string(path).ok()).flatten()?;
    let (root, _) = DeTable::parse_recoverable(&text);
    value::supervise(root.get_ref().get("supervise")?.get_ref().as_str()?).ok()
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
