//! One program for each target; they differ in their name only.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use runnel_fuzz::{Target, find};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| find(env!("CARGO_BIN_NAME")));

fuzz_target!(|input: &[u8]| (TARGET.run)(input));
