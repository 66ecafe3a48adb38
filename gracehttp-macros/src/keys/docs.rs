//! The tables of the documentation are those of the keys.
//!
//! `BLESS=1 cargo test -p gracehttp-macros` writes the tables, each between two comments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::{Form, HEALTH, Key, Kind, Library, MAIN, ROUTES, SERVER};
use crate::parse::text;

/// The documentation of the library.
fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gracehttp").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Compares the table of this name in a file with the expected one, or writes it.
fn check(file: &str, name: &str, table: &str) {
    let (begin, end) =
        (format!("<!-- {name}: BLESS=1 cargo test -p gracehttp-macros -->\n\n"), "\n<!-- end -->");
    let text = read(file);
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} lacks {begin}"));
    let (found, after) = rest.split_once(end).unwrap_or_else(|| panic!("{file}: {name} lacks {end}"));
    if found == table {
        return;
    }
    if env::var_os("BLESS").is_some() {
        return fs::write(path(file), [before, &begin, table, end, after].concat()).unwrap();
    }
    panic!(
        "{file}: the table `{name}` is not that of gracehttp-macros/src/keys/, but\n{found}\nRun the tests with \
         BLESS=1 to write it:\n{table}"
    );
}

/// The keys of an attribute: how they are written, their defaults, their meaning.
fn attribute_table<O>(keys: &[Key<O>]) -> String {
    let mut table = "| key | default | |\n| --- | --- | --- |\n".to_owned();
    for key in keys {
        let forms: Vec<String> =
            [key.example].iter().chain(key.forms).map(|form| format!("`{form}`")).collect();
        let meaning = key.doc.split("\n\n").next().unwrap();
        let meaning = match meaning.matches(". ").count() {
            0 => meaning.trim_end_matches('.'),
            _ => meaning,
        };
        table += &format!("| {} | {} | {meaning} |\n", forms.join(", "), key.shown_default())
            .replace("|  |", "| |");
    }
    table
}

/// What the file and the environment take, keys with the same values in one row.
fn values_table<O>(keys: &[Key<O>]) -> String {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |name: &str, value: String| {
        let name = format!("`{name}`");
        match rows.iter_mut().find(|(earlier, _)| *earlier == value) {
            Some((_, names)) => names.push(name),
            None => rows.push((value, vec![name])),
        }
    };
    for key in keys {
        match key.library {
            Library::FromRow => add(key.name, ordinary_value(key)),
            Library::ByHand(entries) => {
                entries.iter().for_each(|entry| add(entry.name, entry.value.to_owned()));
            }
            Library::Code => {}
        }
    }
    let rows = rows.iter().map(|(value, names)| format!("| {} | {value} |\n", names.join(", ")));
    format!("| key | value |\n| --- | --- |\n{}", rows.collect::<String>())
}

fn ordinary_value<O>(key: &Key<O>) -> String {
    let Form::Ordinary(kind) = key.kind else { panic!("`{}` has a form of its own", key.name) };
    match kind {
        Kind::Count { most } => format!("a number from 1 to {}", super::row::with_gaps(&most.to_string())),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Duration => "a duration".to_owned(),
        Kind::Timeout if key.default == "off" => "a duration above zero, or `off`".to_owned(),
        Kind::Timeout => "a duration above zero".to_owned(),
        Kind::Keepalive => {
            "a duration above zero, up to the kernel's longest, `9h 6m 7s`, or `off`".to_owned()
        }
        Kind::Length => "a size".to_owned(),
        Kind::Size { least: 1 } => "a size above zero".to_owned(),
        Kind::Size { least } => format!("a size from `{}` on", text::shown_size(least)),
        _ => panic!("`{}` is of a kind that the library handles by hand", key.name),
    }
}

#[test]
fn tables_of_the_documentation_are_those_of_the_keys() {
    check("docs/server.md", "keys of server", &attribute_table(SERVER));
    check("docs/main.md", "keys of main", &attribute_table(MAIN));
    check("docs/health.md", "keys of health", &attribute_table(HEALTH));
    check("docs/routes.md", "keys of routes", &attribute_table(ROUTES));
    check("docs/guide/configuration.md", "values of servers", &values_table(SERVER));
    check("docs/guide/configuration.md", "values of the process", &values_table(MAIN));
}

/// The defaults of all keys that are numbers, sizes or durations.
fn defaults() -> BTreeMap<&'static str, String> {
    let of_server =
        SERVER.iter().filter(|key| key.has_default_value()).map(|key| (key.name, key.shown_default()));
    let of_main =
        MAIN.iter().filter(|key| key.has_default_value()).map(|key| (key.name, key.shown_default()));
    of_server.chain(of_main).filter(|(_, shown)| shown.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// Where a chapter says "`key`, 10 s" or "`key` (10 s)", that is the default.
#[test]
fn defaults_in_the_guide_are_those_of_the_keys() {
    let defaults = defaults();
    let mut mentions = 0;
    for entry in fs::read_dir(path("docs/guide")).unwrap() {
        let file = entry.unwrap().path();
        // The others are pictures.
        if file.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (key, at) in defaults.keys().flat_map(|key| places_of(&text, key).map(move |at| (key, at))) {
            let said = text[at..].split([',', ';', ')', '|', '.', '\n']).next().unwrap().trim();
            if said.starts_with(|c: char| c.is_ascii_digit()) && said.split(' ').count() <= 2 {
                let line = text[..at].matches('\n').count() + 1;
                assert_eq!(said, defaults[key], "{}:{line}: the default of `{key}`", file.display());
                mentions += 1;
            }
        }
    }
    assert!(mentions > 5, "the guide names defaults, such as that of `idle_timeout`, 75 s");
}

/// The places behind "`key`, " and "`key` (".
fn places_of(text: &str, key: &str) -> impl Iterator<Item = usize> {
    let ends = [", ", " ("].map(|separator| {
        let mention = format!("`{key}`{separator}");
        text.match_indices(&mention).map(|(at, _)| at + mention.len()).collect::<Vec<_>>()
    });
    ends.into_iter().flatten()
}

/// The documentation of methods that are written by hand has the default of the table.
#[test]
fn defaults_at_methods_are_those_of_the_keys() {
    let sources = read("src/server/builder.rs") + &read("src/app.rs");
    for (key, default) in defaults() {
        let Some((before, _)) = sources.split_once(&format!("    pub fn {key}(")) else { continue };
        let docs = before.rsplit("\n\n").next().unwrap();
        let docs = docs.lines().map(|line| line.trim_start_matches([' ', '/'])).collect::<Vec<_>>().join(" ");
        assert!(
            docs.contains(&format!("; {default} by default")),
            "`{key}` is {default} by default:\n{docs}"
        );
    }
}
