//! etcd, where brokers share one.

use runnel_metastore::{Error, ErrorKind, Etcd, EtcdOptions, MetaStore};
use tokio::time::Instant;

use super::report::Report;
use crate::config::{Config, MetadataStore};

const CHECK: &str = "metadata.url";

/// Whether it answers and lets us at our keys. Writes nothing.
pub(super) async fn answers(config: &Config, report: &mut Report) {
    let etcd = match config.metadata_store() {
        Ok(MetadataStore::Embedded) => return,
        Ok(MetadataStore::Etcd(etcd)) => etcd,
        Err(error) => return report.fail(CHECK, format!("{error:#}"), "correct the section [metadata]"),
    };
    let name = etcd.endpoints.join(", ");
    let asked = Instant::now();
    match ask(&etcd).await {
        Ok(()) => report.ok(CHECK, format!("etcd at {name} answers, in {:.1?}", asked.elapsed())),
        Err(error) => {
            let advice = match error.kind() {
                ErrorKind::Denied => {
                    "correct metadata.etcd.user and metadata.etcd.password, or let that user at all keys below the prefix"
                }
                ErrorKind::Invalid => "correct the section [metadata]",
                _ => {
                    "start etcd, or correct metadata.url; where etcd wants TLS, set metadata.etcd.ca, and cert and key if it asks for them"
                }
            };
            report.fail(CHECK, format!("etcd at {name}: {error}"), advice);
        }
    }
}

async fn ask(options: &EtcdOptions) -> Result<(), Error> {
    let store = Etcd::connect(options)?;
    store.get("doctor").await.map(drop)
}
