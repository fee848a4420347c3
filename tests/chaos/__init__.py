"""A cluster of real processes that has a bad time for as long as one likes: `cargo xtask chaos`."""
