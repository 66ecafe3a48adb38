//! `ARCHITECTURE.md` lists the rooms, their allowed imports, and files. These tests compare the code with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms that each room may import.
type Rules = BTreeMap<String, BTreeSet<String>>;

/// A room, the room that it imports, and the file with the import.
type Import = (String, String, PathBuf);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn page() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md")
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The table of rooms under a heading.
fn rules(heading: &str) -> Rules {
    let page = page();
    let (_, below) = page.split_once(heading).unwrap_or_else(|| panic!("no heading {heading}"));
    let rows = below.lines().skip_while(|line| !line.starts_with("| room")).skip(2);
    let rows: Vec<Vec<&str>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let names: BTreeSet<String> = rows.iter().flat_map(|row| quoted(row[1]).map(str::to_owned)).collect();
    let row = |row: &Vec<&str>| {
        let name = quoted(row[1]).next().expect("a room").to_owned();
        let listed = quoted(row[3]).map(str::to_owned);
        let allowed = match row[3] {
            "all" => names.clone(),
            _ => listed.collect(),
        };
        (name, allowed)
    };
    rows.iter().map(row).collect()
}

/// All source files below a folder, except files of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let files = files(folder);
    let texts: Vec<String> =
        files.iter().map(|file| fs::read_to_string(file).expect("a source file")).collect();
    let for_tests: BTreeSet<&str> = texts.iter().flat_map(|text| modules_for_tests(text)).collect();
    let is_for_tests = |file: &PathBuf| {
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with("tests") || name.ends_with("_model") || for_tests.contains(name)
    };
    files.iter().filter(|file| !is_for_tests(file)).cloned().collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let found = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The modules that only tests compile and that have their own files.
fn modules_for_tests(text: &str) -> impl Iterator<Item = &str> {
    let declared = text.split("#[cfg(test)]\nmod ").skip(1);
    declared.filter_map(|rest| rest.lines().next()?.strip_suffix(';'))
}

/// The code of a file without comments and without its tests, which are at the end of the file.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    let (code, _tests) = text.split_once("#[cfg(test)]\nmod ").unwrap_or((&text, ""));
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first word of each path that begins with `prefix`, including paths in braces. A link in a text is no import.
fn words_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let first = |text: &'a str| {
        text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    };
    let is_link = |before: &str| before.ends_with("](") || before.ends_with('@');
    let paths = code.match_indices(prefix).filter(|(start, _)| !is_link(&code[..*start]));
    let rests = paths.map(|(start, _)| &code[start + prefix.len()..]);
    let words = rests.flat_map(|rest| match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
        Some((list, _)) => list.split(',').map(first).collect::<Vec<_>>(),
        None => vec![first(rest)],
    });
    words.filter(|word| !word.is_empty()).collect()
}

/// The room of a file: the first part of its path.
fn room(folder: &Path, file: &Path) -> String {
    let below = file.strip_prefix(folder).expect("a file below the folder");
    let first = below.iter().next().and_then(|part| part.to_str()).expect("a name");
    first.trim_end_matches(".rs").to_owned()
}

/// All imports between the rooms of a folder. Their paths begin with `prefix`.
fn imports(folder: &Path, prefix: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    for file in sources(folder) {
        let (from, code) = (room(folder, &file), code(&file));
        for word in words_after(&code, prefix) {
            // A public item by its short name is an import of the face.
            let to = match word {
                "__private" => "private",
                word if word.starts_with(char::is_uppercase) => "face",
                word => word,
            };
            if to != from {
                imports.push((from.clone(), to.to_owned(), file.clone()));
            }
        }
    }
    imports
}

/// Rooms that import themselves through other rooms.
fn circles(rules: &Rules) -> Vec<String> {
    let reaches_itself = |start: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(room) = next.pop() {
            for to in rules.get(&room).into_iter().flatten() {
                if to == start && room != *start {
                    return true;
                }
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        false
    };
    rules.keys().filter(|room| reaches_itself(room)).cloned().collect()
}

/// The imports of a folder that its table does not allow.
fn faults(rules: &Rules, imports: &[Import]) -> Vec<String> {
    let forbidden = |(from, to, file): &Import| {
        let allowed = rules.get(from)?;
        let name = file.display();
        (!allowed.contains(to)).then(|| format!("{name}: `{from}` may not import `{to}` (ARCHITECTURE.md)"))
    };
    imports.iter().filter_map(forbidden).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn rooms_import_only_what_the_architecture_allows() {
    let folder = root().join("gracehttp/src");
    let rules = rules("## Rooms of the library");
    let rooms: BTreeSet<String> = sources(&folder).iter().map(|file| room(&folder, file)).collect();
    let listed: BTreeSet<String> = rules.keys().cloned().chain(["lib".to_owned()]).collect();
    assert_eq!(rooms, listed, "ARCHITECTURE.md must list exactly the rooms that exist");
    let faults = faults(&rules, &imports(&folder, "crate::"));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn rooms_inside_conn_import_only_what_the_architecture_allows() {
    let folder = root().join("gracehttp/src/conn");
    let mut rules = rules("### Inside `conn`");
    let imports = imports(&folder, "crate::conn::");
    for (one, other) in [("http1", "http2"), ("http2", "http1")] {
        assert!(rules.remove(one).is_some(), "{one} is not listed");
        let crossing = imports.iter().find(|(from, to, _)| from == one && to == other);
        assert!(crossing.is_none(), "{crossing:?}: neither protocol may import the other");
    }
    let faults = faults(&rules, &imports);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_macros_parse_then_validate_then_generate() {
    let folder = root().join("gracehttp-macros/src");
    let rules = rules("## Inside `gracehttp-macros`");
    assert_eq!(circles(&rules), Vec::<String>::new());
    let faults = faults(&rules, &imports(&folder, "crate::"));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn rooms_have_no_import_cycle() {
    let mut rules = rules("## Rooms of the library");
    // These two rooms import all others, for users and for the macros.
    rules.remove("face");
    rules.remove("private");
    assert_eq!(circles(&rules), Vec::<String>::new());
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let (root, page) = (root(), page());
    let is_path = |word: &&str| word.ends_with(".rs") || word.ends_with('/') || word.ends_with(".toml");
    let missing: Vec<&str> = quoted(&page)
        .filter(is_path)
        .filter(|path| !root.join(path).exists() && !root.join("gracehttp/src").join(path).exists())
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
