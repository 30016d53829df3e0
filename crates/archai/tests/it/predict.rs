//! `archai predict` and `archai evaluate`, on a model that tells pictures apart by their brightness, so that its answers are
//! known, and on one that was trained.

use archai::engine::export::testing::{brightness, bytes, write_brightness};
use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;

use crate::support::World;

const NAMES: [&str; 3] = ["night", "dusk", "day"];

/// A home folder with a model for pictures of 8x8 and some pictures.
fn world() -> World {
    let world = World::new();
    write_brightness(&world.path("model.safetensors"), &NAMES, [3, 8, 8]).unwrap();
    std::fs::create_dir(world.path("photos")).unwrap();
    for (name, level) in [("a.png", 0), ("b.png", 127), ("c.jpg", 255)] {
        let image = RgbImage::from_pixel(40, 30, Rgb([level; 3]));
        image.save(world.path("photos").join(name)).unwrap();
    }
    world
}

fn run(world: &World, line: &str) -> crate::support::Done {
    let args: Vec<&str> = line.split_whitespace().collect();
    world.run(&args)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in:\n{text}"))
}

#[test]
fn pictures_are_classified() {
    let world = world();
    // One picture has its classes below each other.
    let text = run(&world, "predict --model model.safetensors photos/b.png").ok();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!((lines.len(), lines[0]), (4, "photos/b.png"), "{text}");
    assert!(lines[1].starts_with("  dusk   100.0 %"), "{text}");

    // Several have a line each.
    let text = run(&world, "predict --model model.safetensors photos").ok();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let expected = [
        ("photos/a.png", "night"),
        ("photos/b.png", "dusk"),
        ("photos/c.jpg", "day"),
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, (picture, class)) in lines.iter().zip(expected) {
        assert_eq!(line[..], [picture, class, "100.0", "%"]);
    }

    let text = run(
        &world,
        "predict --model model.safetensors --format csv --top 2 photos",
    )
    .ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "picture,rank,class,name,probability,error,label");
    assert_eq!(lines.len(), 7, "{text}");
    assert!(
        lines[5].starts_with("photos/c.jpg,1,2,day,0.99")
            || lines[5].starts_with("photos/c.jpg,1,2,day,1")
    );
    assert!(lines[6].starts_with("photos/c.jpg,2,1,dusk,"), "{text}");

    let line =
        "predict --model model.safetensors --format json --batch 1 --threads 1 photos photos/a.png";
    let list = json(&run(&world, line).ok());
    let names = |value: &Value| {
        value["predictions"][0]["name"]
            .as_str()
            .unwrap()
            .to_string()
    };
    let found: Vec<String> = list.as_array().unwrap().iter().map(names).collect();
    assert_eq!(found, ["night", "dusk", "day", "night"]);
}

#[test]
fn what_cannot_be_read_is_named_and_counted() {
    let world = world();
    world.write("photos/d.png", "no picture");
    world.write("photos/readme.txt", "nothing");
    for (format, expected) in [
        ("table", "photos/c.jpg"),
        (
            "csv",
            "photos/d.png,,,,,\"expected a PNG, JPEG, WebP, BMP, GIF or TIFF image, found",
        ),
        (
            "json",
            "{\"picture\":\"photos/d.png\",\"error\":\"expected a PNG, JPEG, WebP, BMP, GIF or TIFF image",
        ),
    ] {
        let done = run(
            &world,
            &format!("predict --model model.safetensors --format {format} photos"),
        );
        assert!(done.out.contains(expected), "{}", done.out);
        if format == "json" {
            assert_eq!(json(&done.out).as_array().unwrap().len(), 4);
        }
        done.fails(
            1,
            &[
                "cannot read `photos/d.png`: expected a PNG, JPEG, WebP, BMP, GIF or TIFF image",
                "1 of 4 pictures could not be read",
                "and are not looked at: 1",
            ],
        );
    }
}

