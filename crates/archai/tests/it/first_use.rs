//! What a new user types, and runs into: relative paths, names of data sets, arguments without their options, folders in place of
//! files, and the exit status of each.

use std::path::Path;

use crate::run::TINY;
use crate::support::World;

/// A data set of small pictures: `n` of each class in both parts.
fn pictures(world: &World, folder: &str, classes: &[&str], n: u8) {
    for part in ["train", "test"] {
        for class in classes {
            let folder = world.path(&format!("{folder}/{part}/{class}"));
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..n {
                let picture = image::GrayImage::from_pixel(20, 30, image::Luma([40 * i]));
                picture.save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
}

/// What a data-set file says of pictures of two classes.
fn section(path: &str) -> String {
    format!(
        "dataset:\n  format: image_folder\n  path: {path}\n  n_classes: 2\n  channels: 1\n  size: [32, 32]\n  mean: [0.5]\n  std: \
         [0.25]\n"
    )
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_relative_path_in_a_file_starts_at_the_file() {
    let world = World::new();
    pictures(&world, "pets/pics", &["cat", "dog"], 6);
    // Of the same name, where the command is given: three classes, so that taking it would be an error.
    pictures(&world, "pics", &["x", "y", "z"], 1);
    world.write("pets/pets.yaml", &section("./pics"));
    world.write("tiny.yaml", TINY);
    let own = world.path("pets/pics").canonicalize().unwrap();
    let other = world.path("pics").canonicalize().unwrap();
    let show = |more: &[&str]| {
        let mut args = vec!["config", "show", "darts", "--origins"];
        args.extend(more);
        world.run(&args).ok()
    };
    let shown = show(&["--datasets", "pets/pets.yaml"]);
    let line = format!("  path: {}  # pets/pets.yaml:3:3\n", own.display());
    assert_eq!(shown.matches(&line).count(), 6, "{line} in:\n{shown}");
    // A file of settings, and one that is included, are files, too.
    let shown = show(&["--config", "pets/pets.yaml"]);
    assert!(shown.contains(&line), "{shown}");
    world.write("outer.yaml", "__include__: pets/pets.yaml\n");
    let shown = show(&["--datasets", "outer.yaml"]);
    assert!(shown.contains(&line), "{shown}");
    // On the command line it starts where the command is given.
    let shown = show(&["--datasets", "pets/pets.yaml", "--dataset.path", "pics"]);
    let line = format!("  path: {}  # `--dataset.path pics`\n", other.display());
    assert!(shown.contains(&line), "{shown}");
    // Embedded data have a name, and variables stay.
    assert!(show(&[]).contains("  path: fashion_mnist_mini  #"));
    assert!(show(&["--datasets", "mnist"]).contains("  path: $dataroot/mnist  #"));

    let run = "run --smoke --config tiny.yaml --threads 1 --no-eval --datasets pets/pets.yaml";
    let run: Vec<&str> = run.split(' ').collect();
    world.run(&run).ok();
    let dir = world.path("logdir/darts_pets_throwaway_search");
    let used = read(&dir.join("config_used.yaml"));
    assert!(used.contains(&format!("path: {}", own.display())), "{used}");
    // So the run can be repeated from anywhere.
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    let dir = dir.to_str().unwrap();
    let mut verify = world.command(&["verify", "--threads", "1", dir]);
    let done = verify.current_dir(world.path("elsewhere")).output();
    let done = crate::support::Done::new(done.unwrap());
    done.ok();

    // Whoever meant the folder of the command is told both places.
    std::fs::rename(world.path("pets/pics"), world.path("pets/moved")).unwrap();
    let both = [
        "pets/pets.yaml:3:3: dataset.path: a relative path in a file starts at the folder of that file",
        &format!("`{}`, which is not there", own.display()),
        &format!("there is `{}`", other.display()),
    ];
    world.run(&run).fails(2, &both);
    std::fs::remove_dir_all(world.path("pics")).unwrap();
    let place = format!("in '{}'", own.display());
    world.run(&run).fails(2, &["was not found", &place]);
}

/// Programs before this one kept relative paths in `config_used.yaml`, seen from where the run was started.
#[test]
fn older_runs_with_relative_paths_are_verified() {
    let world = World::new();
    pictures(&world, "pics", &["cat", "dog"], 6);
    world.write("pets.yaml", &section("pics"));
    world.write("tiny.yaml", TINY);
    let run = "run --smoke --config tiny.yaml --threads 1 --no-eval --datasets pets.yaml";
    world.run(&run.split(' ').collect::<Vec<_>>()).ok();
    let dir = "logdir/darts_pets_throwaway_search";
    let used = world.path(dir).join("config_used.yaml");
    let own = world.path("pics").canonicalize().unwrap();
    let text = read(&used);
    let older = text.replace(&format!("path: {}", own.display()), "path: pics");
    assert_ne!(text, older);
    std::fs::write(&used, older).unwrap();
    world.run(&["verify", "--threads", "1", dir]).ok();
}

#[test]
fn a_run_is_named_after_the_data_that_it_uses() {
    let world = World::new();
    let name = |more: &[&str]| {
        let mut args = vec!["config", "show", "darts", "--origins"];
        args.extend(more);
        let shown = world.run(&args).ok();
        let section = shown.split("\ndataset:\n").nth(1).unwrap();
        let line = section.lines().find(|l| l.starts_with("  name: "));
        line.unwrap().trim().to_string()
    };
    world.write("pets.yaml", &section("pics"));
    let named = section("pics").replace("dataset:", "dataset:\n  name: mine");
    world.write("named.yaml", &named);
    world.write("where.yaml", "dataset:\n  path: /data/somewhere\n");
    let whose = "name: pets  # the name of pets.yaml, which describes the data";
    assert_eq!(name(&["--config", "pets.yaml"]), whose);
    assert_eq!(name(&["--full", "--config", "pets.yaml"]), whose);
    assert_eq!(
        name(&["--config", "named.yaml"]),
        "name: mine  # named.yaml:2:3"
    );
    assert_eq!(
        name(&["--datasets", "named.yaml", "--config", "pets.yaml"]),
        "name: mine  # named.yaml:2:3"
    );
    // Where data lie is no other data.
    let shown = name(&["--datasets", "mnist", "--config", "where.yaml"]);
    assert!(shown.starts_with("name: mnist  #"), "{shown}");
    let shown = name(&["--datasets", "mnist", "--dataset.path", "/data/x"]);
    assert!(shown.starts_with("name: mnist  #"), "{shown}");
    let single = [
        "--dataset.format",
        "image_folder",
        "--dataset.path",
        "some/birds",
    ];
    assert_eq!(
        name(&single),
        "name: birds  # the name of the folder of the data"
    );

    pictures(&world, "pics", &["cat", "dog"], 6);
    world.write("tiny.yaml", TINY);
    let run = "run --smoke --config tiny.yaml,pets.yaml --threads 1 --no-eval";
    let run: Vec<&str> = run.split(' ').collect();
    let table = world.run(&run).ok();
    assert!(table.contains("darts on pets"), "{table}");
    assert_eq!(world.names("logdir"), ["darts_pets_throwaway_search"]);

    // A run that is complete says so, as loud as it is told, and to programs.
    let dir = "logdir/darts_pets_throwaway_search";
    let done = world.run(&["resume", "--json", "-q", "--threads", "2", dir]);
    assert!(done.err.contains("is complete"), "{}", done.err);
    let json: serde_json::Value = serde_json::from_str(&done.ok()).unwrap();
    assert_eq!(json["error"], serde_json::Value::Null);

    // Its folder stands for the network that it found.
    let file = format!("{dir}/final_model_desc.yaml");
    let of_file = world.run(&["desc", "show", &file]).ok();
    assert_eq!(world.run(&["desc", "show", dir]).ok(), of_file);
    for command in ["check", "lower", "genotype", "scale"] {
        world.run(&["desc", command, dir]).ok();
    }
    let drawn = world.run(&["desc", "draw", dir]).ok();
    assert!(drawn.starts_with(&file.replace(".yaml", ".svg")), "{drawn}");
    let expect = [
        "is a folder and no model description; name what to train: `logdir/darts_pets",
        "final_model_desc.yaml` (the found one",
    ];
    world.run(&["train", dir]).fails(2, &expect);
}

#[test]
fn what_cannot_be_done_as_it_is_asked_for_has_one_status() {
    let world = World::new();
    pictures(&world, "pics", &["cat", "dog"], 4);
    world.write("pets.yaml", &section("pics"));
    world.write("nowhere.yaml", &section("not/there"));
    world.write("text.yaml", "to be or not to be");
    world.write("class.yaml", &section("pics/train/cat"));
    std::fs::write(world.path("bytes.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    let place = |name: &str| world.path(name).canonicalize().unwrap();
    let top = format!("set dataset.path to '{}'", place("pics").display());
    for (line, expect) in [
        (
            "run --datasets nowhere.yaml",
            vec!["was not found", "not/there'"],
        ),
        (
            "run --datasets pets.yaml --dataset.n_classes 3",
            vec!["dataset.n_classes: is 3", "2 class folders: cat, dog"],
        ),
        ("run --datasets class.yaml", vec!["was not found", &top]),
        (
            "run --datasets pets.yaml --dataset.path pics/train",
            vec!["was not found", &top],
        ),
        ("run --datasets text.yaml", vec!["text.yaml"]),
        ("run --datasets bytes.yaml", vec!["bytes.yaml"]),
        ("desc show text.yaml", vec!["text.yaml"]),
        ("desc show bytes.yaml", vec!["bytes.yaml"]),
        (
            "desc show pets.yaml",
            vec!["pets.yaml: this is a configuration, for it has a section `dataset`"],
        ),
        ("train pets.yaml", vec!["this is a configuration"]),
        ("train text.yaml", vec!["text.yaml"]),
        (
            "run --no-search --nas.eval.final_desc_filename text.yaml",
            vec!["text.yaml"],
        ),
        (
            "run --datasets pets.yaml --table text.yaml --space nasbench201",
            vec!["text.yaml"],
        ),
        ("report collate .", vec!["there is no run in `.`"]),
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        world.run(&args).fails(2, &expect);
        assert_eq!(world.names("logdir").len(), 0, "{line}");
    }
    std::fs::write(world.path("pics/test/dog/0.png"), "no picture").unwrap();
    let damaged = ["run", "--datasets", "pets.yaml"];
    world.run(&damaged).fails(2, &["test/dog/0.png"]);
}
