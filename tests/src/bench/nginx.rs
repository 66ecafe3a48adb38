//! nginx, with the answer of the other contestants and two fields more: `Server` and `Connection`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use rustix::process::geteuid;

use crate::bench::contestant::Contestant;
use crate::bench::security::Security;
use crate::patience::eventually;
use crate::{Launch, Scratch};

/// Starts it with this many workers.
pub async fn start(program: &Path, security: Security, threads: usize) -> Contestant {
    let files = Scratch::new();
    let pong = format!("pong by pid:{}", std::process::id());
    let address = free_address();
    let config = files.write("nginx.conf", config(&files, address, security, threads, &pong));
    let launch = Launch::program(program).arg("-p").arg(files.path()).arg("-e").arg("stderr");
    let app = launch.arg("-c").arg(config).spawn();
    eventually("nginx to listen", || TcpStream::connect(address).is_ok()).await;
    let endpoint = security.endpoint(address);
    Contestant { name: "nginx", app, endpoint, pong: Some(pong), _files: Some(files) }
}

/// nginx takes no port 0.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

fn config(files: &Scratch, address: SocketAddr, security: Security, threads: usize, pong: &str) -> String {
    let user = if geteuid().is_root() { "user root;" } else { "" };
    let (listen, certificate) = match security {
        Security::Plain => ("", String::new()),
        Security::Tls { .. } => {
            let (certificate, key) = files.certificate("localhost");
            let lines = format!("ssl_certificate {certificate:?}; ssl_certificate_key {key:?};");
            (" ssl http2", format!("{lines} ssl_protocols TLSv1.2 TLSv1.3;"))
        }
    };
    // Requests on one connection are not limited, as elsewhere. Its temporary files stay in this directory.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {:?};\n", files.join(kind)))
        .concat();
    format!(
        "{user}
        daemon off;
        pid {pid:?};
        worker_processes {threads};
        worker_rlimit_nofile 20000;
        error_log stderr error;
        events {{ worker_connections 20000; }}
        http {{
            access_log off;
            {temporary}
            server_tokens off;
            keepalive_requests 1000000000;
            server {{
                listen {address} backlog=4096{listen};
                {certificate}
                location /ping {{
                    default_type 'text/plain; charset=utf-8';
                    return 200 '{pong}';
                }}
            }}
        }}
        ",
        pid = files.join("pid"),
    )
}