#[test]
fn a_data_set_is_classified_too() {
    let world = World::new();
    let names: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    write_brightness(&world.path("model.safetensors"), &names, [1, 32, 32]).unwrap();
    let text = run(
        &world,
        "predict --model model.safetensors --format csv fashion_mnist_mini",
    )
    .ok();
    assert_eq!(text.lines().count(), 501, "500 pictures");
    assert!(text.contains("\nfashion_mnist_mini:499,1,"), "{text}");
    // What each picture is said to show stands beside what the network sees in it.
    let class = |name: &str| text.lines().filter(|line| line.ends_with(name)).count();
    assert_eq!((class(",Bag"), class(",Sneaker")), (50, 50), "{text}");
    let line = "predict --model model.safetensors --json fashion_mnist_mini";
    let list = json(&run(&world, line).ok());
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .all(|v| v["label"].is_string())
    );
    let table = run(
        &world,
        "predict --model model.safetensors fashion_mnist_mini",
    )
    .ok();
    assert!(table.contains("  (labelled Bag)"), "{table}");
}

#[test]
fn a_tower_that_the_file_lacks_is_not_left_out_in_silence() {
    let world = world();
    let line = "export model.safetensors --to pytorch --training --out out";
    let done = run(&world, line);
    assert!(
        done.err.contains("holds no auxiliary tower"),
        "{}",
        done.err
    );
    done.ok();
    assert!(world.path("out/model.py").is_file());
}

#[cfg(unix)]
#[test]
fn latency_is_measured_by_a_python_or_the_reason_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let world = world();
    let python = |name: &str, script: &str| {
        let path = world.write(name, script);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, executable).unwrap();
        path
    };
    let export = |python: &str, more: &str| {
        let line = format!("export model.safetensors --to onnx --out out --latency-with {python}");
        run(&world, &format!("{line}{more}"))
    };

    // A Python that lacks something is refused before a file is written.
    for (python, reason) in [
        ("no/such/python".to_string(), "cannot be started"),
        (
            python(
                "bare",
                "#!/bin/sh\necho 'No module named numpy' >&2\nexit 1\n",
            ),
            "No module named numpy",
        ),
        (
            python("mute", "#!/bin/sh\nexit 0\n"),
            "what it prints is no measurement",
        ),
    ] {
        let done = export(&python, "");
        assert_eq!(done.code, Some(2), "{}", done.err);
        let err = done.err.replace("\n  ", " ");
        assert!(err.contains(reason), "{err}");
        assert!(err.contains("pip install onnxruntime numpy"), "{err}");
        assert!(!world.path("out").exists());
    }
    let done = run(
        &world,
        "export model.safetensors --to rust --out out --latency-with python3",
    );
    assert_eq!(done.code, Some(2), "{}", done.err);

    // Its numbers stand in text and JSON. CI has the real one.
    let fake = python(
        "fake",
        "#!/bin/sh\n[ $# = 3 ] && { echo '{\"version\": \"9.9\", \"files\": []}'; exit; }\ntest -f \"$4\" || exit 1\n\
         echo '{\"version\": \"9.9\", \"files\": [[{\"batch\": 1, \"median_ms\": 1.5}, {\"batch\": 32, \"median_ms\": 40}]]}'\n",
    );
    let done = export(&fake, "");
    assert!(done.out.contains("onnxruntime 9.9"), "{}", done.out);
    let line = "model.onnx  1.50 ms for 1 picture, 40.00 ms for 32 pictures";
    assert!(done.out.contains(line), "{}", done.out);
    done.ok();
    let done = export(&fake, " --json");
    let value: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        value["onnxruntime"]["files"][0]["batches"][1]["median_ms"],
        40.0
    );
    done.ok();
}

