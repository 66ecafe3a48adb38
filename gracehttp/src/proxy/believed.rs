//! Which fields trusted proxies set. A proxy passes on the others as its client has sent them.

use std::fmt;

/// The fields of a request that are believed if it comes from a trusted proxy.
///
/// `Forwarded` and the others exclude each other: a proxy sets the one or the others, and passes on what it
/// does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BelievedFields {
    Forwarded,
    X(XFields),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct XFields {
    pub(super) client: bool,
    pub(super) scheme: bool,
    pub(super) host: bool,
}

/// What nearly every proxy sets.
impl Default for BelievedFields {
    fn default() -> Self {
        Self::X(XFields { client: true, scheme: true, host: false })
    }
}

impl BelievedFields {
    /// Reads the names of fields. An error is the second half of a sentence: it says what would be valid.
    pub(crate) fn read<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut fields = XFields::default();
        let mut is_forwarded = false;
        for name in names {
            let field = match name.to_ascii_lowercase().as_str() {
                "forwarded" => &mut is_forwarded,
                "x-forwarded-for" => &mut fields.client,
                "x-forwarded-proto" => &mut fields.scheme,
                "x-forwarded-host" => &mut fields.host,
                _ => {
                    return Err("valid are `x-forwarded-for`, `x-forwarded-proto` and `x-forwarded-host`, \
                                or `forwarded`"
                        .to_owned());
                }
            };
            if std::mem::replace(field, true) {
                return Err(format!("`{name}` is listed twice"));
            }
        }
        match (is_forwarded, fields == XFields::default()) {
            (true, true) => Ok(Self::Forwarded),
            (false, false) => Ok(Self::X(fields)),
            (false, true) => Err("valid is at least one field, such as `x-forwarded-for`".to_owned()),
            (true, false) => {
                Err("`forwarded` stands alone: of both kinds a proxy sets one, and its clients could \
                                  send the other"
                    .to_owned())
            }
        }
    }

    /// The names, in lower case.
    pub(crate) fn names(self) -> Vec<&'static str> {
        match self {
            Self::Forwarded => vec!["forwarded"],
            Self::X(XFields { client, scheme, host }) => {
                let names =
                    [(client, "x-forwarded-for"), (scheme, "x-forwarded-proto"), (host, "x-forwarded-host")];
                names.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect()
            }
        }
    }
}

impl fmt::Display for BelievedFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_and_both_kinds_exclude_each_other() {
        for names in ["forwarded", "x-forwarded-for, x-forwarded-proto", "x-forwarded-host"] {
            assert_eq!(BelievedFields::read(names.split(", ")).unwrap().to_string(), names);
        }
        assert_eq!(
            BelievedFields::read(["X-Forwarded-For", "X-Forwarded-Proto"]),
            Ok(BelievedFields::default())
        );
        for names in [&["forwarded", "x-forwarded-for"][..], &[], &["x-real-ip"], &["forwarded", "Forwarded"]]
        {
            assert!(BelievedFields::read(names.iter().copied()).is_err(), "{names:?}");
        }
    }
}
