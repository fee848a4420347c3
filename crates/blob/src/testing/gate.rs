//! A store whose clients wait at a gate: somebody else says which request is answered next, and which answer gets lost.
//!
//! What a client does next follows from what it has been told, and the gate notes that for each: so two moments are the
//! same if the objects are, what each client was told, and what is still on its way ([`Gate::digest`]). Some forget, which
//! makes more moments the same: [`Gate::forgets`], [`Gate::becomes`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::sync::oneshot;

use super::Op;

type Result<T> = std::result::Result<T, Error>;

/// What happens to a request that waits, or that its client has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// It is carried out and answered.
    Answer(Request),
    /// Its client hears of a failure. Whether and when it is carried out is another matter ([`Act::Arrive`]).
    Lose(Request),
    /// One that was lost is carried out, if its condition holds.
    Arrive {
        /// Its place among those that were lost.
        at: usize,
        /// What it is.
        request: Request,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Who has sent it.
    pub client: &'static str,
    /// Which of its requests it is, of those that it remembers.
    pub number: u64,
    /// What it is.
    pub op: Op,
    /// The object, or what is listed.
    pub path: String,
    /// What is written.
    pub content: Option<Content>,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (request, what) = match self {
            Self::Answer(request) => (request, ""),
            Self::Lose(request) => (request, ": lost"),
            Self::Arrive { request, .. } => (request, ", which was lost: arrives"),
        };
        // What is listed has no name of its own, and zeros in front of a number say nothing.
        let name = request.path.rsplit('/').next().filter(|_| request.op != Op::List).unwrap_or_default();
        let name = name.trim_start_matches("0000000000000000000");
        let gap = if name.is_empty() { "" } else { " " };
        write!(f, "{}: {:?}{gap}{name}{what}", request.client, request.op)
    }
}

struct Waiting {
    request: Request,
    go_on: oneshot::Sender<bool>,
}

/// A write or a deletion whose client has given up.
struct Late {
    request: Request,
    /// `None`: it deletes.
    put: Option<(PutPayload, PutOptions)>,
}

/// An object as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content {
    /// Of its bytes.
    pub digest: u64,
    /// Its size.
    pub bytes: usize,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    late: Vec<Late>,
    objects: BTreeMap<String, Content>,
    /// By client, and by object for those who forget.
    told: BTreeMap<(&'static str, String), Told>,
    /// Clients who forget.
    forgetful: BTreeSet<&'static str>,
}

/// What a client knows.
#[derive(Debug, Clone, Copy, Default, Hash)]
struct Told {
    requests: u64,
    /// A digest of what it was told, in order.
    history: u64,
}

impl State {
    fn of(&mut self, client: &'static str, path: &str) -> &mut Told {
        let path = if self.forgetful.contains(client) { path } else { "" };
        self.told.entry((client, path.to_owned())).or_default()
    }

    /// Drops what is known of objects that nobody waits for.
    fn forget(&mut self) {
        let Self { told, waiting, forgetful, .. } = self;
        let asks =
            |client, path: &str| waiting.iter().any(|w| (w.request.client, w.request.path.as_str()) == (client, path));
        told.retain(|(client, path), _| !forgetful.contains(client) || asks(*client, path));
    }
}

/// The gate of a bucket. Cheap to clone.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn injected(op: Op) -> Error {
    Error::Generic { store: "gate", source: format!("{op:?} was lost").into() }
}

impl Gate {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may happen next. Of the reads, listings and deletions of a client the oldest is answered first, of one who
    /// forgets the oldest of each object; writes come in any order. With `faults` a write or a deletion may get lost.
    pub fn acts(&self, faults: bool) -> Vec<Act> {
        let state = self.state();
        let mut acts = Vec::new();
        let is_write = |request: &Request| matches!(request.op, Op::Put | Op::Create | Op::Replace);
        for (place, Waiting { request, .. }) in state.waiting.iter().enumerate() {
            let is_first = || {
                let anywhere = !state.forgetful.contains(request.client);
                let same = |other: &Request| other.client == request.client && (anywhere || other.path == request.path);
                !state.waiting[..place].iter().any(|other| same(&other.request) && !is_write(&other.request))
            };
            if is_write(request) || is_first() {
                acts.push(Act::Answer(request.clone()));
                if faults && (is_write(request) || request.op == Op::Delete) {
                    acts.push(Act::Lose(request.clone()));
                }
            }
        }
        let late = state.late.iter().map(|late| late.request.clone()).enumerate();
        acts.extend(late.map(|(at, request)| Act::Arrive { at, request }));
        acts
    }

