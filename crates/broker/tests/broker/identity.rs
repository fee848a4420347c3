//! Which disk and which bucket belong together: four ways for them not to, and an old image of the disk.

use std::path::Path;
use std::sync::Arc;

use runnel_api::ErrorKind;
use runnel_blob::Bucket;
use runnel_runtime::FailPoints;
use runnel_runtime::disk::{Disk, SimDisk, StdDisk};

use crate::support::{Node, World, batch, eventually, tp, values};

fn refusal(world: &World) -> String {
    world.try_start().err().expect("the start was not refused").to_string()
}

/// A world whose broker has shipped and unshipped records, stopped by a kill.
fn used() -> World {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 100)));
    world.age();
    node.wait_shipped("t", 0, 3);
    node.append("t", 0, batch(&values("b", 3, 100)));
    world.kill(node);
    world
}

fn check(node: &Node) {
    let expected: Vec<_> = values("a", 3, 100).into_iter().chain(values("b", 3, 100)).collect();
    assert_eq!(node.read_values("t", 0), expected);
}

fn other_bucket(world: &mut World) -> Bucket {
    let empty = Bucket::open(&world.options.storage, FailPoints::default()).unwrap();
    std::mem::replace(&mut world.bucket, empty)
}

#[test]
fn another_storage_url_is_refused() {
    let mut world = used();
    let url = std::mem::replace(&mut world.options.storage.url, "s3://other/prefix".to_owned());
    let why = refusal(&world);
    assert!(why.contains(&url) && why.contains("s3://other/prefix"), "{why}");
    world.options.storage.url = url;
    check(&world.start());
}

#[test]
fn a_data_directory_that_lost_its_identity_is_refused() {
    let world = used();
    let identity = world.options.data_dir.join("identity");
    let bytes = world.disk.read(&identity, 1 << 16).unwrap();
    world.disk.remove(&identity).unwrap();
    let why = refusal(&world);
    assert!(why.contains("already belongs to cluster"), "{why}");
    // Nothing was changed: with the file back it starts.
    world.disk.write_atomic(&identity, &bytes).unwrap();
    check(&world.start());
}

#[test]
fn a_damaged_identity_is_refused() {
    let world = used();
    let identity = world.options.data_dir.join("identity");
    world.disk.flip_bit(&identity, 20, 3).unwrap();
    assert!(refusal(&world).contains("identity"), "{}", refusal(&world));
    world.disk.flip_bit(&identity, 20, 3).unwrap();
    check(&world.start());
}

#[test]
fn a_bucket_that_is_empty_now_is_refused() {
    let mut world = used();
    let full = other_bucket(&mut world);
    let why = refusal(&world);
    assert!(why.contains("the bucket is empty"), "{why}");
    world.bucket = full;
    check(&world.start());
}

#[test]
fn the_bucket_of_another_cluster_is_refused() {
    let mut world = used();
    let other = used();
    let own = std::mem::replace(&mut world.bucket, other.bucket.clone());
    let why = refusal(&world);
    assert!(why.contains("this data directory to cluster"), "{why}");
    world.bucket = own;
    check(&world.start());
    check(&other.start());
}

#[test]
fn a_wrong_bucket_behind_an_outage_is_found_out() {
    let mut world = used();
    let other = used();
    world.bucket = other.bucket.clone();
    other.faults.outage(true);
    let node = world.start();
    node.append("t", 0, batch(&["during the outage"]));
    other.faults.outage(false);
    let why = node.run(node.broker().failed()).to_string();
    assert!(why.contains("belongs to cluster"), "{why}");
    assert_eq!(node.produce("t", 0, batch(&["more"])).unwrap_err().kind, ErrorKind::ShuttingDown);
    assert!(!node.health("bucket").0);
    world.kill(node);
    let node = other.start();
    check(&node);
    node.stop();
}

#[test]
fn a_second_data_directory_on_one_bucket_is_refused() {
    let world = used();
    let mut second = World::new();
    second.bucket = world.bucket.clone();
    let why = refusal(&second);
    assert!(why.contains("two data directories never share"), "{why}");
    check(&world.start());
}

#[test]
fn a_second_broker_on_one_data_directory_is_refused() {
    let world = World::new();
    let node = world.start();
    let why = refusal(&world);
    assert!(why.contains("another broker is using this data directory"), "{why}");
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["a"]));
    node.stop();
    world.start().stop();
}

#[test]
fn a_folder_is_locked_by_the_broker_that_uses_it() {
    let mut world = World::new();
    let mut second = World::new();
    for world in [&mut world, &mut second] {
        world.options.storage.url = format!("file://{}", second_path(world));
    }
    second.options.storage.url.clone_from(&world.options.storage.url);
    let open = |world: &World| Bucket::open(&world.options.storage, FailPoints::default()).unwrap();
    (world.bucket, second.bucket) = (open(&world), open(&second));
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 100)));
    let why = refusal(&second);
    assert!(why.contains("in use") || why.contains("lock") || why.contains("another"), "{why}");
    assert_eq!(node.stop().unshipped_partitions, 0);
    let node = world.start();
    assert_eq!(node.read_values("t", 0), values("a", 3, 100));
    node.stop();
}

fn second_path(world: &World) -> String {
    world.path("bucket").display().to_string()
}

#[test]
fn metadata_and_log_lost_together_are_refused() {
    let world = used();
    let bare = SimDisk::new(1);
    bare.create_dir(&world.options.data_dir).unwrap();
    let identity = world.options.data_dir.join("identity");
    bare.write_atomic(&identity, &world.disk.read(&identity, 1 << 16).unwrap()).unwrap();
    world.lose_metadata();
    let why = world.try_start_on(Arc::new(bare)).err().unwrap().to_string();
    assert!(why.contains("the bucket is full"), "{why}");
}

