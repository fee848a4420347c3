//! What a consumer has taken and not given back to the broker.

use runnel_proto::consume::v1::ReadCredit;
use runnel_proto::consume::v1::read_session_response::Batch;
use runnel_proto::record::v1::StoredRecord;

/// Credit of one session.
#[derive(Debug)]
pub(crate) struct Credit {
    /// All that may be under way.
    whole: ReadCredit,
    owed: ReadCredit,
}

impl Credit {
    pub(crate) fn new(records: u64, bytes: u64) -> Self {
        Self { whole: ReadCredit { records, bytes }, owed: ReadCredit::default() }
    }

    /// A session opens with all of it.
    pub(crate) fn opened(&mut self) -> ReadCredit {
        self.owed = ReadCredit::default();
        self.whole
    }

    /// A batch has come.
    pub(crate) fn took(&mut self, batch: &Batch) {
        self.owed.records += batch.records.len() as u64;
        self.owed.bytes += batch.records.iter().map(size_of).sum::<u64>();
    }

    /// What to give back once half of it is owed: not for every batch.
    pub(crate) fn half(&mut self) -> Option<ReadCredit> {
        let half = self.owed.records * 2 >= self.whole.records || self.owed.bytes * 2 >= self.whole.bytes;
        half.then(|| std::mem::take(&mut self.owed))
    }

    /// What to give back when nothing comes: a record larger than what is left is sent only while none of it is used.
    pub(crate) fn all(&mut self) -> Option<ReadCredit> {
        Some(std::mem::take(&mut self.owed)).filter(|owed| *owed != ReadCredit::default())
    }
}

/// What a record costs of the credit.
fn size_of(record: &StoredRecord) -> u64 {
    let part = |bytes: &Option<_>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers: usize = record.headers.iter().map(|header| header.key.len() + part(&header.value)).sum();
    (part(&record.key) + part(&record.value) + headers) as u64
}
