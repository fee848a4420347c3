//! The seams between runnel and the machine: clock, randomness, disk files, fail points, shutdown.
//!
//! Everything that a test wants to bend is a value handed in from the top (`Arc<dyn Clock>`, `Arc<dyn Disk>`,
//! [`FailPoints`], [`Shutdown`]); nothing above this crate reads the ambient ones. Each port has a fake that can
//! crash. Deliberately absent: tasks and sockets, which are tokio's.

pub mod clock;
pub mod disk;
pub mod fail;
pub mod shutdown;

pub use clock::{Clock, ManualClock, SystemClock};
pub use disk::{Disk, DiskFile, SimDisk, StdDisk};
pub use fail::{FailAction, FailPoints, Injected};
pub use shutdown::Shutdown;
