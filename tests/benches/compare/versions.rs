//! What the figures belong to: the machine, the day and the versions; and the place where they stand.

use std::fs;
use std::path::{Path, PathBuf};

use tests::bench::foreign::{installed, output};
use tests::bench::machine;

use crate::report::Report;
use crate::setting::Setting;

/// The crates whose versions matter, with the lock file of each.
const CRATES: [(&str, &str); 6] = [
    ("hyper", "Cargo.lock"),
    ("tokio", "Cargo.lock"),
    ("rustls", "Cargo.lock"),
    ("axum", "Cargo.lock"),
    ("ecdysis", "Cargo.lock"),
    ("actix-web", "tests/peers/Cargo.lock"),
];

/// The programs of the system, with the flag for their versions.
const PROGRAMS: [(&str, &str); 3] = [("nginx", "-v"), ("wrk", "-v"), ("h2load", "--version")];

/// What the READMEs put around the table.
const MARKS: [&str; 2] = ["<!-- figures: begin -->\n", "<!-- figures: end -->\n"];

/// The first lines of the output.
pub(crate) fn preface(setting: &Setting) -> String {
    let commit = output("git", &["-C", &root().display().to_string(), "describe", "--always", "--dirty"]);
    let rounds = if setting.quick { " (quick: wide ranges)" } else { "" };
    format!(
        "{}. {} worker threads, {} rounds of {:?}{rounds}; {}. gracehttp {}, {}.\n",
        machine::describe(),
        setting.threads,
        setting.rounds,
        setting.time,
        machine::hardware(),
        commit.trim(),
        versions().join(", "),
    )
}

fn versions() -> Vec<String> {
    let rustc = output("rustc", &["--version"]);
    let mut versions = vec![rustc.split_whitespace().take(2).collect::<Vec<_>>().join(" ")];
    for (name, lock) in CRATES {
        let lock = fs::read_to_string(root().join(lock)).unwrap_or_default();
        let found = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
        versions.extend(
            found.and_then(|(_, rest)| rest.split('"').next()).map(|found| format!("{name} {found}")),
        );
    }
    for (name, flag) in PROGRAMS {
        let Some(program) = installed(name) else { continue };
        let text = output(program, &[flag]);
        let words = text.split([' ', '/', '\n']);
        let number = words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        versions.extend(number.map(|number| format!("{name} {number}")));
    }
    versions
}

/// Puts the table of the targets, with day and machine, between the marks of both READMEs.
pub(crate) fn write_readmes(report: &Report) -> Result<(), String> {
    let [begin, end] = MARKS;
    for (language, name) in ["README.md", "README.zh-CN.md"].into_iter().enumerate() {
        let path = root().join(name);
        let wrong = |what: String| format!("{}: {what}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let (before, rest) = text.split_once(begin).ok_or_else(|| wrong(format!("no line {begin}")))?;
        let (_, after) = rest.split_once(end).ok_or_else(|| wrong(format!("no line {end}")))?;
        let day = [
            format!("Measured on {}, {}.", machine::describe(), machine::hardware()),
            format!("测于 {}，{}。", machine::describe(), machine::hardware()),
        ];
        let table = report.goals(language);
        let text = format!("{before}{begin}{table}\n{}\n{end}{after}", day[language]);
        fs::write(&path, text).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
