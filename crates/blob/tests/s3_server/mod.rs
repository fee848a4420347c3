//! A real S3 server for tests: the one that `cargo xtask test` names in the environment, else one started here.
#![allow(clippy::disallowed_methods)] // the start of a foreign process has no event to wait for

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runnel_blob::Options;

const ACCESS_KEY: &str = "runnel-test";
const SECRET_KEY: &str = "runnel-test-secret";
const BUCKET: &str = "runnel-test";

/// A server, stopped when dropped if it was started here.
pub(crate) struct S3Server {
    endpoint: String,
    bucket: String,
    keys: Option<(&'static str, &'static str)>,
    started: Option<(Child, tempfile::TempDir)>,
}

impl S3Server {
    /// The server of the environment, or a new one.
    pub(crate) fn get() -> Self {
        match (std::env::var("RUNNEL_TEST_S3_ENDPOINT"), std::env::var("RUNNEL_TEST_S3_BUCKET")) {
            (Ok(endpoint), Ok(bucket)) => Self { endpoint, bucket, keys: None, started: None },
            _ => Self::start(),
        }
    }

    /// Options for `s3://bucket{prefix}` on it; `None` for keys: those of the environment.
    pub(crate) fn options(&self, prefix: &str) -> Options {
        let mut options = Options::new(format!("s3://{}{prefix}", self.bucket));
        options.endpoint = Some(self.endpoint.clone());
        options.allow_http = true;
        if let Some((id, secret)) = self.keys {
            options.access_key_id = Some(id.to_owned());
            options.secret_access_key = Some(secret.to_owned());
        }
        options
    }

    fn start() -> Self {
        let binary = binary();
        assert!(
            binary.is_file(),
            "no S3 server to test against: {} is missing. Run `cargo xtask test`, which installs and starts it",
            binary.display()
        );
        // The port may be taken between our asking and its binding.
        (0..3).find_map(|_| Self::try_start(&binary)).expect("the S3 server starts")
    }

    fn try_start(binary: &PathBuf) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut child = Command::new(binary)
            .args(["--port", &address.to_string(), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet", "posix"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the S3 server runs");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || child.try_wait().unwrap().is_some() {
                drop(child.kill());
                drop(child.wait());
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let endpoint = format!("http://{address}");
        let keys = Some((ACCESS_KEY, SECRET_KEY));
        Some(Self { endpoint, bucket: BUCKET.to_owned(), keys, started: Some((child, dir)) })
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some((mut child, _dir)) = self.started.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn binary() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("runnel/bin/versitygw")
}
