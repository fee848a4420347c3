//! Records on stdout.

use std::io::{self, BufWriter, StdoutLock, Write};

use runnel_client::proto::consume::v1::read_session_response::Batch;

use super::{ConsumeArgs, RecordOutput};
use crate::cli::record_json::Line;

/// Prints as the arguments say.
pub(super) struct Printer<'a> {
    args: &'a ConsumeArgs,
    out: BufWriter<StdoutLock<'static>>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(args: &'a ConsumeArgs) -> Self {
        Self { args, out: BufWriter::new(io::stdout().lock()) }
    }

    /// Prints up to `most` records of a batch and returns how many.
    pub(super) fn batch(&mut self, batch: &Batch, most: u64) -> anyhow::Result<u64> {
        let mut printed = 0;
        for record in batch.records.iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            match (&self.args.format, self.args.output) {
                (Some(format), _) => format.write(&mut self.out, &batch.topic, batch.partition, record)?,
                (None, RecordOutput::Value) => {
                    self.out.write_all(record.value.as_deref().unwrap_or_default())?;
                    self.out.write_all(b"\n")?;
                }
                (None, RecordOutput::Json) => {
                    let line = serde_json::to_vec(&Line::new(&batch.topic, batch.partition, record))?;
                    self.out.write_all(&line)?;
                    self.out.write_all(b"\n")?;
                }
            }
            printed += 1;
        }
        self.out.flush()?;
        Ok(printed)
    }
}
