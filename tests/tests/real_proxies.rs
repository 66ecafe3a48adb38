//! HAProxy and nginx before a server: they name their clients by the PROXY protocol and by header fields.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gracehttp::test::TestServer;
use gracehttp::{ClientAddr, Host, ProxyInfo, Scheme, server};
use tests::patience::{PATIENCE, eventually, within};
use tests::process::{ReservedPort, skipped, tool};
use tests::{Client, Scratch, tls};
use tokio::net::{TcpSocket, TcpStream};

/// The client behind the proxy.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);

const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

#[server(port = 0, proxy_protocol = "127.0.0.1")]
async fn introduced(ClientAddr(client): ClientAddr, proxy: ProxyInfo) -> String {
    let id = proxy.unique_id().map(String::from_utf8_lossy);
    format!("{client} {}", id.as_deref().unwrap_or("unnamed"))
}

#[server(port = 0, trusted_proxies = "127.0.0.1", forwarded = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"])]
async fn believing(ClientAddr(client): ClientAddr, scheme: Scheme, Host(host): Host) -> String {
    format!("{client} {scheme} {host}")
}

/// A proxy of the system, which ends with the test.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _scratch: Scratch,
    _port: ReservedPort,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its master would leave workers behind.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        _ = self.child.wait();
    }
}

impl Proxy {
    async fn start(name: &str, config: impl FnOnce(&Path, SocketAddr) -> String, args: &[&str]) -> Self {
        let (scratch, port) = (Scratch::new(), ReservedPort::new());
        let address = port.address();
        let file = scratch.write("proxy.conf", config(scratch.path(), address));
        let mut command = Command::new(name);
        command.args(args).arg(file).stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = command.spawn().expect("a proxy");
        let proxy = Self { child, address, _scratch: scratch, _port: port };
        eventually("the proxy to listen", || std::net::TcpStream::connect(address).is_ok()).await;
        proxy
    }

    async fn haproxy(mode: &str, server: SocketAddr, options: &str) -> Self {
        Self::haproxy_bound(mode, "", server, options).await
    }

    /// The same, with more words about where it listens.
    async fn haproxy_bound(mode: &str, bind: &str, server: SocketAddr, options: &str) -> Self {
        let config = |_: &Path, address| {
            format!(
                "defaults\n mode {mode}\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
                 frontend front\n bind {address} {bind}\n unique-id-format id-%ci\n default_backend back\n\
                 {}backend back\n server app {server} {options}\n",
                if mode == "http" {
                    " option forwardfor\n http-request set-header X-Forwarded-Proto http\n \
                     http-request set-header X-Forwarded-Host %[req.hdr(host)]\n"
                } else {
                    ""
                }
            )
        };
        Self::start("haproxy", config, &["-db", "-f"]).await
    }

    async fn nginx(config: impl FnOnce(SocketAddr) -> String) -> Self {
        let config = |folder: &Path, address| {
            let folder = folder.display();
            format!(
                "daemon off; master_process off; pid {folder}/pid; error_log stderr crit;\n{}events {{}}\n",
                config(address).replace("FOLDER", &folder.to_string())
            )
        };
        Self::start("nginx", config, &["-e", "stderr", "-c"]).await
    }

    /// What the server says to a client with another address than the proxy.
    async fn answer(&self, fields: &str) -> String {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((CLIENT, 0).into()).expect("a free port");
        let stream: TcpStream = socket.connect(self.address).await.expect("a connection");
        let mut client = Client::over(stream);
        client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await.expect("room");
        let reply = within(PATIENCE, "an answer", client.reply()).await.expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text()
    }
}

#[tokio::test]
async fn haproxy_introduces_its_client_in_both_versions() {
    if !tool("haproxy") {
        return;
    }
    let server = TestServer::spawn(introduced::server(), ()).await;
    for (options, expected) in [
        ("send-proxy", "127.0.0.5 unnamed"),
        ("send-proxy-v2", "127.0.0.5 unnamed"),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", "127.0.0.5 id-127.0.0.5"),
        // Its health checks speak for the proxy itself.
        ("send-proxy-v2 proxy-v2-options crc32c check inter 100", "127.0.0.5 unnamed"),
    ] {
        let proxy = Proxy::haproxy("tcp", server.address(), options).await;
        assert_eq!(proxy.answer("").await, expected, "{options}");
    }
    server.shutdown().await;
}