#[test]
fn mistakes_are_told_before_anything_is_printed() {
    let world = world();
    std::fs::create_dir(world.path("empty")).unwrap();
    world.write("weights/model.safetensors", "not a model at all");
    world.write("names.txt", "one\ntwo\n");
    let whole = std::fs::read(world.path("model.safetensors")).unwrap();
    std::fs::write(world.path("half.safetensors"), &whole[..whole.len() / 2]).unwrap();
    for (line, code, expected) in [
        (
            "predict --model nowhere photos",
            2,
            vec!["`nowhere`", "check the path"],
        ),
        (
            "predict --model photos photos",
            2,
            vec!["`photos`", "no `model.safetensors`"],
        ),
        (
            "predict --model weights photos",
            2,
            vec![
                "weights/model.safetensors",
                "a text",
                "expected a model file",
            ],
        ),
        (
            "predict --model half.safetensors photos",
            2,
            vec!["half.safetensors", "not a whole safetensors file"],
        ),
        (
            "predict --model model.safetensors --best photos",
            2,
            vec!["it is a file"],
        ),
        (
            "predict --model model.safetensors photos nowhere.png",
            2,
            vec!["nowhere.png"],
        ),
        (
            "predict --model model.safetensors empty",
            2,
            vec!["'empty'", "pictures, there", "no file"],
        ),
        (
            "predict --model model.safetensors nowhere.yaml",
            2,
            vec!["nowhere.yaml"],
        ),
        ("predict --model model.safetensors", 2, vec!["<PICTURES>"]),
        ("predict photos", 2, vec!["--model"]),
        (
            "predict --model model.safetensors --top 0 photos",
            2,
            vec!["--top"],
        ),
        (
            "predict --model model.safetensors --classes names.txt photos",
            2,
            vec!["names.txt", "2 names for 3 classes"],
        ),
        (
            "predict --model model.safetensors --dataset.path x photos",
            2,
            vec!["--dataset.path", "data sets alone"],
        ),
        (
            "evaluate --model model.safetensors",
            2,
            vec!["does not say on which data", "--datasets"],
        ),
        (
            "evaluate --model model.safetensors --datasets mnst",
            2,
            vec!["no data set `mnst`", "did you mean `mnist`?"],
        ),
        (
            "evaluate --model model.safetensors --datasets mnist --nas.eval.trainer.epochs 3",
            2,
            vec!["no meaning here"],
        ),
        (
            "evaluate --model model.safetensors --split none",
            2,
            vec!["--latency"],
        ),
        (
            "evaluate --model model.safetensors --datasets fashion_mnist_mini",
            2,
            vec!["pictures of 3x8x8", "as 1x32x32", "dataset.size to [8, 8]"],
        ),
        (
            "evaluate --model model.safetensors --datasets fashion_mnist_mini --dataset.channels 3 --dataset.size [8,8] \
             --dataset.mean [0.5,0.5,0.5] --dataset.std [0.5,0.5,0.5]",
            2,
            vec![
                "3 classes: night, dusk, day",
                "10 classes: T-shirt/top, Trouser",
                "only the model has: night, dusk, day",
            ],
        ),
    ] {
        let done = run(&world, line);
        assert_eq!(done.out, "", "{line}");
        done.fails(code, &expected);
    }
}

/// A folder of pictures of three classes, some of them in the folder of another one.
fn hours(world: &World) -> String {
    for (folder, levels) in [
        ("day", [255, 250, 0]),
        ("dusk", [127, 120, 130]),
        ("night", [0, 10, 20]),
    ] {
        for split in ["train", "test"] {
            let dir = world.path(&format!("hours/{split}/{folder}"));
            std::fs::create_dir_all(&dir).unwrap();
            for (i, level) in levels.into_iter().enumerate() {
                GrayImage::from_pixel(12, 12, Luma([level]))
                    .save(dir.join(format!("{i}.png")))
                    .unwrap();
            }
        }
    }
    let place = world.path("hours");
    world.write(
        "hours.yaml",
        &format!(
            "dataset: {{name: hours, format: image_folder, path: {}, n_classes: 3, channels: 3, size: [8, 8], mean: [0.1, 0.1, \
             0.1], std: [0.2, 0.2, 0.2]}}\n",
            place.display()
        ),
    )
}

