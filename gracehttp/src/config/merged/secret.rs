//! A value that is in a file of its own, as Docker and Kubernetes give secrets.

use std::io;
use std::path::Path;

use super::super::contents::contents;
use super::text::Text;
use super::{Fault, Variable};

/// More is no secret, but a mistake in the path.
const LONGEST: u64 = 1 << 20;

/// A secret, and the variable that names its file. No message shows its text.
pub(super) struct Secret<'v> {
    variable: &'v Variable,
    pub(super) text: String,
}

impl<'v> Secret<'v> {
    /// Reads the file. The last end of line does not belong to the secret: editors and `echo` write one.
    pub(super) fn read(variable: &'v Variable) -> Result<Self, Fault> {
        let path = &variable.text;
        let mut text = contents(Path::new(path), LONGEST).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::InvalidData => "is not UTF-8".to_owned(),
                io::ErrorKind::FileTooLarge => "is longer than 1 MiB".to_owned(),
                _ => format!("can't be read ({error})"),
            };
            Fault::at(variable, format!("the file `{path}` that it names {reason}"))
        })?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(Self { variable, text })
    }

    /// For serde.
    pub(super) fn text(&self) -> Text<'_> {
        Text::secret(self.variable, &self.text)
    }

    /// The fault of a secret that the type of `key` does not take.
    pub(super) fn unfit(&self, key: &str) -> Fault {
        let path = &self.variable.text;
        Fault::at(
            self.variable,
            format!(
                "the content of `{path}` does not fit the type of `{key}` (it is not shown, as a secret)"
            ),
        )
    }
}
