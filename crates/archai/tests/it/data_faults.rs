//! Faults of data sets as people have them, through the whole program: each is an error that names it, or is read.

use std::fs;

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::run::TINY;
use crate::support::{Done, World};

/// Pictures of two classes, 4 of each for training and 2 for the test, and the file of a data set about them.
struct Set {
    world: World,
    /// Keys beside the usual ones.
    keys: &'static str,
    mean: &'static str,
}

impl Set {
    fn new() -> Set {
        let set = Set {
            world: World::new(),
            keys: "",
            mean: "[0.5]",
        };
        for (part, n) in [("train", 4), ("test", 2)] {
            for class in ["a", "b"] {
                (0..n).for_each(|i| set.picture(&format!("{part}/{class}/{i}.png")));
            }
        }
        set
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.world.path("pets").join(name)
    }

    fn picture(&self, name: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let shade = name.bytes().map(u32::from).sum::<u32>() as u8;
        let picture = GrayImage::from_fn(32, 32, |x, y| Luma([shade.wrapping_add((x * y) as u8)]));
        picture.save(path).unwrap();
    }

    fn describe(&self) {
        let (keys, mean) = (self.keys, self.mean);
        let text = format!(
            "dataset: {{format: image_folder, path: pets, n_classes: 2, channels: 1, size: [32, 32], mean: {mean}, std: [0.25], \
             crop_padding: 0{keys}}}\n"
        );
        self.world.write("pets.yaml", &text);
    }

    fn run(&self, more: &[&str]) -> Done {
        self.describe();
        let config = self.world.write("tiny.yaml", TINY);
        let mut args: Vec<&str> =
            "run --algos darts --datasets pets.yaml --smoke --threads 1 --config"
                .split(' ')
                .collect();
        args.push(&config);
        args.extend(more);
        self.world.run(&args)
    }

    /// What the program finds.
    fn look(&self) -> Value {
        self.describe();
        let found = self.world.run(&["data", "inspect", "pets.yaml", "--json"]);
        serde_json::from_str(&found.ok()).unwrap()
    }
}

#[test]
fn faults_of_folders_are_told_before_anything_begins() {
    let check = |spoil: &dyn Fn(&mut Set), says: &[&str]| {
        let mut set = Set::new();
        spoil(&mut set);
        set.run(&[]).fails(2, says);
        assert!(set.world.names("logdir").is_empty(), "{says:?}");
    };
    // Test pictures without folders of classes.
    check(
        &|set| {
            for class in ["a", "b"] {
                let from = set.at(&format!("test/{class}"));
                fs::rename(from.join("0.png"), set.at(&format!("test/{class}0.png"))).unwrap();
                fs::remove_dir_all(from).unwrap();
            }
        },
        &["one folder of images per class of the test data", "a0.png"],
    );
    // A JPEG file that was cut off.
    check(
        &|set| {
            let path = set.at("train/a/0.jpg");
            fs::rename(set.at("train/a/0.png"), &path).unwrap();
            let picture = GrayImage::from_fn(64, 64, |x, y| Luma([(x * y) as u8]));
            picture.save(&path).unwrap();
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        },
        &["train/a/0.jpg"],
    );
    // Statistics of pixels from 0 to 255.
    check(
        &|set| set.mean = "[125.3]",
        &["pixels lie in [0, 1] here, not in 0 to 255"],
    );
    // A class that only one part has, which is named as that part's.
    check(
        &|set| set.picture("train/c/0.png"),
        &["the training data in", "train", "has 3 class folders", "c"],
    );
    check(
        &|set| set.picture("test/c/0.png"),
        &[
            "test",
            "only folders of classes that the training data has too",
            "c",
        ],
    );
}

#[test]
fn pictures_under_unusual_names_are_read() {
    // A JPEG file by another name.
    let set = Set::new();
    let path = set.at("train/a/9.jfif");
    let picture = GrayImage::from_pixel(32, 32, Luma([90]));
    let mut jpeg = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut jpeg, image::ImageFormat::Jpeg)
        .unwrap();
    fs::write(path, jpeg.into_inner()).unwrap();
    assert_eq!(set.look()["train"], 9);
    set.run(&[]).ok();

    // Two folders that a pattern fits.
    let mut set = Set::new();
    fs::rename(set.at("train"), set.at("part1")).unwrap();
    for class in ["a", "b"] {
        (0..4).for_each(|i| set.picture(&format!("part2/{class}/{i}.png")));
    }
    set.keys = ", train: part*";
    assert_eq!(set.look()["train"], 16);
    set.run(&[]).ok();
}

#[test]
fn runs_on_other_data_of_one_name_are_not_counted_together() {
    let set = Set::new();
    set.run(&["--seed", "1", "--exp-prefix", "s1"]).ok();
    set.picture("train/a/9.png");
    set.run(&["--seed", "2", "--exp-prefix", "s2"]).ok();
    let text = set.world.run(&["report", "collate", "logdir"]).ok();
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("pets"));
    assert_eq!(rows.clone().count(), 2, "{text}");
    for row in rows {
        assert!(row.contains("_s1") != row.contains("_s2"), "{row}");
    }
}
