//! The two forms of the text in which metrics are read.

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The form of Prometheus since its beginning, version 0.0.4. Everything can read it.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The form that a request asks for by its field Accept, if it has one.
    ///
    /// ```
    /// use gracehttp::metrics::Format;
    ///
    /// let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    /// assert_eq!(Format::accepted(Some(accept)), Format::OpenMetrics);
    /// assert_eq!(Format::accepted(Some("text/html")), Format::Prometheus);
    /// assert_eq!(Format::accepted(None), Format::Prometheus);
    /// ```
    pub fn accepted(accept: Option<&str>) -> Self {
        let weight = |wanted: &str| {
            let ranges = accept.unwrap_or_default().split(',').filter(|range| media_type(range) == wanted);
            ranges.filter(|range| knows_version(range)).map(quality).fold(0.0, f64::max)
        };
        let open_metrics = weight("application/openmetrics-text");
        if open_metrics > 0.0 && open_metrics >= weight("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The field Content-Type of the text.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Writes a text of OpenMetrics in this form.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => to_prometheus(&open_metrics),
        }
    }
}

fn media_type(range: &str) -> String {
    range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn parameter<'a>(range: &'a str, name: &str) -> Option<&'a str> {
    let parameters = range.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    parameters
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Whether the range has no version that this release does not write.
fn knows_version(range: &str) -> bool {
    parameter(range, "version")
        .is_none_or(|version| ["0.0.4", "0.0.1", "1.0.0"].contains(&version.trim_matches('"')))
}

fn quality(range: &str) -> f64 {
    parameter(range, "q").map_or(1.0, |quality| quality.parse().unwrap_or(0.0))
}

/// Version 0.0.4 has no units, no exemplars and no end, fewer types, and names a family as its samples are named.
fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "unknown" | "gaugehistogram" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some(help) = help.take() {
                text.push_str(&format!("# HELP {name}{ending} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(without_exemplar(line));
            text.push('\n');
        }
    }
    text
}

/// A sample without what follows its value. Values of labels may hold any byte, in quotes.
fn without_exemplar(line: &str) -> &str {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'#' if !is_quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_form_that_it_prefers() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.1";
        for (accept, format) in [
            (prometheus_3, Format::OpenMetrics),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("text/plain, application/openmetrics-text;q=0.5", Format::Prometheus),
            ("Application/OpenMetrics-Text", Format::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=nonsense", Format::Prometheus),
            ("*/*", Format::Prometheus),
            (",;=,", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(Some(accept)), format, "{accept}");
        }
    }

    #[test]
    fn the_older_form_names_families_as_their_samples_are_named() {
        let open_metrics = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                            a_seconds_total{x=\"# {\\\"\"} 1.5 # {id=\"7\"} 0.5\n\
                            # HELP b About.\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                            # HELP c Some.\n# TYPE c unknown\nc 1\n\
                            # HELP d Others.\n# TYPE d histogram\nd_count 1\n# EOF\n";
        let prometheus = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\n\
                          a_seconds_total{x=\"# {\\\"\"} 1.5\n\
                          # HELP b_info About.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n\
                          # HELP c Some.\n# TYPE c untyped\nc 1\n\
                          # HELP d Others.\n# TYPE d histogram\nd_count 1\n";
        assert_eq!(to_prometheus(open_metrics), prometheus);
    }
}
