//! metastore
