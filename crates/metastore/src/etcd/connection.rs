//! The way to etcd: its endpoints, encryption, and the token that a password is exchanged for.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, ConnectError, Request, Response, Status};

use super::pb::auth_client::AuthClient;
use super::pb::kv_client::KvClient;
use super::pb::lease_client::LeaseClient;
use super::pb::watch_client::WatchClient;
use super::{PATIENCE, failure, metrics, pb, silent};
use crate::error::Error;
use crate::options::{EtcdOptions, EtcdTls};

/// Largest answer that is taken; a page of the longest keys and values that runnel writes is far below.
const MAX_ANSWER: usize = 64 << 20;

/// First pause between two attempts; it doubles.
const PAUSE: Duration = Duration::from_millis(20);

/// Silence after which a connection is asked whether it lives, and how long that may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(3));

/// Where etcd looks for the token.
const TOKEN: &str = "token";

/// Connections to every endpoint, of which those are used that answer.
pub(super) struct Connection {
    channel: Channel,
    /// Name and password, if etcd asks for them.
    user: Option<(String, String)>,
    token: Mutex<Option<AsciiMetadataValue>>,
}

impl Connection {
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, Error> {
        let endpoints = options.endpoints.iter().map(|address| endpoint(address, options.tls.as_ref()));
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, Error>>()?;
        if endpoints.is_empty() {
            return Err(Error::Invalid("no address of etcd is given".to_owned()));
        }
        let channel = Channel::balance_list(endpoints.into_iter());
        Ok(Self { channel, user: options.user.clone(), token: Mutex::new(None) })
    }

    pub(super) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(super) fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub(super) fn watches(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// Sends a message and waits for the answer. It is sent again, for as long as a caller can wait, while etcd was not
    /// reached or did not take it for our token's sake, so that nothing was done; and where `again` says so.
    pub(super) async fn send<M: Clone, T>(
        &self,
        action: &'static str,
        message: &M,
        again: fn(&Status) -> bool,
        mut call: impl AsyncFnMut(Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let attempt = async {
                let request = self.request(message.clone()).await?;
                call(request).await
            };
            let started = Instant::now();
            let answered = timeout_at(deadline, attempt).await.unwrap_or_else(|_| Err(silent()));
            metrics::request(action, answered.as_ref().map_or_else(Status::code, |_| Code::Ok), started.elapsed());
            let failed = match answered {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let repeat = is_unsent(&failed) || self.drop_token_for(&failed) || again(&failed);
            if !repeat || Instant::now() + pause >= deadline {
                return Err(failure(action, failed));
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// A message under our token.
    pub(super) async fn request<M>(&self, message: M) -> Result<Request<M>, Status> {
        let mut request = Request::new(message);
        if let Some(token) = self.token().await? {
            request.metadata_mut().insert(TOKEN, token);
        }
        Ok(request)
    }

    /// Whether our token was why etcd refused, in which case the next message has a new one. Tokens end with time, with
    /// the life of the server that gave them, and with changes of users and roles.
    pub(super) fn drop_token_for(&self, status: &Status) -> bool {
        let stale =
            status.code() == Code::Unauthenticated || status.message().contains("revision of auth store is old");
        let dropped = stale && self.user.is_some();
        if dropped {
            self.keep(None);
        }
        dropped
    }

    /// The token of our user; a new one if there is none.
    async fn token(&self) -> Result<Option<AsciiMetadataValue>, Status> {
        let Some((name, password)) = self.user.clone() else { return Ok(None) };
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let request = pb::AuthenticateRequest { name, password };
        let answer = AuthClient::new(self.channel.clone()).authenticate(request).await?.into_inner();
        let token: AsciiMetadataValue =
            answer.token.parse().map_err(|_| Status::internal("etcd gave a token that is none"))?;
        self.keep(Some(token.clone()));
        Ok(Some(token))
    }

    fn keep(&self, token: Option<AsciiMetadataValue>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

/// Says nothing of user and token.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

fn endpoint(address: &str, tls: Option<&EtcdTls>) -> Result<Endpoint, Error> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let invalid =
        |error: tonic::transport::Error| Error::Invalid(format!("`{address}` is no address of etcd: {error}"));
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(invalid)?;
    if let Some(tls) = tls {
        let wrong = |why: String| Error::Invalid(format!("the certificates for etcd are of no use: {why}"));
        // The library takes anything for a list of none.
        if tls.ca.as_ref().is_some_and(|ca| !String::from_utf8_lossy(ca).contains("-----BEGIN CERTIFICATE-----")) {
            return Err(wrong("that of the authority is not in PEM".to_owned()));
        }
        endpoint = endpoint.tls_config(client_tls(tls)).map_err(|error| wrong(chain(&error)))?;
    }
    let (interval, limit) = KEEPALIVE;
    Ok(endpoint
        .connect_timeout(PATIENCE)
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(limit)
        .keep_alive_while_idle(true))
}

fn client_tls(tls: &EtcdTls) -> ClientTlsConfig {
    let config = ClientTlsConfig::new();
    let config = match &tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
        None => config.with_native_roots(),
    };
    match &tls.client {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}

/// Whether no server was reached, so that nothing was sent.
fn is_unsent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error and what it was caused by.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
