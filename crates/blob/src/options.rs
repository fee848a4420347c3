//! Where the bucket is and how to talk to it.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;

/// Settings of a bucket (`storage.*`).
#[derive(Clone)]
pub struct Options {
    /// `file:///absolute/folder` (as it is, nothing is percent-decoded), `s3://bucket/prefix` or `memory:`.
    pub url: String,
    /// Address of an S3-compatible store; `None`: `AWS_ENDPOINT_URL`, else AWS itself.
    pub endpoint: Option<String>,
    /// Region; `None`: `AWS_REGION`, `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// Key id; `None`: the standard AWS variables, web identity, container or instance credentials.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<String>,
    /// Allows `http://` endpoints.
    pub allow_http: bool,
    /// How long one operation may take, retries included; each part of a multipart upload counts by itself.
    pub request_timeout: Duration,
}

impl Options {
    /// `url` with the defaults for everything else.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            allow_http: false,
            request_timeout: Duration::from_secs(30),
        }
    }

    pub(crate) fn location(&self) -> Result<Location, Error> {
        let refuse = |reason: &str| Err(Error::Url { url: self.url.clone(), reason: reason.to_owned() });
        if matches!(self.url.as_str(), "memory:" | "memory://") {
            return Ok(Location::Memory);
        }
        if let Some(path) = self.url.strip_prefix("file://") {
            return match path {
                "/" => refuse("the root folder cannot be a bucket"),
                path if path.starts_with('/') => Ok(Location::Folder(PathBuf::from(path))),
                _ => refuse("file:// needs an absolute path, as in file:///var/lib/runnel/bucket"),
            };
        }
        let Some(rest) = self.url.strip_prefix("s3://") else {
            return refuse("expected file:///absolute/folder, s3://bucket/prefix or memory:");
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return refuse("the bucket's name is missing: s3://bucket/prefix");
        }
        Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &self.secret_access_key.as_ref().map(|_| "(hidden)"))
            .field("allow_http", &self.allow_http)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Memory,
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn urls() {
        let ok = |url: &str| Options::new(url).location().unwrap();
        let s3 = |bucket: &str, prefix: &str| Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        assert_eq!(ok("memory:"), Location::Memory);
        assert_eq!(ok("file:///a b/c%20d"), Location::Folder(PathBuf::from("/a b/c%20d")));
        assert_eq!(ok("s3://b"), s3("b", ""));
        assert_eq!(ok("s3://b/"), s3("b", ""));
        assert_eq!(ok("s3://b/x/y/"), s3("b", "x/y"));
        for bad in ["", "file://relative", "file:///", "s3://", "s3:///x", "gs://b", "/plain/path"] {
            let error = Options::new(bad).location().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let options = Options { secret_access_key: Some("hush".to_owned()), ..Options::new("memory:") };
        assert!(!format!("{options:?}").contains("hush"));
    }
}
