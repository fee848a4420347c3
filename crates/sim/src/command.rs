//! What the command does around the simulation: many runs at a time, a summary of them, a smaller case of one,
//! seeds that are known for something.

pub(crate) mod campaign;
pub(crate) mod known;
pub(crate) mod shrink;
pub(crate) mod summary;