#[test]
fn accuracy_is_measured_by_the_names_of_classes() {
    let world = world();
    hours(&world);
    // Folders are in the order of their names, classes of the model are not.
    let text = run(
        &world,
        "evaluate --model model.safetensors --datasets hours.yaml",
    )
    .ok();
    for expected in [
        "hours (test data): 8 of 9 pictures are right",
        "day",
        "night (1)",
        "1 dusk",
    ] {
        assert!(
            text.contains(expected),
            "{expected:?} is missing in:\n{text}"
        );
    }
    let text = run(
        &world,
        "evaluate --model model.safetensors --datasets hours.yaml --format csv",
    )
    .ok();
    assert_eq!(
        text,
        "class,pictures,accuracy,night,dusk,day\nnight,3,1,3,0,0\ndusk,3,1,0,3,0\nday,3,0.6666666666666666,1,0,2\n"
    );
    let line = "evaluate --model model.safetensors --datasets hours.yaml --format json --latency --batch 2 --split train --threads 1";
    let value = json(&run(&world, line).ok());
    assert_eq!(value["pictures"], 9);
    assert_eq!(value["correct"], 8);
    assert_eq!(value["classes"][2]["correct"], 2);
    assert_eq!(value["threads"], 1);
    for (i, batch) in [1, 2].into_iter().enumerate() {
        let latency = &value["latency"][i];
        assert_eq!(latency["batch"], batch);
        let [median, p90] = ["median_ms", "p90_ms"].map(|key| latency[key].as_f64().unwrap());
        assert!(0.0 < median && median <= p90, "{latency}");
    }
    let text = run(
        &world,
        "evaluate --model model.safetensors --split none --latency",
    )
    .ok();
    assert!(
        text.contains("images/s") && !text.contains("accuracy"),
        "{text}"
    );
}

#[test]
fn labelled_pictures_need_no_description() {
    let world = world();
    hours(&world);
    let text = run(&world, "evaluate --model model.safetensors --data hours").ok();
    assert!(
        text.contains("hours (test data): 8 of 9 pictures are right"),
        "{text}"
    );
    // Where nothing says which are for the test, all are, unless a share is asked for.
    let line = "evaluate --model model.safetensors --data hours/train";
    let text = run(&world, line).ok();
    assert!(
        text.contains("train (all data): 8 of 9 pictures are right"),
        "{text}"
    );
    let text = run(&world, &format!("{line} --dataset.test_ratio 0.34")).ok();
    assert!(
        text.contains("train (test data): ") && text.contains(" of 4 "),
        "{text}"
    );
    let text = run(
        &world,
        "predict --model model.safetensors --data hours/train",
    )
    .ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 9, "{text}");
    let wrong: Vec<&&str> = lines.iter().filter(|l| l.contains("(labelled ")).collect();
    assert_eq!(wrong.len(), 1, "{text}");
    assert!(
        wrong[0].starts_with("hours/train/day/2.png ") && wrong[0].contains("labelled day"),
        "{text}"
    );
    // Beside pictures of which nobody says what they show.
    let line = "predict --model model.safetensors photos --data hours --format csv";
    assert_eq!(run(&world, line).ok().lines().count(), 1 + 3 + 9);

    for (line, expected) in [
        (
            "evaluate --model model.safetensors --data hours --datasets hours.yaml",
            "cannot be used with",
        ),
        (
            "evaluate --model model.safetensors --data nothing",
            "nothing",
        ),
        (
            "evaluate --model model.safetensors --data hours --dataset.path photos",
            "dataset.path",
        ),
        (
            "evaluate --model model.safetensors --data hours --dataset.flipp true",
            "dataset.flip",
        ),
        ("predict --model model.safetensors", "<PICTURES>"),
    ] {
        run(&world, line).fails(2, &[expected]);
    }
    let from = world.path("hours/train/night");
    std::fs::rename(from, world.path("hours/train/noon")).unwrap();
    run(
        &world,
        "evaluate --model model.safetensors --data hours/train",
    )
    .fails(
        2,
        &["only the model has: night", "only the data have: noon"],
    );
}

