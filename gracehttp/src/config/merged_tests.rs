//! Variables over the application's section.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;

use serde::Deserialize;
use toml::de::DeTable;

use super::*;
use crate::config::said::Said;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Settings {
    greeting: String,
    workers: u8,
    ratio: f32,
    is_on: bool,
    limit: Option<u64>,
    tags: Vec<String>,
    ports: (u16, u16),
    level: Level,
    database: Database,
    extra: HashMap<String, String>,
    cert_file: String,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Level {
    #[default]
    Low,
    High,
    Of(u8),
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Database {
    url: String,
    pool: u16,
}

impl Default for Settings {
    fn default() -> Self {
        let text = String::new();
        Self {
            greeting: text.clone(),
            workers: 1,
            ratio: 0.0,
            is_on: false,
            limit: None,
            tags: Vec::new(),
            ports: (0, 0),
            level: Level::Low,
            database: Database::default(),
            extra: HashMap::new(),
            cert_file: text,
        }
    }
}

fn read_in<T: for<'de> Deserialize<'de>>(
    file: &str,
    variables: &[(&str, &str)],
    reading: &Reading,
) -> Result<T, String> {
    let table = Spanned::new(0..file.len(), DeValue::Table(DeTable::parse(file).unwrap().into_inner()));
    let variables: BTreeMap<String, &OsStr> =
        variables.iter().map(|(name, text)| ((*name).to_owned(), OsStr::new(*text))).collect();
    let said = Said::by(variables).map_err(|fault| fault.to_string())?;
    T::deserialize(Merged::root(&table, &said, reading)).map_err(|fault| match fault.at {
        Some(At::Variable(variable)) => format!("{variable}: {}", reading.masked(fault.message)),
        _ => reading.masked(fault.message),
    })
}

fn read(file: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    read_in(file, variables, &Reading::strict())
}

#[test]
fn every_type_is_read_as_the_field_asks_for() {
    let settings = read(
        "greeting = 'of the file'\nlimit = 3\n[database]\npool = 4",
        &[
            ("GREETING", "12345"),
            ("WORKERS", "7"),
            ("RATIO", "0.5"),
            ("IS_ON", "true"),
            ("TAGS", "a, b"),
            ("PORTS", "[80, 443]"),
            ("LEVEL", "high"),
            ("DATABASE__URL", "postgres://there?a=b"),
            ("EXTRA__A_B", "c"),
            ("CERT_FILE", "cert.pem"),
        ],
    );
    let expected = Settings {
        greeting: "12345".into(),
        workers: 7,
        ratio: 0.5,
        is_on: true,
        limit: Some(3),
        tags: vec!["a".into(), "b".into()],
        ports: (80, 443),
        level: Level::High,
        database: Database { url: "postgres://there?a=b".into(), pool: 4 },
        extra: HashMap::from([("a_b".into(), "c".into())]),
        cert_file: "cert.pem".into(),
    };
    assert_eq!(settings.unwrap(), expected);
    let whole =
        read("", &[("DATABASE", "{ url = 'u', pool = 1 }"), ("LEVEL__OF", "3"), ("LIMIT", "9")]).unwrap();
    assert_eq!(whole.database, Database { url: "u".into(), pool: 1 });
    assert_eq!((whole.level, whole.limit), (Level::Of(3), Some(9)));
}

#[test]
fn a_variable_that_does_not_fit_is_named() {
    for (variables, fault) in [
        (&[("WORKERS", "many")][..], "GRACEHTTP_APP__WORKERS: valid is a whole number from 0 on"),
        (&[("WORKERS", "300")], "GRACEHTTP_APP__WORKERS: invalid value: integer `300`, expected u8"),
        (&[("IS_ON", "yes")], "GRACEHTTP_APP__IS_ON: valid is `true` or `false`"),
        (&[("WRKRS", "3")], "GRACEHTTP_APP__WRKRS: unknown field `wrkrs`"),
        (&[("DATABASE", "u")], "GRACEHTTP_APP__DATABASE: valid are variables for its keys"),
        (&[("DATABASE__POOL", "x")], "GRACEHTTP_APP__DATABASE__POOL: valid is a whole number"),
        (&[("DATABASE", "{}"), ("DATABASE__URL", "u")], "GRACEHTTP_APP__DATABASE__URL and another variable"),
        (&[("DATABASE____URL", "u")], "GRACEHTTP_APP__DATABASE____URL is not a setting"),
        (&[("GREETING", "a"), ("GREETING_FILE", "/b")], "GRACEHTTP_APP__GREETING_FILE: it and "),
        (&[("GREETING_FILE", "/no/such")], "GRACEHTTP_APP__GREETING_FILE: the file `/no/such` that it names"),
    ] {
        let found = read("", variables).unwrap_err();
        assert!(found.starts_with(fault), "{found}\n{fault}");
    }
}

#[test]
fn a_secret_is_read_without_its_end_of_line_and_shown_nowhere() {
    let path = std::env::temp_dir().join(format!("gracehttp-secret-{}", std::process::id()));
    let named = path.to_str().unwrap();
    fs::write(&path, "hunter2\r\n").unwrap();
    let settings = read("greeting = 'of the file'", &[("GREETING_FILE", named)]);
    let unfit = read("", &[("WORKERS_FILE", named)]).unwrap_err();
    let unknown = read("", &[("NONE_FILE", named)]).unwrap_err();

    #[derive(Debug, Deserialize)]
    #[serde(try_from = "HashMap<String, String>")]
    struct Talkative;
    impl TryFrom<HashMap<String, String>> for Talkative {
        type Error = String;
        fn try_from(all: HashMap<String, String>) -> Result<Self, String> {
            Err(format!("refused: {all:?}"))
        }
    }
    let short = named.to_owned() + "-short";
    fs::write(&short, "e").unwrap();
    let of_short = read("", &[("WORKERS_FILE", &short)]).unwrap_err();
    assert!(
        of_short.contains("does not fit the type of `workers` (it is not shown, as a secret)"),
        "{of_short}"
    );
    fs::remove_file(&short).unwrap();
    let told = read_in::<Talkative>("", &[("KEY_FILE", named)], &Reading::strict()).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert_eq!(settings.unwrap().greeting, "hunter2");
    assert!(unfit.contains("does not fit the type of `workers`"), "{unfit}");
    assert!(told.starts_with("refused: "), "{told}");
    for message in [unfit, unknown, told] {
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_lenient_reading_leaves_out_what_the_type_does_not_have() {
    let reading = Reading::lenient();
    let settings: Settings =
        read_in("workers = 3\nnew = 1\n[database]\nurl = 'u'\nnewer = 2", &[("NEWEST", "x")], &reading)
            .unwrap();
    assert_eq!((settings.workers, settings.database.url), (3, "u".to_owned()));
    let mut unknown = reading.unknown();
    unknown.sort();
    assert_eq!(unknown, ["new", "newer", "newest"]);
}
