//! What was read is not read again while nothing changes, and is never believed once something does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use archai_data::{Cache, Contents, Split, formats};
use archai_spec::settings::Dataset;
use tempfile::TempDir;

use crate::fixtures::*;

struct World {
    folder: TempDir,
    set: Dataset,
}

impl World {
    /// Pictures of two classes, written an hour ago.
    fn new() -> World {
        let folder = TempDir::new().unwrap();
        let mut set = settings("image_folder", folder.path().join("data"), 2, 1, [4, 4]);
        set.crop_padding = 0;
        let world = World { folder, set };
        for (i, name) in [
            "train/a/0.png",
            "train/a/1.png",
            "train/b/0.png",
            "test/a/0.png",
        ]
        .into_iter()
        .enumerate()
        {
            world.picture(name, i as u8, 3600);
        }
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    /// A picture in one shade, changed so many seconds ago.
    fn picture(&self, name: &str, shade: u8, ago: u64) {
        // As long for every shade.
        write(self.at(name), png(flat_grey(4, 4, shade)));
        set_time(&self.at(name), ago);
    }

    fn cache(&self) -> Cache {
        Cache::at(self.folder.path().join("cache"))
    }

    fn look(&self) -> Contents {
        self.cache()
            .inspect(&formats::builtin(), &self.set, Split::Train)
            .unwrap()
    }

    fn truth(&self) -> Contents {
        archai_data::inspect(&formats::builtin(), &self.set, Split::Train).unwrap()
    }
}

fn set_time(path: &Path, ago: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let time = match ago {
        0 => SystemTime::now(),
        ago => time - Duration::from_secs(ago),
    };
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn the_same_files_are_read_once() {
    let world = World::new();
    let first = world.look();
    assert_eq!(first, world.truth());
    assert_eq!((first.images, &first.per_class[..]), (3, &[2, 1][..]));
    // Nobody can see this change, so that whoever still gives the old digest has not read the file.
    world.picture("train/a/1.png", 77, 3600);
    assert_ne!(world.truth(), first);
    assert_eq!(world.look(), first);
    // Whoever reads it again sees it: another time, another folder of the cache, none.
    world.picture("train/a/1.png", 77, 3599);
    assert_eq!(world.look(), world.truth());
    let none = Cache::none().inspect(&formats::builtin(), &world.set, Split::Train);
    assert_eq!(none.unwrap(), world.truth());
    fs::remove_dir_all(world.folder.path().join("cache")).unwrap();
    assert_eq!(world.look(), world.truth());
}

#[test]
fn whatever_differs_is_read() {
    let world = World::new();
    let check = |what: &str| assert_eq!(world.look(), world.truth(), "{what}");
    check("nothing is kept");
    world.picture("train/b/1.png", 9, 3600);
    check("one more");
    fs::remove_file(world.at("train/a/0.png")).unwrap();
    check("one less");
    fs::rename(world.at("train/a/1.png"), world.at("train/a/2.png")).unwrap();
    check("another name");
    fs::rename(world.at("train/a/2.png"), world.at("train/b/2.png")).unwrap();
    world.picture("train/a/5.png", 5, 3600);
    check("another class");
    // A file of this moment may change again within the same tick of the clock.
    world.picture("train/a/5.png", 6, 0);
    check("new");
    let time = fs::metadata(world.at("train/a/5.png"))
        .unwrap()
        .modified()
        .unwrap();
    world.picture("train/a/5.png", 7, 0);
    File::options()
        .write(true)
        .open(world.at("train/a/5.png"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    check("changed within a moment");
    // Entries that are damaged are none.
    world.picture("train/a/5.png", 8, 3600);
    check("old again");
    for entry in fs::read_dir(world.folder.path().join("cache")).unwrap() {
        fs::write(entry.unwrap().path(), "{").unwrap();
    }
    check("damaged");
}

#[test]
fn pictures_that_differ_are_named() {
    let world = World::new();
    let cache = world.cache();
    let then = world.look().digest;
    world.picture("train/a/0.png", 200, 1800);
    world.picture("train/a/3.png", 3, 1800);
    world.picture("train/b/7.png", 3, 1800);
    fs::remove_file(world.at("train/a/1.png")).unwrap();
    let now = world.look().digest;
    let found = cache.difference(&then, &now).unwrap();
    assert_eq!(
        found.to_string(),
        "2 added (train/a/3.png, train/b/7.png), 1 removed (train/a/1.png), 1 changed (train/a/0.png)"
    );
    assert_eq!(cache.difference(&then, "never seen"), None);
    assert_eq!(Cache::none().difference(&then, &now), None);
}