#[test]
fn a_model_without_names_says_so() {
    let world = world();
    hours(&world);
    let mut unnamed = brightness(&NAMES, [3, 8, 8]);
    unnamed.info.class_names.clear();
    std::fs::write(world.path("unnamed.safetensors"), bytes(&unnamed).unwrap()).unwrap();
    let text = run(
        &world,
        "evaluate --model unnamed.safetensors --datasets hours.yaml",
    )
    .ok();
    // By number, day and night are mistaken for each other.
    assert!(
        text.contains("4 of 9 pictures are right") && text.contains("by their numbers"),
        "{text}"
    );
    world.write("names.txt", "night\ndusk\nday\n");
    let line = "evaluate --model unnamed.safetensors --classes names.txt --datasets hours.yaml";
    let text = run(&world, line).ok();
    assert!(
        text.contains("8 of 9 pictures are right") && !text.contains("by their numbers"),
        "{text}"
    );
}

#[test]
fn a_trained_model_is_as_good_as_its_run_says() {
    let world = World::new();
    let few = "nas.search.loader.dataset.max_batches=4 nas.search.loader.train_batch=4 nas.search.model_desc.n_cells=3 \
        nas.search.model_desc.n_reductions=1 nas.search.model_desc.cell.n_nodes=1 \
        nas.search.model_desc.model_stems.init_node_ch=2 nas.eval.loader.train_batch=8 \
        nas.eval.loader.dataset.max_batches=20 nas.eval.model_desc.n_cells=3 nas.eval.model_desc.n_reductions=1 \
        nas.eval.model_desc.aux_weight=0 nas.eval.model_desc.model_stems.init_node_ch=2 nas.eval.trainer.epochs=1 \
        nas.eval.loader.test_batch=25";
    run(&world, &format!("run --algos didarts --threads 2 {few}")).ok();
    let dir = "logdir/didarts_fashion_mnist_mini_throwaway_eval";
    let result = std::fs::read_to_string(world.path(dir).join("result.json")).unwrap();
    let result = json(&result);
    // All 500 test pictures fit into 20 batches of 25, so that the run measured on the same ones.
    let trained = result["figures"]["test_top1"].as_f64().unwrap();
    let value = json(&run(&world, &format!("evaluate --model {dir} --format json")).ok());
    assert_eq!(value["pictures"], 500);
    let measured = value["top1"].as_f64().unwrap();
    // The arithmetic differs in the last bits, which may decide a picture.
    assert!(
        (measured - trained).abs() <= 2.0 / 500.0,
        "{measured} {trained}"
    );
    let provenance = &value["provenance"];
    assert_eq!(provenance["algorithm"], "didarts");
    assert_eq!(provenance["dataset"], "fashion_mnist_mini");
    assert_eq!(provenance["settings"], result["digest"]);
    assert_eq!(
        provenance["data"]["train"],
        result["data"]["train"]["digest"]
    );
    assert_eq!(provenance["accuracy"]["test_top1"].as_f64(), Some(trained));
    assert_eq!(provenance["epochs"], 1);
    assert!(
        provenance["program"]
            .as_str()
            .unwrap()
            .starts_with("archai ")
    );
    // The file alone, anywhere, is the same model.
    std::fs::copy(
        world.path(dir).join("model.safetensors"),
        world.path("m.safetensors"),
    )
    .unwrap();
    let alone = json(
        &run(
            &world,
            "evaluate --model m.safetensors --format json --threads 1",
        )
        .ok(),
    );
    assert_eq!(alone, value);
}
