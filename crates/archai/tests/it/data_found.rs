//! `archai run --data` and `archai data inspect`, on 300 mixed pictures of which nobody says anything, and the trained model on
//! the same folder.

use std::fs;
use std::path::Path;

use image::{DynamicImage, Rgb, RgbImage};
use serde_json::json;

use crate::support::World;

const CLASSES: [&str; 4] = ["circle", "cross", "square", "stripes"];

/// Settings that make a run take a second.
const QUICK: [&str; 14] = [
    "nas.search.loader.dataset.max_batches=4",
    "nas.search.loader.train_batch=4",
    "nas.search.loader.test_batch=4",
    "nas.search.loader.train_workers=0",
    "nas.search.model_desc.n_cells=3",
    "nas.search.model_desc.cell.n_nodes=1",
    "nas.search.model_desc.model_stems.init_node_ch=2",
    "nas.eval.loader.dataset.max_batches=2",
    "nas.eval.loader.train_batch=4",
    "nas.eval.loader.test_batch=4",
    "nas.eval.loader.train_workers=0",
    "nas.eval.model_desc.n_cells=5",
    "nas.eval.model_desc.model_stems.init_node_ch=2",
    "nas.eval.trainer.epochs=1",
];

/// A picture of a class: a shape in one colour on another.
fn picture(class: usize, n: u32, [width, height]: [u32; 2]) -> DynamicImage {
    let shade = |k: u32| Rgb([0, 1, 2].map(|c: u32| ((n * 37 + k * 83 + c * 61) % 200 + 28) as u8));
    RgbImage::from_fn(width, height, |x, y| {
        let dx = x as f32 / width as f32 - 0.5;
        let dy = y as f32 / height as f32 - 0.5;
        let inside = match class {
            0 => dx * dx + dy * dy < 0.09,
            1 => dx.abs() < 0.08 || dy.abs() < 0.08,
            2 => dx.abs() < 0.28 && dy.abs() < 0.28,
            _ => (x * 8 / width).is_multiple_of(2),
        };
        shade(u32::from(inside))
    })
    .into()
}

