//! The methods that spans and metrics name. Clients can invent others.

use std::ffi::OsString;
use std::sync::OnceLock;

use http::Method;

use crate::log;

/// Replaces the list, as OpenTelemetry's conventions for HTTP demand it: methods between commas, in their own case.
const VARIABLE: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";

/// Those of RFC 9110, PATCH (RFC 5789) and QUERY.
const USUAL: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"];

/// The most methods: each may become a series of metrics for each route and status.
const MOST: usize = 64;

/// The length of the longest one.
const LONGEST: usize = 64;

static CHOSEN: OnceLock<Vec<&'static str>> = OnceLock::new();

/// A method of the list, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KnownMethod(u8);

impl KnownMethod {
    const OTHER: Self = Self(u8::MAX);

    /// Takes the list of the environment. Call it before the first request.
    pub(crate) fn choose(environment: &[(OsString, OsString)]) {
        let Some((_, text)) = environment.iter().find(|(name, _)| name == VARIABLE) else { return };
        let (methods, faults) = parse(&text.to_string_lossy());
        faults.iter().for_each(|fault| log::notice_once(format_args!("{VARIABLE}: {fault}")));
        if !methods.is_empty() {
            // They live as long as the process. A second application in one process gets the list of the first.
            CHOSEN.get_or_init(|| methods.into_iter().map(|method| &*method.leak()).collect());
        }
    }

    pub(crate) fn of(method: &Method) -> Self {
        let method = method.as_str();
        let place = list().iter().position(|known| *known == method);
        place.and_then(|place| u8::try_from(place).ok()).map_or(Self::OTHER, Self)
    }

    /// None for another method.
    pub(crate) fn known(self) -> Option<&'static str> {
        list().get(usize::from(self.0)).copied()
    }

    /// The value of the attribute.
    pub(crate) fn name(self) -> &'static str {
        self.known().unwrap_or("_OTHER")
    }

    /// A number of its own.
    #[cfg(feature = "admin")]
    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

fn list() -> &'static [&'static str] {
    CHOSEN.get().map_or(&USUAL, Vec::as_slice)
}

/// The methods of a list, and what is wrong with the others.
fn parse(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut methods, mut faults) = (Vec::new(), Vec::new());
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name.len() > LONGEST || Method::from_bytes(name.as_bytes()).is_err() {
            let shown: String = name.chars().take(LONGEST).collect();
            faults.push(format!("`{shown}` is no method, and is passed over: separate methods by commas"));
        } else if !methods.iter().any(|known| known == name) {
            methods.push(name.to_owned());
        }
    }
    if methods.len() > MOST {
        faults.push(format!("only the first {MOST} of its {} methods are known", methods.len()));
        methods.truncate(MOST);
    }
    (methods, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_clients_invent_are_one() {
        let method = |name: &str| KnownMethod::of(&Method::from_bytes(name.as_bytes()).unwrap());
        assert_eq!(method("BREW"), method("PROPFIND"));
        assert_eq!(method("get").name(), "_OTHER", "methods are case-sensitive");
        assert_eq!((method("PATCH").name(), method("QUERY").name()), ("PATCH", "QUERY"));
    }

    #[test]
    fn a_list_is_read_with_its_case_and_within_bounds() {
        let (methods, faults) = parse(" GET,,PROPFIND , Get,GET,a b");
        assert_eq!(methods, ["GET", "PROPFIND", "Get"]);
        assert_eq!(faults, ["`a b` is no method, and is passed over: separate methods by commas"]);
        let many: Vec<String> = (0..100).map(|number| format!("M{number}")).collect();
        let (methods, faults) = parse(&many.join(","));
        assert_eq!((methods.len(), faults.len()), (MOST, 1));
        assert_eq!(faults[0], "only the first 64 of its 100 methods are known");
        assert_eq!(parse(&"M".repeat(LONGEST + 1)).0.len(), 0);
    }
}
