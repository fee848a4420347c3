//! The writer, in a thread of its own: it takes whatever waits, applies it in order and commits it together.

use std::sync::Arc;

use redb::WriteTransaction;
use tokio::sync::{mpsc, oneshot};

use super::Inner;
use super::tables::Tables;
use crate::error::Error;
use crate::store::{Compare, LeaseId, Op, TxnOutcome};

/// Requests that share one commit at most.
const MAX_BATCH: usize = 128;

/// A change that somebody waits for.
pub(super) enum Request {
    Txn { compare: Vec<Compare>, then: Vec<Op>, reply: Reply<TxnOutcome> },
    Grant { ttl_ms: u64, reply: Reply<LeaseId> },
    Revoke { lease: LeaseId, reply: Reply<()> },
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// An answer that may only leave once everything before it in the batch is durable.
enum Answer {
    Txn(Reply<TxnOutcome>, Result<TxnOutcome, Error>),
    Grant(Reply<LeaseId>, LeaseId),
    Revoke(Reply<()>, Result<(), Error>),
}

impl Answer {
    fn send(self) {
        // A caller that no longer waits does not change what was done.
        match self {
            Self::Txn(reply, answer) => drop(reply.send(answer)),
            Self::Grant(reply, lease) => drop(reply.send(Ok(lease))),
            Self::Revoke(reply, answer) => drop(reply.send(answer)),
        }
    }

    fn fail(self, error: Error) {
        match self {
            Self::Txn(reply, _) => drop(reply.send(Err(error))),
            Self::Grant(reply, _) => drop(reply.send(Err(error))),
            Self::Revoke(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

impl Request {
    fn refuse(self, error: Error) {
        match self {
            Self::Txn { reply, .. } => drop(reply.send(Err(error))),
            Self::Grant { reply, .. } => drop(reply.send(Err(error))),
            Self::Revoke { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    fn apply(self, tables: &mut Tables<'_>, answers: &mut Vec<Answer>) -> Result<(), redb::Error> {
        answers.push(match self {
            Self::Txn { compare, then, reply } => {
                let answer = tables.txn(&compare, then)?;
                Answer::Txn(reply, answer)
            }
            Self::Grant { ttl_ms, reply } => {
                let lease = tables.grant(ttl_ms)?;
                Answer::Grant(reply, lease)
            }
            Self::Revoke { lease, reply } => {
                let answer = tables.revoke(lease)?;
                Answer::Revoke(reply, answer)
            }
        });
        Ok(())
    }
}

/// Serves requests until all senders are gone and the queue is empty.
pub(super) async fn run(inner: Arc<Inner>, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.recv().await {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = requests.try_recv()
        {
            batch.push(next);
        }
        if let Err(closed) = inner.usable() {
            batch.into_iter().for_each(|request| request.refuse(closed.clone()));
            continue;
        }
        let mut answers = Vec::with_capacity(batch.len());
        match commit(&inner, batch, &mut answers) {
            Ok(()) => answers.into_iter().for_each(Answer::send),
            Err(error) => {
                // The commit may have reached the disk or not, so nothing read from here on could be trusted.
                let error = inner.fail(error);
                answers.into_iter().for_each(|answer| answer.fail(error.clone()));
            }
        }
    }
}

fn commit(inner: &Inner, batch: Vec<Request>, answers: &mut Vec<Answer>) -> Result<(), redb::Error> {
    let db = inner.db();
    let Some(db) = db.as_ref() else { return Err(redb::Error::DatabaseClosed) };
    let txn = db.begin_write()?;
    let (changes, dirty) = apply_all(&txn, batch, answers)?;
    // A batch of refusals leaves nothing to sync: all it saw is durable already.
    if dirty {
        txn.commit()?
    } else {
        txn.abort()?
    }
    inner.history.publish(changes);
    Ok(())
}

fn apply_all(
    txn: &WriteTransaction,
    batch: Vec<Request>,
    answers: &mut Vec<Answer>,
) -> Result<(Vec<crate::watch::Changes>, bool), redb::Error> {
    let mut tables = Tables::open(txn)?;
    for request in batch {
        request.apply(&mut tables, answers)?;
    }
    Ok((tables.changes, tables.dirty))
}