    /// Lets one of [`Gate::acts`] happen to the objects of `bucket`. Its client goes on when it is polled next.
    ///
    /// # Panics
    /// If nobody waits for this: what is repeated has gone another way.
    pub fn act(&self, act: &Act, bucket: &crate::Bucket) {
        match act {
            Act::Answer(request) => self.go_on(request, true),
            Act::Lose(request) => self.go_on(request, false),
            Act::Arrive { at, .. } => {
                let Late { request, put } = self.state().late.remove(*at);
                let path = Path::from(request.path.as_str());
                match put {
                    None => {
                        drop(bucket.store().delete(&path).now_or_never());
                        self.state().objects.remove(&request.path);
                    }
                    Some((payload, options)) => {
                        let content = content(&payload);
                        if let Some(Ok(_)) = bucket.store().put_opts(&path, payload, options).now_or_never() {
                            self.state().objects.insert(request.path, content);
                        }
                    }
                }
            }
        }
    }

    fn go_on(&self, request: &Request, well: bool) {
        let mut state = self.state();
        let place = state.waiting.iter().position(|waiting| waiting.request == *request);
        let place = place.expect("somebody waits for it");
        // Who waits no more does not want to know.
        state.waiting.remove(place).go_on.send(well).unwrap_or_default();
    }

    /// What is in the bucket.
    pub fn objects(&self) -> BTreeMap<String, Content> {
        self.state().objects.clone()
    }

    /// What a client does about one object has nothing to do with what it does about another, and once it waits for
    /// nothing there, what it knows is all in what the caller adds to [`Gate::digest`].
    pub fn forgets(&self, client: &'static str) {
        self.state().forgetful.insert(client);
    }

    /// All that a client knows is `what`.
    pub fn becomes(&self, client: &'static str, what: &impl Hash) {
        let mut state = self.state();
        *state.of(client, "") = Told { requests: 0, history: hash(what) };
    }

    /// All clients wait: those who forget do so.
    pub fn settled(&self) {
        self.state().forget();
    }

    /// A number that follows from what the client of an act knows. Ids that are drawn from it are the same whatever others
    /// have done meanwhile.
    pub fn seed(&self, act: &Act) -> u64 {
        let (Act::Answer(request) | Act::Lose(request) | Act::Arrive { request, .. }) = act;
        let mut state = self.state();
        let told = *state.of(request.client, &request.path);
        hash(&(request, told, state.objects.get(&request.path)))
    }

    fn told(&self, request: &Request, what: &impl Hash) {
        let mut state = self.state();
        let told = state.of(request.client, &request.path);
        told.history = hash(&(told.history, request, hash(what)));
    }

    /// Of the objects, of what every client was told, and of what is on its way.
    pub fn digest(&self) -> u64 {
        let state = self.state();
        let mut late: Vec<u64> = state.late.iter().map(|late| hash(&late.request)).collect();
        late.sort_unstable();
        let waiting: Vec<_> = state.waiting.iter().map(|waiting| &waiting.request).collect();
        hash(&(&state.objects, &state.told, waiting, late))
    }

    async fn ask(&self, client: &'static str, op: Op, path: &Path, content: Option<Content>) -> (Request, bool) {
        let (go_on, answer) = oneshot::channel();
        let request = {
            let mut state = self.state();
            let told = state.of(client, path.as_ref());
            told.requests += 1;
            let request = Request { client, number: told.requests, op, path: path.to_string(), content };
            state.waiting.push(Waiting { request: request.clone(), go_on });
            // By client, so that the order in which they ask is the same in every run.
            let order = |a: &Waiting, b: &Waiting| {
                let key = |of: &Request| (of.client, of.path.clone(), of.number);
                key(&a.request).cmp(&key(&b.request))
            };
            state.waiting.sort_by(order);
            request
        };
        // Without an answer: the gate is gone, and so is whoever would look.
        (request, answer.await.unwrap_or(false))
    }

    fn lost(&self, late: Late) -> Error {
        let op = late.request.op;
        self.told(&late.request, &"lost");
        self.state().late.push(late);
        injected(op)
    }
}

fn content(payload: &PutPayload) -> Content {
    let mut hasher = DefaultHasher::new();
    payload.iter().for_each(|part| hasher.write(part));
    Content { digest: hasher.finish(), bytes: payload.content_length() }
}

pub(crate) struct GateStore {
    inner: Arc<dyn ObjectStore>,
    gate: Gate,
    client: &'static str,
}

