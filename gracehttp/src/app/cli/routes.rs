//! What `routes` prints: for each server, what it answers, and by which handler.

use crate::server::{Answers, Server};

/// The servers with their routes, for people to read.
pub(super) fn table<S>(servers: &[Server<S>]) -> String {
    let mut servers: Vec<(&str, Vec<Row>)> =
        servers.iter().map(|server| (server.name(), rows(server.answers))).collect();
    leave_out_crate(servers.iter_mut().flat_map(|(_, rows)| rows).filter_map(|row| row.handler.as_mut()));
    let tables: Vec<String> = servers.iter().map(|(name, rows)| format!("{name}\n{}", lines(rows))).collect();
    tables.join("\n")
}

/// A line of the table.
struct Row {
    requests: String,
    /// By its path, beginning with the crate; `None` for what is no function.
    handler: Option<String>,
}

fn rows(answers: Answers) -> Vec<Row> {
    let any_path = |handler| Row { requests: "any path".to_owned(), handler };
    match answers {
        Answers::Handler(name) => vec![any_path(Some(name.to_owned()))],
        Answers::Service => vec![any_path(None)],
        #[cfg(feature = "axum")]
        Answers::Routes(table) => of_modules::rows(table),
    }
}

fn lines(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.requests.chars().count()).max().unwrap_or_default();
    let line = |Row { requests, handler }: &Row| {
        let handler = handler.as_deref().unwrap_or("a service of its own");
        format!("  {requests:width$}  {handler}\n")
    };
    rows.iter().map(line).collect()
}

/// If all handlers are of one crate, its name is left out: it says nothing.
fn leave_out_crate<'a>(handlers: impl Iterator<Item = &'a mut String>) {
    let mut handlers: Vec<&mut String> = handlers.collect();
    let crate_of = |handler: &str| handler.split_once("::").map(|(name, _)| format!("{name}::"));
    let Some(first) = handlers.first().and_then(|handler| crate_of(handler)) else { return };
    if handlers.iter().all(|handler| handler.starts_with(&first)) {
        for handler in &mut handlers {
            handler.drain(..first.len());
        }
    }
}

#[cfg(feature = "axum")]
mod of_modules {
    use super::Row;
    use crate::server::routes::{Table, join};

    /// In the order of the source. The fallback comes last.
    pub(super) fn rows(table: &Table) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut fallback = None;
        collect("", table, &mut rows, &mut fallback);
        rows.extend(fallback);
        rows
    }

    fn collect(outer: &str, table: &Table, rows: &mut Vec<Row>, fallback: &mut Option<Row>) {
        let prefix = join(outer, table.prefix);
        let named = |name: &str| Some(format!("{}::{name}", table.module));
        rows.extend(table.routes.iter().map(|(method, path, handler)| Row {
            // As wide as the longest of the usual methods.
            requests: format!("{method:7} {}", join(&prefix, path)),
            handler: named(handler),
        }));
        if let Some(name) = table.fallback {
            *fallback = Some(Row { requests: "any other path".to_owned(), handler: named(name) });
        }
        for included in table.included {
            collect(&prefix, included, rows, fallback);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn own() {}

    #[test]
    fn a_crate_is_named_where_there_are_others() {
        let servers: [Server<()>; 2] = [
            Server::builder("own").handler(own),
            Server::builder("foreign").handler(std::future::pending::<()>),
        ];
        assert_eq!(table(&servers[..1]), "own\n  any path  app::cli::routes::tests::own\n");
        let both = table(&servers);
        assert!(both.contains("  gracehttp::app::") && both.contains("  core::future::"), "{both}");
    }
}
