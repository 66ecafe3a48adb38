//! The segments of a path: the parameter in each, and what a parameter in another framework's spelling means.

/// The text between two slashes.
pub(super) struct Segment<'a> {
    before: &'a str,
    parameter: Option<Parameter<'a>>,
    after: &'a str,
}

/// A parameter, in any spelling.
struct Parameter<'a> {
    source: &'a str,
    name: String,
    /// Whether it takes all the rest of the path.
    wild: bool,
    spelling: Spelling<'a>,
}

enum Spelling<'a> {
    Right,
    /// `:id`, `*rest`, `<id>`, `[id]`, `{rest...}`: the spelling of other frameworks or of older versions of axum.
    Elsewhere,
    /// `{user-id}`.
    NoName,
    /// `{id:[0-9]+}`.
    Pattern(&'a str),
    /// `{id?}`.
    Optional,
    /// `{$}`: the end of a path in Go.
    End,
}

impl<'a> Segment<'a> {
    pub(super) fn read(source: &'a str) -> Self {
        if let Some(parameter) = Parameter::without_braces(source) {
            return Self { before: "", parameter: Some(parameter), after: "" };
        }
        match braces(source) {
            Some((open, close)) => Self {
                before: &source[..open],
                parameter: Some(Parameter::in_braces(&source[open..=close])),
                after: &source[close + 1..],
            },
            None => Self { before: source, parameter: None, after: "" },
        }
    }

    /// The name of its parameter.
    pub(super) fn name(&self) -> Option<&str> {
        self.parameter.as_ref().map(|parameter| &*parameter.name)
    }

    pub(super) fn takes_all_the_rest(&self) -> bool {
        self.parameter.as_ref().is_some_and(|parameter| parameter.wild)
    }

    /// The segment in the right spelling.
    pub(super) fn right(&self) -> String {
        let parameter = self.parameter.as_ref().map(Parameter::right).unwrap_or_default();
        format!("{}{parameter}{}", encoded(self.before), encoded(self.after))
    }

    /// What is wrong, with what to write instead. The messages show `path`, the whole path in the right spelling,
    /// and the path without this segment.
    pub(super) fn faults(&self, path: &str, without: impl FnOnce() -> String) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(char) = [self.before, self.after].into_iter().find_map(first_unencoded) {
            let sent = escape(char);
            faults.push(format!(
                "a path is compared as it is sent, and `{char}` is sent as `{sent}`\nhelp: write `{path}`"
            ));
        }
        let Some(parameter) = &self.parameter else { return faults };
        let (source, right) = (parameter.source, parameter.right());
        faults.extend(match parameter.spelling {
            Spelling::Right => None,
            Spelling::Elsewhere => Some(format!(
                "`{source}` is not how a parameter is written\nhelp: write `{right}`: `{path}`"
            )),
            Spelling::NoName => Some(format!(
                "the parameter `{source}` has no name that a field or a variable could have\n\
                 help: write `{right}`: `{path}`"
            )),
            Spelling::Pattern(pattern) => Some(format!(
                "a parameter is a name and nothing else, without the pattern `{pattern}`\n\
                 help: write `{right}`; the argument's type decides what it accepts, as in `Path<u64>`"
            )),
            Spelling::Optional => Some(format!(
                "`{source}` can't be left out: every parameter of a path is there\n\
                 help: give the function an attribute for `{path}` and one for `{}`; `Option<Path<…>>` takes both",
                without()
            )),
            Spelling::End => {
                Some(format!("`{source}` is not needed: a path ends where it ends\nhelp: write `{path}`"))
            }
        });
        faults
    }
}

impl<'a> Parameter<'a> {
    fn right(&self) -> String {
        let name = &self.name;
        match self.spelling {
            Spelling::End => String::new(),
            _ if self.wild => format!("{{*{name}}}"),
            _ => format!("{{{name}}}"),
        }
    }

    fn elsewhere(source: &'a str, name: &str, wild: bool) -> Self {
        Self { source, name: a_name(name, wild), wild, spelling: Spelling::Elsewhere }
    }

