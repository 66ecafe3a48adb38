//! The crate's only error type: opaque to callers, a plain sentence for operators.

use std::error::Error as StdError;
use std::fmt;

/// Why an application could not start or go on.
///
/// `Display` is for the operator: a sentence that names the server, the wrong value and the remedy, and includes the text of
/// the cause. [`source`](StdError::source) is for code: it returns the cause, for example to find an
/// [`std::io::ErrorKind`]. A reporter need not print it again. Faults that were found together are one error, and are
/// shown one a line.
pub struct Error {
    // Boxed: errors are rare, and every `Result` with an `Error` should stay small.
    kind: Box<Kind>,
}

type Cause = Box<dyn StdError + Send + Sync>;

enum Kind {
    One { message: String, cause: Option<Cause> },
    Several(Vec<Error>),
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { kind: Box::new(Kind::One { message: message.into(), cause: None }) }
    }

    /// An error with a cause for `source()`. The message has to include the text of the cause.
    pub(crate) fn caused_by(message: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { kind: Box::new(Kind::One { message: message.into(), cause: Some(cause.into()) }) }
    }

    /// Adds the server's name to a fault that lacks it.
    pub(crate) fn of_server(server: &str, fault: Error) -> Self {
        Self::caused_by(format!("server `{server}`: {fault}"), fault)
    }

    /// Joins all faults in one error. A single fault stays as it is.
    pub(crate) fn several(mut errors: Vec<Error>) -> Self {
        if errors.len() == 1 {
            return errors.swap_remove(0);
        }
        Self { kind: Box::new(Kind::Several(errors)) }
    }

    /// `Ok` if there are no faults, otherwise all of them as one error.
    pub(crate) fn check(errors: Vec<Error>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self::several(errors)) }
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            Kind::One { message, .. } => f.write_str(message),
            Kind::Several(errors) => {
                for (i, error) in errors.iter().enumerate() {
                    let separator = if i == 0 { "" } else { "\n" };
                    write!(f, "{separator}{error}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            Kind::One { message, cause: None } => f.debug_tuple("Error").field(message).finish(),
            Kind::One { message, cause: Some(cause) } => {
                f.debug_tuple("Error").field(message).field(cause).finish()
            }
            Kind::Several(errors) => f.debug_list().entries(errors).finish(),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.kind {
            Kind::One { cause, .. } => cause.as_deref().map(|cause| cause as _),
            Kind::Several(errors) => errors.first().and_then(|first| first.source()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn one_error_is_its_sentence_and_keeps_its_cause() {
        let error = Error::caused_by("server `ping` failed", io::Error::from(io::ErrorKind::AddrInUse));
        assert_eq!(error.to_string(), "server `ping` failed");
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn several_errors_are_shown_one_a_line() {
        assert_eq!(Error::several(vec![Error::new("a"), Error::new("b")]).to_string(), "a\nb");
        assert_eq!(Error::several(vec![Error::new("a")]).to_string(), "a");
        assert!(Error::check(Vec::new()).is_ok());
        assert!(Error::check(vec![Error::new("a")]).is_err());
    }

    #[test]
    fn it_is_small_and_travels_between_threads() {
        fn travels<T: Send + Sync + 'static>() {}
        travels::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