/// Says in a JPEG file that it shows turned by 90 degrees.
fn turn(path: &Path) {
    let jpeg = fs::read(path).unwrap();
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    exif.extend([0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let bytes = [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat();
    fs::write(path, bytes).unwrap();
}

/// 300 pictures: all kinds of files, grey, coloured, with transparency, 40 to 500 pixels, some of sixteen bits, one turned.
fn mixed(folder: &Path) {
    for n in 0..300_u32 {
        let class = n as usize % 4;
        let image = picture(class, n, [40 + n * 67 % 461, 40 + n * 113 % 461]);
        let (image, ending) = match n {
            9 => (image.to_rgb16().into(), "png"),
            _ if n % 50 == 21 => (image.to_luma16().into(), "png"),
            _ if n % 11 == 3 => (image, "bmp"),
            _ if n % 13 == 4 => (image, "webp"),
            _ if n % 17 == 5 => (image, "tiff"),
            _ if n % 29 == 6 => (image, "gif"),
            _ if n % 5 == 0 => (image.to_luma8().into(), "png"),
            _ if n % 7 == 0 => {
                let mut clear = image.to_rgba8();
                clear.pixels_mut().for_each(|pixel| pixel.0[3] = 128);
                (DynamicImage::from(clear), "png")
            }
            _ => (image, "jpg"),
        };
        let folder = folder.join(CLASSES[class]);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{n}.{ending}"));
        image.save(&path).unwrap();
        if n == 8 {
            turn(&path);
        }
    }
}

#[test]
fn a_folder_of_mixed_pictures_is_enough() {
    let world = World::new();
    mixed(&world.path("my shapes"));
    let run = |more: &[&str]| {
        let args = [&["run", "--data", "my shapes"], &QUICK[..], more].concat();
        world.run(&args)
    };
    let check = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    };
    let done = run(&[]);
    check(
        &done.err,
        &[
            "my_shapes: 300 images of 4 classes",
            "20 % of each are set apart as test data",
            "circle 75, cross 75, square 75, stripes 75",
            "the network sees 64x64 pixels (the median of the shorter sides is",
            "stem_conv3x3_s2",
            "my_shapes.yaml says so",
        ],
    );
    done.ok();
    let used = "logdir/darts_my_shapes_throwaway_search/config_used.yaml";
    let used = fs::read_to_string(world.path(used)).unwrap();
    check(
        &used,
        &["stem_conv3x3_s2", "test_ratio: 0.2", "resize: crop"],
    );

    // The file runs by itself; what was changed in it stays.
    let file = world.path("logdir/my_shapes.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let again = run(&["--no-eval", "--exp-prefix", "again"]);
    check(&again.err, &["says so already"]);
    again.ok();
    fs::write(&file, text.replace("flip: true", "flip: false")).unwrap();
    run(&[]).fails(2, &["not as it was written, so that it stays"]);
    fs::remove_file(&file).unwrap();
    run(&[
        "--no-eval",
        "--exp-prefix",
        "wide",
        "--dataset.size",
        "[30, 42]",
    ])
    .ok();
    run(&["--datasets", "x.yaml"]).fails(2, &["cannot be used with"]);

    // The inspection alone.
    let seen = world.run(&[
        "data",
        "inspect",
        "my shapes",
        "--json",
        "--sheet",
        "sheet.png",
    ]);
    let seen: serde_json::Value = serde_json::from_str(&seen.ok()).unwrap();
    assert_eq!(seen["train"], 240);
    // As a full run has it.
    assert_eq!(seen["size"], serde_json::json!([128, 128]));
    let circle = serde_json::json!({"name": "circle", "train": 60, "test": 15});
    assert_eq!(seen["classes"][0], circle);
    let sheet = image::open(world.path("sheet.png")).unwrap();
    assert!(sheet.width() > 600 && sheet.height() > 400);
    world
        .run(&[
            "data",
            "preview",
            "my shapes",
            "--pictures",
            "3",
            "--draws",
            "4",
        ])
        .ok();
    assert!(world.path("preview.png").is_file());
    world.run(&["data", "inspect", "fashion_mnist_mini"]).ok();
    // What changes a data set changes what is shown of it.
    let inspect = ["data", "inspect", "my shapes", "--json"];
    let half = world.run(&[&inspect[..], &["--dataset.test_ratio", "0.5"]].concat());
    let half: serde_json::Value = serde_json::from_str(&half.ok()).unwrap();
    assert_eq!((&half["train"], &half["test"]), (&json!(150), &json!(150)));
    let grey = world.run(&[&inspect[..], &["--dataset.channels", "1"]].concat());
    let grey: serde_json::Value = serde_json::from_str(&grey.ok()).unwrap();
    assert_eq!(grey["mean"].as_array().unwrap().len(), 1);
    world
        .run(&[&inspect[..], &["--dataset.path", "elsewhere"]].concat())
        .fails(2, &["dataset.path: is found out by looking at"]);

    // The trained model on the same folder: nothing that it has learnt from is asked for, wherever the two lie.
    let model = "logdir/darts_my_shapes_throwaway_eval/model.safetensors";
    fs::rename(world.path(model), world.path("m.safetensors")).unwrap();
    fs::rename(world.path("my shapes"), world.path("shapes")).unwrap();
    let of_model = |command: &str, more: &[&str]| {
        let args = [command, "--model", "m.safetensors", "--data", "shapes"];
        world.run(&[&args[..], more].concat()).ok()
    };
    let found: serde_json::Value =
        serde_json::from_str(&of_model("evaluate", &["--json"])).unwrap();
    assert_eq!(
        (&found["pictures"], &found["split"]),
        (&json!(60), &json!("test"))
    );
    let text = of_model("predict", &["--format", "csv"]);
    assert_eq!(text.lines().count(), 61, "{text}");
    assert!(text.contains("\nshapes/circle/"), "{text}");
    // With one picture more they are data that the model does not know.
    let (from, to) = ("shapes/circle/0.png", "shapes/circle/more.png");
    fs::copy(world.path(from), world.path(to)).unwrap();
    let found: serde_json::Value =
        serde_json::from_str(&of_model("evaluate", &["--json"])).unwrap();
    assert_eq!(
        (&found["pictures"], &found["split"]),
        (&json!(301), &json!("all"))
    );
}

#[test]
fn mistakes_are_told_before_pictures_are_looked_at() {
    let world = World::new();
    for part in ["train", "test"] {
        for class in ["a", "b"] {
            world.write(&format!("photos/{part}/{class}/1.png"), "no picture");
        }
    }
    let run = |more: &[&str]| world.run(&[&["run", "--data", "photos"], more].concat());
    for (more, says) in [
        (&["--track", "tensorbord"][..], "`tensorbord` is no tracker"),
        (&["--algos", "dart"], "dart"),
        (
            &["--nas.eval.trainer.epoch", "3"],
            "nas.eval.trainer.epochs",
        ),
        (&["--dataset.flipp", "false"], "dataset.flip"),
        (&["--dataset.flip", "3"], "dataset.flip"),
        (&["--space", "nasbench"], "nasbench201"),
        (&["--device", "gpu9"], "gpu9"),
        (&["--table", "none.csv"], "none.csv"),
        (&["--nas.eval.export", "[onxx]"], "onnx"),
        (
            &["--nas.search.finalizer", "maximum"],
            "nas.search.finalizer",
        ),
        (&["--seeds", "1,1"], "twice"),
        (&["--dataset.path", "elsewhere"], "dataset.path"),
    ] {
        let done = run(more);
        assert!(
            !done.err.contains("one that can be read"),
            "{more:?}: {}",
            done.err
        );
        done.fails(2, &[says]);
    }
    // What depends on the data is nobody's mistake before they are known.
    for more in [&["--nas.eval.loader.cutout", "40"][..], &[]] {
        run(more).fails(2, &["one that can be read"]);
    }
    assert!(!world.path("logdir").exists());
}

/// A table whose columns have names of its own: what the error says to do works, on the command line too.
#[test]
fn columns_are_named_on_the_command_line() {
    let world = World::new();
    let mut table = "shot,kind of thing\n".to_string();
    for n in 0..24 {
        let class = n % 3;
        let name = format!("{n}.png");
        picture(class, n as u32, [40, 36])
            .save(world.path(&name))
            .unwrap();
        table += &format!("{name},{}\n", CLASSES[class]);
    }
    let table = world.write("shots.csv", &table);
    (world.run(&["data", "inspect", &table])).fails(2, &["dataset.columns.image"]);
    let columns = [
        "--dataset.columns.image=shot",
        "--dataset.columns.label",
        "kind of thing",
    ];
    let inspected = world.run(&[&["data", "inspect", &table, "--json"][..], &columns].concat());
    let inspected: serde_json::Value = serde_json::from_str(&inspected.ok()).unwrap();
    let names = inspected["classes"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|class| class["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["circle", "cross", "square"]);
    let run = ["run", "--data", &table, "--smoke", "--dry-run"];
    let done = world.run(&[&run[..], &columns].concat());
    assert!(done.ok().contains("shots"));
}