    fn without_braces(source: &'a str) -> Option<Self> {
        let between = |open, close| source.strip_prefix(open)?.strip_suffix(close);
        if let Some(name) = source.strip_prefix(':') {
            let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
            let name = name.split('(').next().unwrap_or_default();
            let parameter = Self::elsewhere(source, name, false);
            let spelling = if optional { Spelling::Optional } else { Spelling::Elsewhere };
            return Some(Self { spelling, ..parameter });
        }
        if let Some(name) = source.strip_prefix('*') {
            return Some(Self::elsewhere(source, name, true));
        }
        if let Some(inside) = between('<', '>') {
            // `<int:id>` converts, and `<path:rest>` takes all the rest, as does `<rest..>`.
            let (kind, name) = inside.split_once(':').unwrap_or(("", inside));
            return Some(Self::elsewhere(source, name, kind == "path" || name.ends_with("..")));
        }
        let inside = between('[', ']')?;
        Some(Self::elsewhere(source, inside, inside.contains("...")))
    }

    fn in_braces(source: &'a str) -> Self {
        let inside = &source[1..source.len() - 1];
        let (name, pattern) =
            inside.split_once(':').map_or((inside, None), |(name, kind)| (name, Some(kind)));
        let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        let all = matches!(pattern, Some("path" | ".*" | ".+"));
        let wild = all || name.contains(['*', '+']) || name.contains("...");
        let known = a_name(name, wild);
        let spelling = match pattern {
            _ if optional => Spelling::Optional,
            Some(_) if all => Spelling::Elsewhere,
            Some(pattern) => Spelling::Pattern(pattern),
            None if name == "$" => Spelling::End,
            None if name == known || name.strip_prefix('*') == Some(&known) => Spelling::Right,
            None if wild => Spelling::Elsewhere,
            None => Spelling::NoName,
        };
        Self { source, name: known, wild, spelling }
    }
}

/// The positions of a parameter's braces. Doubled braces are literal. Other braces are left to the router, which
/// rejects them.
fn braces(segment: &str) -> Option<(usize, usize)> {
    let open = single(segment, '{', 0)?;
    let close = single(segment, '}', open)?;
    let inside = &segment[open + 1..close];
    (!inside.is_empty() && inside != "*" && !inside.contains('{')).then_some((open, close))
}

fn single(segment: &str, brace: char, from: usize) -> Option<usize> {
    let mut index = from;
    while let Some(found) = segment[index..].find(brace) {
        index += found;
        if !segment[index + 1..].starts_with(brace) {
            return Some(index);
        }
        index += 2;
    }
    None
}

/// The name of a field that is closest to a text.
fn a_name(text: &str, wild: bool) -> String {
    let edge = |char: char| !(char.is_alphanumeric() || char == '_');
    let name = text.trim_matches(edge).replace(edge, "_");
    match name.chars().next() {
        None if wild => "rest".to_owned(),
        None => "id".to_owned(),
        Some(digit) if digit.is_numeric() => format!("p{name}"),
        Some(_) => name,
    }
}

/// The first character that clients percent-encode.
fn first_unencoded(literal: &str) -> Option<char> {
    let mut chars = literal.char_indices();
    chars.find(|(index, char)| needs_encoding(*char, &literal[*index..])).map(|(_, char)| char)
}

/// Whether clients percent-encode the first character of a text. Braces belong to the router. `[`, `]`
/// and `|` are allowed: a URL must not have them, but browsers send them as they are.
fn needs_encoding(char: char, text: &str) -> bool {
    let is_escape = || {
        let digits = text.as_bytes().get(1..3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    match char {
        ' ' | '"' | '<' | '>' | '\\' | '^' | '`' => true,
        '%' => !is_escape(),
        _ => !char.is_ascii() || char.is_ascii_control(),
    }
}

fn encoded(literal: &str) -> String {
    let chars = literal.char_indices();
    chars
        .map(|(index, char)| match needs_encoding(char, &literal[index..]) {
            true => escape(char),
            false => char.to_string(),
        })
        .collect()
}

fn escape(char: char) -> String {
    char.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
}
