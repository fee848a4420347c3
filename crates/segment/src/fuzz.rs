//! For fuzzing: what stands behind the checksums. Whoever can write into a bucket can also compute a checksum.

use bytes::Bytes;

use crate::footer::Footer;
use crate::pieces::Pieces;
use crate::{Error, SourceBatch, decode_run, read};

/// Every batch of the segment `file`, without a look at its checksums.
///
/// # Errors
/// [`Error::Corrupt`]; nothing else may come of any input.
pub fn read_unchecked(file: &Bytes) -> Result<Vec<SourceBatch>, Error> {
    let footer = Footer::parse_checked(file, file.len() as u64)?;
    let mut batches = Vec::new();
    for run in footer.runs() {
        let mut pieces = Pieces::default();
        pieces.push(0, file.clone());
        batches.extend(decode_run(&read::decode(&footer, run.index, footer.ranges(run.index)?, pieces)?)?);
    }
    Ok(batches)
}
