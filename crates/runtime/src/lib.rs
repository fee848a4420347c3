//! The seams between runnel and the machine: clock, randomness, disk files, other processes, fail points, shutdown.
//!
//! Everything that a test wants to bend is a value handed in from the top (`Arc<dyn Clock>`, `Arc<dyn Disk>`,
//! `Arc<dyn Dial>`, [`FailPoints`], [`Shutdown`]); nothing above this crate reads the ambient ones. Each port has a fake that can
//! crash. Random ids and blocking work are asked for in [`simulation`], work that may wait in [`mod@background`].
//! Deliberately absent: tasks and sockets, which are tokio's.

pub mod background;
pub mod clock;
pub mod dial;
pub mod disk;
pub mod fail;
pub mod shutdown;
pub mod simulation;

pub use background::{Chore, background};
pub use clock::{Clock, ManualClock, SystemClock};
pub use dial::{Dial, Line, TcpDial};
pub use disk::{Disk, DiskFile, Reuse, SimDisk, StdDisk};
pub use fail::{FailAction, FailPoints, Injected};
pub use shutdown::Shutdown;
