//! What the files set and call exists in the program, and the times in them add up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::process::example;

/// A platform may kill what is left this long after the drain's end at the earliest.
pub(crate) const MARGIN: u64 = 5;

/// `examples/deploy`.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy")
}

/// The text of a file in it.
pub(crate) fn text(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all files, relative to the folder.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder()).expect("a file in it");
                names.push(name.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    names
}

/// The settings that a file gives in the environment, in whatever grammar: `NAME=value`, `NAME="value"`, `NAME value`, or
/// `{name: NAME, value: value}`.
pub(crate) fn environment(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (start, _) in text.match_indices("GRACEHTTP_") {
        let rest = &text[start..];
        let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let rest = rest.strip_prefix(", value:").unwrap_or(rest).trim_start_matches(['=', ' ', '"']);
        let value = rest.split([' ', '"', ',', '}', '\n']).next().unwrap_or_default();
        found.insert(name.to_owned(), value.trim_end_matches('.').to_owned());
    }
    found
}

/// Runs the program with these settings.
pub(crate) fn app(arguments: &[&str], environment: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new(example("app"));
    // It is for these tests, and no setting.
    command.args(arguments).env_remove("GRACEHTTP_LONG").envs(environment);
    let output = command.output();
    output.unwrap_or_else(|error| panic!("app: {error}"))
}

/// What `app config` prints with a configuration file and further settings.
pub(crate) fn settled(config: &Path, environment: &BTreeMap<String, String>) -> toml::Table {
    let mut environment = environment.clone();
    environment.insert("GRACEHTTP_CONFIG".to_owned(), config.display().to_string());
    let output = app(&["config"], &environment);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{environment:?}:\n{errors}");
    String::from_utf8_lossy(&output.stdout).parse().expect("TOML")
}

/// A duration of a settled configuration, in seconds.
pub(crate) fn seconds(table: &toml::Table, key: &str) -> u64 {
    let value = table[key].as_str().expect("a duration");
    let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let number: u64 = number.parse().expect("a number");
    match unit {
        "s" => number,
        "m" => 60 * number,
        other => panic!("{key} = {value} has a unit {other}"),
    }
}

/// The number after `key` in a file.
fn number_after(text: &str, key: &str) -> u64 {
    let (_, rest) = text.split_once(key).unwrap_or_else(|| panic!("no {key}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|error| panic!("{key}: {error}"))
}

#[test]
fn settings_exist() {
    let shipped = folder().join("Gracehttp.toml");
    for name in names() {
        let mut environment = environment(&text(&name));
        if let Some(config) = environment.remove("GRACEHTTP_CONFIG") {
            assert_eq!(config, "/etc/app/Gracehttp.toml", "{name} names another file than the image has");
        }
        settled(&shipped, &environment);
    }
    assert!(text("Dockerfile").contains("examples/deploy/Gracehttp.toml /image/etc/app/Gracehttp.toml"));
}

/// The scan above would pass if it found nothing.
#[test]
fn settings_are_found_in_every_grammar() {
    let found = environment(
        "ENV GRACEHTTP_A=:1 \\\nenvironment=GRACEHTTP_B=\"b\",GRACEHTTP_C=\"c\"\nexport GRACEHTTP_D unix:/d\n- {name: \
         GRACEHTTP_E, value: 5s}\n# as in GRACEHTTP_F=6.",
    );
    let found: Vec<_> = found.values().map(String::as_str).collect();
    assert_eq!(found, [":1", "b", "c", "unix:/d", "5s", "6"]);
    for name in ["Dockerfile", "supervisord.conf", "runit/run", "s6/run", "kubernetes/deployment.yaml"] {
        assert!(!environment(&text(name)).is_empty(), "{name}");
    }
}

/// The commands of the program that a file calls: `app restart --wait`.
fn commands(text: &str) -> Vec<Vec<String>> {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    let mut found = Vec::new();
    let parts = text.lines().flat_map(|line| line.split(['`', ',', ';', ':', '(', ')', '|']));
    for part in parts.flat_map(|part| part.split(". ")) {
        let part = part.replace('"', "");
        let words: Vec<&str> = part.split_whitespace().map(|word| word.trim_end_matches('.')).collect();
        for (at, word) in words.iter().enumerate() {
            let calls = *word == "app" || word.ends_with("/app");
            let Some(&command) = words.get(at + 1).filter(|next| calls && is_word(next) && **next != "app")
            else {
                continue;
            };
            let options = words[at + 2..].iter().take_while(|word| word.starts_with("--"));
            found.push([command].into_iter().chain(options.copied()).map(str::to_owned).collect());
        }
    }
    found
}

#[test]
fn commands_exist() {
    let none = BTreeMap::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let guide = include_str!("../../../gracehttp/docs/guide/deployment.md");
    let mut count = 0;
    for text in names().iter().map(|name| text(name)).chain([guide.to_owned()]) {
        for words in commands(&text) {
            let [command, options @ ..] = words.as_slice() else { continue };
            let help = known.entry(command.clone()).or_insert_with(|| {
                let output = app(&[command, "--help"], &none);
                assert!(output.status.success(), "the program has no command `{command}`");
                String::from_utf8_lossy(&output.stdout).into_owned()
            });
            for option in options {
                assert!(help.contains(option.as_str()), "`app {command}` has no option {option}:\n{help}");
            }
            count += 1;
        }
    }
    assert!(count > 10, "only {count} commands were found");
}

#[test]
fn platforms_wait_for_the_drain() {
    let settings = settled(&folder().join("Gracehttp.toml"), &BTreeMap::new());
    let least = seconds(&settings, "lame_duck") + seconds(&settings, "drain_timeout") + MARGIN;
    for (name, key) in [
        ("compose.yaml", "stop_grace_period: "),
        ("supervisord.conf", "stopwaitsecs="),
        ("runit/run", "SVWAIT="),
    ] {
        let given = number_after(&text(name), key);
        assert!(given >= least, "{name}: {key}{given} is less than {least} s");
    }
}

#[test]
fn containers_name_the_ports_of_the_program() {
    let dockerfile = text("Dockerfile");
    let settings =
        settled(&folder().join("Gracehttp.toml"), &environment(&dockerfile_without_config(&dockerfile)));
    let port = |endpoint: &toml::Value| {
        let endpoint = endpoint.as_str().expect("an endpoint");
        endpoint.rsplit(':').next().expect("a port").to_owned()
    };
    let own = port(&settings["server"]["web"]["listen"][0]);
    let admin = port(&settings["admin"]);
    assert!(dockerfile.contains(&format!("EXPOSE {own} {admin}\n")), "{own} {admin}");
    assert!(text("compose.yaml").contains(&format!("\"{own}:{own}\"")));
    assert!(text("compose.yaml").contains(&format!("\"127.0.0.1:{admin}:{admin}\"")));
}

/// The container has its configuration file elsewhere.
fn dockerfile_without_config(text: &str) -> String {
    text.replace("GRACEHTTP_CONFIG=/etc/app/Gracehttp.toml", "")
}
