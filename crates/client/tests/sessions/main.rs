//! The client against the real front door, over a broker in memory and a wire that breaks.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod calls;
mod consuming;
mod grouping;
mod producing;
mod support;
