//! A real etcd on loopback, of one member.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use runnel_metastore::{Etcd, EtcdOptions, MetaStore, Op};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A process that ends with this value, as do its files.
pub(crate) struct Server {
    directory: TempDir,
    port: u16,
    peer_port: u16,
    tls: Vec<String>,
    process: Child,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The program: named by the environment, or where `cargo xtask test` keeps it.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("ETCD_BIN") {
        return named.into();
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let program = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("runnel/bin/etcd");
    assert!(program.is_file(), "these tests need etcd: `cargo xtask test` builds it, or name a program by ETCD_BIN");
    program
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// With arguments that turn on encryption.
    pub(crate) async fn start_with(tls: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, peer_port) = (free_port(), free_port());
        let process = spawn(&directory, port, peer_port, &tls);
        let server = Self { directory, port, peer_port, tls, process };
        server.wait().await;
        server
    }

    /// As a crash of the process ends it.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the same files, under the same address.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(&self.directory, self.port, self.peer_port, &self.tls);
        self.wait().await;
    }

    async fn wait(&self) {
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await; // between two attempts to connect
        }
    }

    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: vec![format!("127.0.0.1:{}", self.port)],
            prefix: "/runnel/test".to_owned(),
            ..EtcdOptions::default()
        }
    }

    pub(crate) fn store(&self) -> Etcd {
        Etcd::connect(&self.options()).unwrap()
    }

    /// Makes etcd forget the changes before a revision.
    pub(crate) async fn compact(&self, revision: u64) {
        self.ask("kv/compaction", &format!(r#"{{"revision": {revision}, "physical": true}}"#)).await;
    }

    /// Sends a request the way of etcd's gateway, as JSON.
    pub(crate) async fn ask(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let len = body.len();
        let head =
            format!("POST /v3/{path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path} {body}: {answer}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn spawn(directory: &TempDir, port: u16, peer_port: u16, tls: &[String]) -> Child {
    let scheme = if tls.is_empty() { "http" } else { "https" };
    let (client, peer) = (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let log = std::fs::File::options().create(true).append(true).open(directory.path().join("log")).unwrap();
    Command::new(program())
        .args(["--name", "one", "--initial-cluster", &format!("one={peer}"), "--log-level", "warn"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--heartbeat-interval", "20", "--election-timeout", "200", "--unsafe-no-fsync"])
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .args(tls)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

pub(crate) async fn put(store: &dyn MetaStore, key: &str, value: &str) {
    let put = Op::Put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()), None);
    assert!(store.txn(Vec::new(), vec![put]).await.unwrap().is_committed());
}
