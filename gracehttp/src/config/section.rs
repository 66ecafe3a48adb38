//! The application's section: the table `[app]` of the file, and the variables over it.

use std::cell::RefCell;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::passed_over;
use super::env::app_variable;
use super::file::{APP, DEFAULT_FILE, File};
use super::merged::{At, Fault, Merged, Reading};
use super::said::Said;
use crate::error::Error;

/// The application's section of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Section<'i> {
    file: Option<&'i File>,
    value: Option<Spanned<DeValue<'i>>>,
    said: Said,
    /// Where unknown keys are noted, if they may be passed over.
    notices: Option<&'i RefCell<Vec<String>>>,
    /// Where the files are noted from which secrets are read.
    secret_files: Option<&'i RefCell<Vec<PathBuf>>>,
}

impl<'i> Section<'i> {
    /// The section of this file.
    pub(super) fn of(file: Option<&'i File>, value: Option<Spanned<DeValue<'i>>>) -> Self {
        Self { file, value, ..Self::default() }
    }

    pub(super) fn with_variables(self, said: &Said, notices: Option<&'i RefCell<Vec<String>>>) -> Self {
        Self { said: said.clone(), notices, ..self }
    }

    pub(super) fn noting_secret_files(self, files: &'i RefCell<Vec<PathBuf>>) -> Self {
        Self { secret_files: Some(files), ..self }
    }

    fn fault(&self, Fault { message, at }: Fault) -> Error {
        let is_of_table = match &at {
            Some(At::File(span)) => self.value.as_ref().is_some_and(|value| value.span() == *span),
            Some(At::Variable(_)) => false,
            None => true,
        };
        let way_out = missing_field(&message).filter(|_| is_of_table).map(|field| {
            let variable = app_variable(&field.to_uppercase().replace('-', "_"));
            format!(": set it in `[{APP}]`, by {variable}, or a secret by {variable}_FILE")
        });
        let message = message + &way_out.unwrap_or_default();
        match (self.file, at) {
            (_, Some(At::Variable(variable))) => Error::new(format!("{variable}: {message}")),
            (Some(file), Some(At::File(span))) => {
                let setting = file.setting_at(span.start);
                let setting = setting.map_or_else(String::new, |setting| format!(", at `{setting}`"));
                file.fault(Some(&span), &format!("the application's settings, `[{APP}]`{setting}: {message}"))
            }
            (Some(file), None) => {
                file.fault(None, &format!("the application's settings, `[{APP}]`: {message}"))
            }
            (None, _) => Error::new(format!(
                "the application's settings, `[{APP}]`: {message}; there is no {DEFAULT_FILE}"
            )),
        }
    }
}

/// The field of which serde says that it is missing.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Reads the section as the application's own type. A missing section is an empty table, since the type may have
/// defaults.
pub(crate) fn read_settings<T: DeserializeOwned>(section: &Section<'_>) -> Result<T, Error> {
    let empty = Spanned::new(0..0, DeValue::Table(DeTable::new()));
    let has_place = section.value.is_some();
    let value = section.value.as_ref().unwrap_or(&empty);
    let read = |reading: &Reading| {
        let value = T::deserialize(Merged::root(value, &section.said, reading)).map_err(|mut fault| {
            fault.message = reading.masked(fault.message);
            fault.at = fault.at.filter(|at| has_place || matches!(at, At::Variable(_)));
            fault
        })?;
        if let Some(files) = section.secret_files {
            *files.borrow_mut() = reading.secret_files();
        }
        Ok(value)
    };
    let strict = match (read(&Reading::strict()), section.notices) {
        (Err(_), Some(notices)) => {
            // The type may refuse unknown fields, so these are left out and told.
            let lenient = Reading::lenient();
            let value = read(&lenient);
            notices.borrow_mut().extend(lenient.unknown().iter().map(|field| {
                passed_over(&format!("the application's settings, `[{APP}]`, have no key `{field}`"))
            }));
            value
        }
        (strict, _) => strict,
    };
    strict.map_err(|fault| section.fault(fault))
}

/// Refuses a section, for an application that reads no settings.
pub(crate) fn refuse_settings(section: &Section<'_>) -> Result<(), Error> {
    const NONE: &str = "the start-up code of this program takes no settings";
    let mut faults = Vec::new();
    if let (Some(file), Some(value)) = (section.file, &section.value) {
        faults.push(file.fault(Some(&value.span()), &format!("{NONE}: remove `[app]`")));
    }
    faults.extend(
        section.said.variables().iter().map(|set| Error::new(format!("{}: {NONE}: unset it", set.variable))),
    );
    match section.notices {
        Some(notices) => {
            notices.borrow_mut().extend(faults.iter().map(|fault| passed_over(fault)));
            Ok(())
        }
        None => Error::check(faults),
    }
}