#[test]
fn a_lost_metadata_store_needs_the_bucket() {
    let world = used();
    world.lose_metadata();
    world.faults.outage(true);
    let why = refusal(&world);
    assert!(why.contains("does not answer"), "{why}");
    world.faults.outage(false);
    check(&world.start());
}

/// The rebuild is cut off by an outage after the bucket was claimed and before the topics were read.
#[test]
fn a_rebuild_that_is_cut_off_loses_nothing() {
    use runnel_blob::testing::{Fault, Op};
    let mut world = used();
    world.lose_metadata();
    world.faults.always(Op::List, "meta/", Fault::FailBefore);
    refusal(&world);
    world.faults.outage(true);
    let node = world.start();
    world.faults.outage(false);
    // It answers, and goes away again before the topics are known.
    eventually("a look at the topics", || {
        let looks = world.faults.requests();
        (looks.iter().filter(|(op, path)| *op == Op::List && path.starts_with("meta/")).count() > 3).then_some(())
    });
    world.faults.clear();
    node.wait_agreed();
    check(&node);
    world.kill(node);
    check(&world.start());
}

/// A world on a real folder, so that its data directory can be copied.
struct Folder {
    world: World,
}

impl Folder {
    fn new() -> Self {
        let world = World::new();
        std::fs::create_dir_all(&world.options.data_dir).unwrap();
        Self { world }
    }

    fn start(&self) -> Node {
        self.world.try_start_on(Arc::new(StdDisk)).unwrap()
    }

    fn save(&self) {
        copy(&self.world.options.data_dir, &self.world.path("image"));
    }

    /// The old image replaces the disk.
    fn restore(&self) {
        std::fs::remove_dir_all(&self.world.options.data_dir).unwrap();
        copy(&self.world.path("image"), &self.world.options.data_dir);
    }

    /// Ships three records, takes an image, ships three more.
    fn outdated() -> Self {
        let folder = Self::new();
        let node = folder.start();
        node.create("t", 1, &[]);
        node.append("t", 0, batch(&values("a", 3, 100)));
        node.stop();
        folder.save();
        let node = folder.start();
        node.append("t", 0, batch(&values("b", 3, 100)));
        node.stop();
        folder.restore();
        folder
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_copy_of_the_current_disk_is_as_good_as_the_disk() {
    let folder = Folder::new();
    let node = folder.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 100)));
    node.stop();
    folder.save();
    folder.restore();
    let node = folder.start();
    assert_eq!(node.append("t", 0, batch(&values("b", 3, 100))), 3);
    check(&node);
    node.stop();
}

#[test]
fn an_old_image_of_the_disk_is_refused() {
    let folder = Folder::outdated();
    let before = folder.world.bucket.clone();
    let node = folder.start();
    for _ in 0..2 {
        assert_eq!(node.produce("t", 0, batch(&["x"])).unwrap_err().kind, ErrorKind::Corrupt);
        assert_eq!(node.fetch_at("t", 0, 0).unwrap_err().kind, ErrorKind::Corrupt);
    }
    let id = node.topic_id("t").unwrap();
    let (root, _) = folder.world.root(&node, "t", tp(id, 0));
    assert_eq!(root.end.0, 6, "the bucket is as it was");
    drop(before);
    node.stop();
}

/// What an old image serves while the bucket is down is void once the bucket answers (local-restart.md, rule 12).
#[test]
fn an_old_image_behind_an_outage_closes_when_the_bucket_answers() {
    let folder = Folder::outdated();
    folder.world.faults.outage(true);
    let node = folder.start();
    assert_eq!(node.append("t", 0, batch(&["void"])), 3);
    folder.world.faults.outage(false);
    node.wait_agreed();
    let refused = |outcome: Result<(), runnel_api::Error>| {
        outcome.err().and_then(|error| (error.kind == ErrorKind::Corrupt).then_some(error.message))
    };
    let message = eventually("the refusal of writes", || refused(node.produce("t", 0, batch(&["x"])).map(|_| ())));
    assert!(message.contains("disk"), "{message}");
    eventually("the refusal of reads", || refused(node.fetch_at("t", 0, 0).map(|_| ())));
    let id = node.topic_id("t").unwrap();
    let (root, _) = folder.world.root(&node, "t", tp(id, 0));
    assert_eq!(root.end.0, 6, "the bucket is as it was");
    node.stop();
}

/// A copy of the data directory that is started while the original runs: the one that ships later is fenced.
#[test]
fn two_copies_of_a_disk_at_once_are_fenced_by_the_root() {
    let original = Folder::new();
    let node = original.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 100)));
    original.world.age();
    node.wait_shipped("t", 0, 3);
    original.save();
    let mut copied = World::new();
    copied.bucket = original.world.bucket.clone();
    copied.options.data_dir = original.world.path("image");
    let copy = copied.try_start_on(Arc::new(StdDisk)).unwrap();
    assert_eq!(copy.append("t", 0, batch(&values("b", 3, 100))), 3);
    copied.age();
    copy.wait_shipped("t", 0, 6);

    assert_eq!(node.append("t", 0, batch(&values("void", 3, 100))), 3);
    original.world.age();
    let why = node.run(node.broker().failed()).to_string();
    assert!(why.contains("epoch") || why.contains("leader"), "{why}");
    assert_eq!(node.produce("t", 0, batch(&["x"])).unwrap_err().kind, ErrorKind::ShuttingDown);
    node.stop();
    check(&copy);
    copy.stop();
}
