//! The topics as group coordinators see them.

use std::sync::{Arc, PoisonError};

use runnel_group::Topics as Picture;

use super::Topics;

impl Topics {
    /// The topics as they are now, unless that is the picture of `version`. All coordinators share one.
    pub(crate) fn picture_after(&self, version: u64) -> Option<Arc<Picture>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.version == version {
            return None;
        }
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        if picture.version() != known.version {
            let topics = known.by_name.values().map(|topic| {
                let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
                (topic.name.clone(), topic.id, partitions)
            });
            *picture = Arc::new(Picture::new(known.version, topics));
        }
        Some(Arc::clone(&picture))
    }
}
