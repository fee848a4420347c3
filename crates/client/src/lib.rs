//! The Rust client of the gRPC interface.
