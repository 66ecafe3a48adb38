//! A clean debug build of a hello-world, beside axum's with HTTP/2: its time, and how many crates it compiles.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tests::Scratch;
use tests::bench::foreign::cargo;
use tests::bench::statistics::Spread;

use crate::report::{Report, Table, Target, Unit};
use crate::setting::Setting;

/// A program: its name, its dependencies and its code.
struct Program {
    name: &'static str,
    /// The table of dependencies, and what follows it in `Cargo.toml`.
    dependencies: String,
    code: &'static str,
}

/// One build.
struct Build {
    seconds: f64,
    cpu_seconds: f64,
    crates: usize,
}

const OURS: &str = r#"
#[gracehttp::server(port = 8080)]
mod api {
    use gracehttp::Path;

    #[get("/hello/{name}")]
    async fn hello(Path(name): Path<String>) -> String {
        format!("hello, {name}\n")
    }
}

#[gracehttp::main(servers(api))]
async fn main() {}
"#;

const AXUM: &str = r#"
use axum::extract::Path;
use axum::routing::get;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let hello = async |Path(name): Path<String>| format!("hello, {name}\n");
    let router = axum::Router::new().route("/hello/{name}", get(hello));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    axum::serve(listener, router).await
}
"#;

/// A user has this crate from a registry. From there Cargo compiles all at once; from a path it would also prepare for the
/// next changes, which takes a third longer.
const AS_FROM_A_REGISTRY: &str = "[profile.dev.package]\n\
                                  gracehttp = { incremental = false }\n\
                                  gracehttp-macros = { incremental = false }\n";

fn programs() -> [Program; 2] {
    let root = root();
    [
        Program {
            name: "gracehttp",
            dependencies: format!(
                "gracehttp = {{ path = {:?} }}\n\n{AS_FROM_A_REGISTRY}",
                root.join("gracehttp")
            ),
            code: OURS,
        },
        Program {
            name: "axum with HTTP/2",
            dependencies: "axum = { version = \"0.8\", features = [\"http2\"] }\n\
                           tokio = { version = \"1\", features = [\"macros\", \"net\", \"rt-multi-thread\"] }\n"
                .to_owned(),
            code: AXUM,
        },
    ]
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Builds both, one after the other, from nothing but the sources.
pub(crate) fn run(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let rounds = setting.rounds.min(3);
    let programs = programs();
    let mut rows = Vec::new();
    for _ in 0..rounds {
        rows.push([build(&programs[0])?, build(&programs[1])?]);
    }
    let ratio = |of: fn(&Build) -> f64| Spread::of(rows.iter().map(|[ours, axum]| of(ours) / of(axum)));
    report.goal(
        [
            "clean debug build of a hello-world / axum's with HTTP/2",
            "hello-world 的全新调试构建 / 带 HTTP/2 的 axum",
        ],
        ratio(|build| build.seconds),
        Unit::Ratio,
        Some(Target::AtMost(1.4)),
    );
    report.goal(
        ["crates of that / axum's", "其 crate 数 / axum"],
        ratio(|build| build.crates as f64),
        Unit::Ratio,
        Some(Target::AtMost(1.2)),
    );
    let title = format!("Clean debug builds of a hello-world, {rounds} rounds:");
    let mut table = Table::new(title, &["program", "seconds", "CPU seconds", "crates"]);
    for (place, program) in programs.iter().enumerate() {
        let spread = |of: fn(&Build) -> f64| Spread::of(rows.iter().map(|row| of(&row[place])));
        table.row(vec![
            program.name.to_owned(),
            format!("{:.1}", spread(|build| build.seconds)),
            format!("{:.1}", spread(|build| build.cpu_seconds)),
            rows[0][place].crates.to_string(),
        ]);
    }
    report.table(table);
    Ok(())
}

fn build(program: &Program) -> Result<Build, String> {
    let files = Scratch::new();
    let manifest = format!(
        "[package]\nname = \"hello\"\nedition = \"2024\"\n\n[dependencies]\n{}\n[workspace]\n",
        program.dependencies
    );
    let manifest = files.write("Cargo.toml", manifest);
    fs::create_dir(files.join("src")).map_err(|error| format!("a folder: {error}"))?;
    files.write("src/main.rs", program.code);
    // Both use the versions of this workspace.
    let lock = fs::read(root().join("Cargo.lock")).map_err(|error| format!("Cargo.lock: {error}"))?;
    files.write("Cargo.lock", lock);
    let run = |words: &[&str]| {
        let output = cargo()
            .args(words)
            .arg("--manifest-path")
            .arg(&manifest)
            .env("CARGO_TARGET_DIR", files.join("target"))
            .env_remove("RUSTC_WRAPPER")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(text) } else { Err(format!("{}:\n{text}", program.name)) }
    };
    // No download belongs to the time.
    run(&["fetch"])?;
    let (begin, cpu) = (Instant::now(), cpu_seconds_of_children());
    let text = run(&["build"])?;
    Ok(Build {
        seconds: begin.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds_of_children() - cpu,
        crates: text.lines().filter(|line| line.trim_start().starts_with("Compiling ")).count(),
    })
}

/// The CPU time of all children that have ended, and of theirs.
fn cpu_seconds_of_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // Fields 16 and 17 of the manual, in ticks of which Linux counts 100 a second; the state is field 3.
    let ticks = after_name.split_whitespace().skip(13).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