impl GateStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, gate: Gate, client: &'static str) -> Self {
        Self { inner, gate, client }
    }

    /// What there is below `prefix`, behind `offset`, when it is answered.
    fn listing(&self, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (gate, client, inner) = (self.gate.clone(), self.client, Arc::clone(&self.inner));
        let (prefix, offset) = (prefix.cloned().unwrap_or_default(), offset.cloned());
        let answer = async move {
            let (request, well) = gate.ask(client, Op::List, &prefix, None).await;
            if !well {
                return Err(injected(Op::List));
            }
            let mut found: Vec<ObjectMeta> = inner.list(Some(&prefix)).try_collect().await?;
            found.retain(|meta| offset.as_ref().is_none_or(|offset| meta.location > *offset));
            let names: Vec<_> = found.iter().map(|meta| (meta.location.as_ref(), meta.size)).collect();
            gate.told(&request, &names);
            Ok(stream::iter(found.into_iter().map(Ok)))
        };
        answer.into_stream().try_flatten().boxed()
    }
}

impl fmt::Debug for GateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for GateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at a gate before {}", self.client, self.inner)
    }
}

#[async_trait]
impl ObjectStore for GateStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let op = match opts.mode {
            PutMode::Overwrite => Op::Put,
            PutMode::Create => Op::Create,
            PutMode::Update(_) => Op::Replace,
        };
        let content = content(&payload);
        let (request, well) = self.gate.ask(self.client, op, location, Some(content)).await;
        if !well {
            return Err(self.gate.lost(Late { request, put: Some((payload, opts)) }));
        }
        let answer = self.inner.put_opts(location, payload, opts).await;
        if answer.is_ok() {
            self.gate.state().objects.insert(location.to_string(), content);
        }
        self.gate.told(&request, &answer.is_ok());
        answer
    }

    /// What is large enough for this no model is about.
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (request, well) = self.gate.ask(self.client, Op::Get, location, None).await;
        if !well {
            return Err(injected(Op::Get));
        }
        let found = self.gate.state().objects.get(location.as_ref()).copied();
        self.gate.told(&request, &found);
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, gate, client) = (Arc::clone(&self.inner), self.gate.clone(), self.client);
        let delete = move |location: Path| {
            let (inner, gate) = (Arc::clone(&inner), gate.clone());
            async move {
                let (request, well) = gate.ask(client, Op::Delete, &location, None).await;
                if !well {
                    return Err(gate.lost(Late { request, put: None }));
                }
                gate.told(&request, &());
                gate.state().objects.remove(location.as_ref());
                // One that is absent is fine.
                match inner.delete(&location).await {
                    Ok(()) | Err(Error::NotFound { .. }) => Ok(location),
                    Err(error) => Err(error),
                }
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use super::*;
    use crate::testing::Stage;
    use crate::{Bucket, Key};

    const KEYS: [Key; 2] = [Key::Probe(uuid::Uuid::from_u128(1)), Key::Probe(uuid::Uuid::from_u128(2))];

    async fn create(bucket: Bucket, which: usize) {
        // Until it is there; whoever made it.
        while bucket.create(&KEYS[which], &[Bytes::from_static(b"it")], 2).await.is_err() {}
    }

    fn stage() -> Stage {
        let stage = Stage::new();
        stage.spawn("one", |bucket| create(bucket, 0));
        stage.spawn("two", |bucket| create(bucket, 1));
        stage.settle(0);
        stage
    }

    fn act(stage: &Stage, client: &str, lose: bool) {
        let of = |act: &&Act| match act {
            Act::Answer(request) => request.client == client && !lose,
            Act::Lose(request) => request.client == client && lose,
            Act::Arrive { .. } => false,
        };
        let acts = stage.gate().acts(true);
        stage.act(acts.iter().find(of).unwrap());
    }

    #[test]
    fn the_order_in_which_others_went_on_leaves_no_trace() {
        let (forth, back) = (stage(), stage());
        assert_eq!(forth.gate().digest(), back.gate().digest());
        act(&forth, "one", false);
        assert_ne!(forth.gate().digest(), back.gate().digest());
        act(&forth, "two", false);
        act(&back, "two", false);
        act(&back, "one", false);
        assert_eq!(forth.gate().digest(), back.gate().digest());
        assert_eq!(forth.gate().acts(true), [], "both are done");
    }

    #[test]
    fn what_is_lost_may_arrive_when_its_client_has_gone_on() {
        let stage = stage();
        act(&stage, "one", true);
        assert!(stage.gate().objects().is_empty());
        let read = stage.gate().acts(false);
        assert!(
            matches!(&read[0], Act::Answer(request) if request.op == Op::Get),
            "it looks what became of it: {read:?}"
        );
        let late = read.iter().find(|act| matches!(act, Act::Arrive { .. })).unwrap();
        assert!(late.to_string().ends_with("which was lost: arrives"), "{late}");
        stage.act(late);
        assert_eq!(stage.gate().objects().len(), 1);
        act(&stage, "one", false);
        assert!(stage.gate().acts(true).iter().all(|act| act.to_string().starts_with("two")), "it has found its own");
    }
}
