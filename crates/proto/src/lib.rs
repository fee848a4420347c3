//! The types and stubs of the gRPC interface, generated from `proto/`; nothing but their codec is written by hand.
//!
//! One module for each package. `bytes` fields are shared buffers. The contract, with units and errors, stands in the
//! `.proto` files.

#![allow(missing_docs, clippy::all, unreachable_pub)]

mod codec;

pub use codec::{Exact, ExactEncoder};

macro_rules! package {
    ($area:ident, $package:tt) => {
        pub mod $area {
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

package!(admin, "runnel.admin.v1");
package!(cluster, "runnel.cluster.v1");
package!(consume, "runnel.consume.v1");
package!(error, "runnel.error.v1");
package!(peer, "runnel.peer.v1");
package!(produce, "runnel.produce.v1");
package!(record, "runnel.record.v1");

/// The compiled descriptors of every file that clients may know, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
