//! `s3://`: Amazon S3 and what speaks its protocol.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};

use crate::{Error, Options};

const CONNECT_TIMEOUT: &str = "3s";

pub(crate) fn open(options: &Options, bucket: &str) -> Result<AmazonS3, Error> {
    // The HTTP client takes the process's crypto provider. An error means that there is one already: as good.
    drop(rustls::crypto::ring::default_provider().install_default());

    let url_error = |reason: String| Error::Url { url: options.url.clone(), reason };
    if let Some(endpoint) = &options.endpoint {
        if endpoint.starts_with("http://") && !options.allow_http {
            let reason =
                format!("storage.endpoint {endpoint} is not encrypted: use https://, or set storage.allow_http = true");
            return Err(url_error(reason));
        }
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(url_error(format!("storage.endpoint {endpoint} needs http:// or https:// in front")));
        }
    }
    let timeout = format!("{}ms", options.request_timeout.as_millis().max(1));
    // Single options, not `with_client_options`: that would drop those that came from the environment.
    let client = |key| AmazonS3ConfigKey::Client(key);
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(true) // not every store has it, and deletions are few
        .with_retry(retries(options.request_timeout))
        .with_config(client(ClientConfigKey::Timeout), timeout)
        .with_config(client(ClientConfigKey::ConnectTimeout), CONNECT_TIMEOUT)
        .with_config(client(ClientConfigKey::Http1Only), "true");
    if options.allow_http {
        builder = builder.with_config(client(ClientConfigKey::AllowHttp), "true");
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(id) = &options.access_key_id {
        builder = builder.with_access_key_id(id);
    }
    if let Some(secret) = &options.secret_access_key {
        builder = builder.with_secret_access_key(secret);
    }
    builder.build().map_err(|error| url_error(error.to_string()))
}

/// Short: whoever waits for the bucket has retries of its own, and reports an outage sooner.
fn retries(request_timeout: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: (request_timeout / 3).min(Duration::from_secs(10)),
    }
}