#[server(port = 0, proxy_protocol = "127.0.0.1")]
async fn behind_tls(scheme: Scheme, proxy: ProxyInfo) -> String {
    let ssl = proxy.ssl().expect("TLS");
    let alpn = proxy.alpn().map(String::from_utf8_lossy);
    let name = proxy.authority().unwrap_or("unnamed");
    let is_named = ssl.version().is_some() && ssl.cipher().is_some() && !ssl.is_verified();
    format!("{scheme} {name} {} {is_named}", alpn.as_deref().unwrap_or("none"))
}

#[tokio::test]
async fn haproxy_tells_what_it_knows_of_the_tls_of_its_client() {
    if !tool("haproxy") {
        return;
    }
    let scratch = Scratch::new();
    let (cert, key) = scratch.certificate("a.example");
    let pair = [cert, key].map(|file| std::fs::read_to_string(file).expect("a file")).concat();
    let pair = scratch.write("pair.pem", pair);
    let server = TestServer::spawn(behind_tls::server(), ()).await;
    let bind = format!("ssl crt {} alpn http/1.1", pair.display());
    let options = "send-proxy-v2 proxy-v2-options crc32c,ssl,ssl-cipher,authority,unique-id check inter 100";
    let proxy = Proxy::haproxy_bound("tcp", &bind, server.address(), options).await;
    let stream = TcpStream::connect(proxy.address).await.expect("a connection");
    let name = "a.example".try_into().expect("a name");
    let stream = tls::connector(&["http/1.1"]).connect(name, stream).await.expect("a handshake");
    let mut client = Client::over(stream);
    let reply = within(PATIENCE, "an answer", client.get("/")).await.expect("an answer");
    assert_eq!(reply.text(), "https a.example http/1.1 true");
    drop(proxy);
    server.shutdown().await;
}

#[tokio::test]
async fn nginx_introduces_its_client() {
    if !tool("nginx") {
        return;
    }
    if !Path::new(NGINX_STREAM).exists() {
        return skipped("the module `stream` of nginx, which is not installed");
    }
    let server = TestServer::spawn(introduced::server(), ()).await;
    let behind = server.address();
    let proxy = Proxy::nginx(|address| {
        format!(
            "load_module {NGINX_STREAM};\n\
             stream {{ server {{ listen {address}; proxy_pass {behind}; proxy_protocol on; }} }}\n"
        )
    })
    .await;
    assert_eq!(proxy.answer("").await, "127.0.0.5 unnamed");
    drop(proxy);
    server.shutdown().await;
}

/// The client claims to be another one; the proxies append or replace.
const CLAIMS: &str =
    "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n";

#[tokio::test]
async fn fields_of_haproxy_are_believed_and_those_of_its_client_are_not() {
    if !tool("haproxy") {
        return;
    }
    let server = TestServer::spawn(believing::server(), ()).await;
    let proxy = Proxy::haproxy("http", server.address(), "").await;
    assert_eq!(proxy.answer(CLAIMS).await, "127.0.0.5 http a.example");
    drop(proxy);
    server.shutdown().await;
}

#[tokio::test]
async fn fields_of_nginx_are_believed_and_those_of_its_client_are_not() {
    if !tool("nginx") {
        return;
    }
    let server = TestServer::spawn(believing::server(), ()).await;
    let behind = server.address();
    let proxy = Proxy::nginx(|address| {
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path FOLDER/{kind};"))
            .collect();
        format!(
            "http {{ access_log off; {folders} server {{ listen {address}; location / {{\n\
             proxy_pass http://{behind};\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             proxy_set_header X-Forwarded-Proto $scheme;\n\
             proxy_set_header X-Forwarded-Host $host;\n}} }} }}\n"
        )
    })
    .await;
    assert_eq!(proxy.answer(CLAIMS).await, "127.0.0.5 http a.example");
    drop(proxy);
    server.shutdown().await;
}
