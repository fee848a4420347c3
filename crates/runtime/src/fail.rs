//! Fail points: named places between two durable steps where a test makes the process die, fail or wait.
//!
//! A [`FailPoints`] is a value, not a global, so tests run side by side. With nothing armed a pass costs one
//! relaxed load. The binary arms them from `RUNNEL_FAIL_POINTS` (`name=abort;other=error`), for crash tests of
//! the real process.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What happens when execution reaches an armed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailAction {
    /// The process dies at once, as by `kill -9`.
    Abort,
    /// The step reports [`Injected`], once; the point is disarmed by it.
    Error,
    /// The step reports [`Injected`] every time until disarmed.
    ErrorAlways,
}

impl FromStr for FailAction {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "abort" => Ok(Self::Abort),
            "error" => Ok(Self::Error),
            "error-always" => Ok(Self::ErrorAlways),
            other => Err(format!("unknown fail action `{other}`: expected abort, error or error-always")),
        }
    }
}

/// An armed point was reached.
#[derive(Debug, thiserror::Error)]
#[error("fail point `{0}` was hit")]
pub struct Injected(pub &'static str);

#[derive(Default)]
struct Inner {
    armed: AtomicBool,
    points: Mutex<BTreeMap<String, FailAction>>,
}

/// A set of fail points, shared by everything that one broker runs. Cheap to clone.
#[derive(Clone, Default)]
pub struct FailPoints(Arc<Inner>);

impl FailPoints {
    /// Reads `name=action;name=action`.
    pub fn parse(spec: &str) -> Result<Self, String> {
        let points = Self::default();
        for part in spec.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, action) =
                part.split_once('=').ok_or_else(|| format!("fail point `{part}` is not of the form name=action"))?;
            points.arm(name.trim(), action.trim().parse()?);
        }
        Ok(points)
    }

    /// Arms `name`.
    pub fn arm(&self, name: &str, action: FailAction) {
        self.0.points.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), action);
        self.0.armed.store(true, Ordering::Release);
    }

    /// Disarms `name`.
    pub fn disarm(&self, name: &str) {
        self.0.points.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether `name` is armed. A point armed with [`FailAction::Error`] no longer is once it was reached.
    pub fn is_armed(&self, name: &str) -> bool {
        self.0.points.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// Passes the point `name`, or does what it is armed with.
    pub fn hit(&self, name: &'static str) -> Result<(), Injected> {
        if !self.0.armed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut points = self.0.points.lock().unwrap_or_else(PoisonError::into_inner);
        match points.get(name) {
            None => Ok(()),
            Some(FailAction::Abort) => std::process::abort(),
            Some(FailAction::Error) => {
                points.remove(name);
                Err(Injected(name))
            }
            Some(FailAction::ErrorAlways) => Err(Injected(name)),
        }
    }
}

impl std::fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FailPoints").field(&self.0.armed.load(Ordering::Relaxed)).finish()
    }
}
