//! Records that compress as records do: random letters do not.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Bench;

/// Bytes of an object.
const BYTES: usize = 1024;

/// Writes a file of so many different objects, a line each, and all of them so often.
pub(super) fn write_json(bench: &Bench, name: &str, objects: u64, times: u64) -> Result<PathBuf> {
    let path = bench.dir.join(name).with_extension("json");
    let lines: String = (0..objects).map(|number| json(number) + "\n").collect();
    let write = || {
        let mut file = BufWriter::new(File::create(&path)?);
        (0..times).try_for_each(|_| file.write_all(lines.as_bytes()))?;
        file.flush()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// An object of 1 KiB; the same for the same number.
fn json(number: u64) -> String {
    const WORDS: [&str; 16] = [
        "payment",
        "accepted",
        "gateway",
        "retry",
        "customer",
        "order",
        "shipped",
        "warehouse",
        "delayed",
        "address",
        "refund",
        "issued",
        "after",
        "inspection",
        "returned",
        "goods",
    ];
    let mut random = number + 1;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let mut line = format!(r#"{{"id":"{:08x}","amount":{}"#, below(1 << 31), below(99_999));
    for item in 0..6 {
        write!(line, r#","sku{item}":"{:07}""#, below(9_999_999)).ok(); // a string takes all that is written
    }
    line += r#","note":""#;
    while line.len() < BYTES {
        line += WORDS[below(WORDS.len() as u64) as usize];
        line.push(' ');
    }
    line.truncate(BYTES - 2);
    line + "\"}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_a_length_and_differs() {
        assert!((0..100).all(|number| json(number).len() == BYTES && !json(number).contains('\n')));
        assert_ne!(json(1), json(2));
        assert!(json(1).ends_with("\"}"), "{}", json(1));
    }
}
