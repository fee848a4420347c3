//! Which brokers can be asked, and how clients ask them: as if over a network, so that a request dies with the broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runnel_broker::Broker;
use runnel_runtime::simulation::Chance;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The brokers that serve. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Directory(Arc<Mutex<BTreeMap<usize, Listed>>>);

struct Listed {
    broker: Arc<Broker>,
    host: Handle,
    /// Wakes who waits for an answer that will not come, in the order in which they asked. Without it they would be woken in
    /// that in which a runtime drops its tasks, which is one of chance.
    gone: Arc<Notify>,
}

impl Directory {
    pub(crate) fn add(&self, number: usize, broker: &Arc<Broker>, host: Handle) {
        self.listed().insert(number, Listed { broker: Arc::clone(broker), host, gone: Arc::default() });
    }

    /// To be called before the process ends.
    pub(crate) fn remove(&self, number: usize) {
        if let Some(listed) = self.listed().remove(&number) {
            listed.gone.notify_waiters();
        }
    }

    /// Any of those that serve.
    pub(crate) fn any(&self, chance: &mut Chance) -> Option<usize> {
        let listed = self.listed();
        if listed.is_empty() {
            return None;
        }
        let at = usize::try_from(chance.below(listed.len() as u64)).unwrap_or(0);
        listed.keys().nth(at).copied()
    }

    /// Asks a broker, in its own process. `None` if it does not serve, or dies before it answers.
    pub(crate) async fn ask<T, F>(&self, number: usize, ask: impl FnOnce(Arc<Broker>) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (asked, gone) = {
            let listed = self.listed();
            let Listed { broker, host, gone } = listed.get(&number)?;
            (host.spawn(ask(Arc::clone(broker))), Arc::clone(gone))
        };
        tokio::select! {
            biased;
            answer = asked => answer.ok(),
            () = gone.notified() => None,
        }
    }

    fn listed(&self) -> MutexGuard<'_, BTreeMap<usize, Listed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
