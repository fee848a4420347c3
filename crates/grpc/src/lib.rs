//! The gRPC front door: wire to `api` and back.
