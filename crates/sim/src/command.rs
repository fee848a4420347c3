//! What the command does around the simulation: many runs at a time, a summary of them, a smaller case of one.

pub(crate) mod campaign;
pub(crate) mod shrink;
pub(crate) mod summary;
