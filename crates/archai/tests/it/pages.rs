//! The pages of `docs/` as their readers use them: commands are given in the order in which they stand, files are written as
//! they are shown, and what the program prints is compared with what the page says that it prints.
//!
//! Fenced blocks say by their language what is done with them:
//!
//! - `console`: each line behind `$ ` is given to a shell; the lines below it are what it prints, on standard error if it
//!   fails, which a line that begins with `error` says. A line `...` stands for any lines, `…` within a line for any text; a
//!   command without lines below it must only succeed. Runs are made on a network of a few channels and a few images, so
//!   that a page takes seconds.
//! - `sh`: each `archai run` is checked as far as the moment before it begins; other lines are for reading.
//! - `yaml` whose first line is a comment with nothing but the name of a file: the file is written.
//! - `rust`, `toml`: the text stands, word for word, in a file that is compiled.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{DynamicImage, GrayImage, Luma};

use crate::support::{Done, World};

/// What makes a run take a second: a few narrow cells, a few images.
const QUICK: &str = "\
    nas.search.loader.dataset.max_batches=4 nas.search.loader.train_batch=4 nas.search.loader.test_batch=4 \
    nas.search.loader.train_workers=0 nas.search.model_desc.n_cells=3 nas.search.model_desc.n_reductions=1 \
    nas.search.model_desc.cell.n_nodes=1 nas.search.model_desc.model_stems.init_node_ch=2 \
    nas.eval.loader.dataset.max_batches=2 nas.eval.loader.train_batch=4 nas.eval.loader.test_batch=4 \
    nas.eval.loader.train_workers=0 nas.eval.model_desc.n_cells=3 nas.eval.model_desc.n_reductions=1 \
    nas.eval.model_desc.aux_weight=0 nas.eval.model_desc.model_stems.init_node_ch=2";

/// The same of the trainings of a discrete search.
const QUICK_TRIALS: &str = "\
    nas.eval.loader.dataset.max_batches=2 nas.eval.loader.train_batch=4 nas.eval.loader.test_batch=4 \
    nas.eval.loader.train_workers=0";

/// The sources whose text the pages show.
const SOURCES: [&str; 7] = [
    "crates/archai/examples/my_darts.rs",
    "crates/archai/examples/own_op.rs",
    "crates/archai/examples/own_data.rs",
    "crates/archai/examples/use_model.rs",
    "templates/own_algorithm/Cargo.toml",
    "templates/own_algorithm/src/main.rs",
    "templates/own_algorithm/src/my_algorithm.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A fenced block: the line on which it begins, its language, its lines.
struct Block<'a> {
    line: usize,
    language: &'a str,
    lines: Vec<&'a str>,
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (i, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(language), None) => {
                open = Some(Block {
                    line: i + 1,
                    language,
                    lines: Vec::new(),
                });
            }
            (None, Some(mut block)) => {
                block.lines.push(line);
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The commands of a console, each with the lines that it prints. A command goes on behind a backslash.
fn commands<'a>(block: &Block<'a>) -> Vec<(String, Vec<&'a str>)> {
    let mut commands: Vec<(String, Vec<&str>)> = Vec::new();
    let mut goes_on = false;
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_string(), Vec::new()));
            goes_on = command.ends_with('\\');
            continue;
        }
        let last = commands.last_mut();
        let (command, printed) = last.expect("a console begins with a command");
        if goes_on {
            *command += &format!("\n{line}");
            goes_on = line.ends_with('\\');
        } else {
            printed.push(line);
        }
    }
    commands
}

/// Whether a line is as a page has it, where `…` stands for any text.
fn line_fits(expected: &str, line: &str) -> bool {
    let Some((first, rest)) = expected.split_once('…') else {
        return expected == line;
    };
    let Some(line) = line.strip_prefix(first) else {
        return false;
    };
    let ends = line.char_indices().map(|(i, _)| i).chain([line.len()]);
    ends.into_iter().any(|i| line_fits(rest, &line[i..]))
}

/// Whether lines are as a page has them, where a line `...` stands for any lines.
fn fits(expected: &[&str], lines: &[&str]) -> bool {
    match expected {
        [] => lines.is_empty(),
        ["...", rest @ ..] => (0..=lines.len()).any(|skip| fits(rest, &lines[skip..])),
        [first, rest @ ..] => lines
            .split_first()
            .is_some_and(|(line, lines)| line_fits(first, line) && fits(rest, lines)),
    }
}

/// Lines without blanks at their ends, and without blank lines at both ends of the whole.
fn trimmed(text: &str) -> Vec<&str> {
    text.trim().lines().map(str::trim_end).collect()
}

/// Writes a program named `archai` that calls the real one in this way.
fn write_program(world: &World, folder: &str, script: &str) {
    let real = world.command(&[]);
    let real = format!("'{}'", Path::new(real.get_program()).display());
    let script = format!("#!/bin/sh\n{}\n", script.replace("REAL", &real));
    let path = world.write(&format!("{folder}/archai"), &script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Gives a line to a shell that finds the program in `folder`.
fn shell(world: &World, folder: &str, line: &str) -> Done {
    let path = format!("{}:/usr/bin:/bin", world.path(folder).display());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line])
        .current_dir(world.dir())
        .env_clear()
        .env("HOME", world.dir())
        .env("TZ", "UTC")
        .env("PATH", path);
    Done::new(shell.output().unwrap())
}

/// Does what a page says, in a home folder that `prepare` has filled.
fn follow(name: &str, prepare: impl FnOnce(&World)) {
    let world = World::new();
    prepare(&world);
    let quick = format!(
        "case \"$1 $2\" in\n\
         'run '*) shift; exec REAL run --threads 2 {QUICK} \"$@\" ;;\n\
         'search run') shift 2; exec REAL search run --threads 2 {QUICK_TRIALS} \"$@\" ;;\n\
         *) exec REAL \"$@\" ;;\nesac"
    );
    write_program(&world, ".quick", &quick);
    let file = world.write("a_file", "");
    let stops =
        format!("case \"$1\" in\nrun) exec REAL \"$@\" --logdir '{file}' ;;\n*) exit 3 ;;\nesac");
    write_program(&world, ".stops", &stops);

    let page = read(name);
    let sources = SOURCES.map(read);
    let mut given = 0;
    for block in blocks(&page) {
        let place = format!("{name}:{}", block.line);
        match block.language {
            "console" => {
                for (command, printed) in commands(&block) {
                    console(&world, &place, &command, &printed);
                    given += 1;
                }
            }
            "sh" => {
                for line in lines_of(&block) {
                    if line.starts_with("archai run ") {
                        let done = shell(&world, ".stops", &line);
                        let text = &done.err;
                        // The folder of logs is none, and most data are not there: all else was understood.
                        let expect = if text.contains("was not found") { 2 } else { 1 };
                        assert_eq!(done.code, Some(expect), "{place}: {line}\n{text}");
                    }
                }
            }
            "yaml" => {
                let comment = block.lines[0].strip_prefix("# ");
                let file = comment.filter(|name| name.ends_with(".yaml") && !name.contains(' '));
                if let Some(file) = file {
                    world.write(file, &(block.lines.join("\n") + "\n"));
                }
            }
            "rust" | "toml" => {
                let text = block.lines.join("\n");
                assert!(
                    sources.iter().any(|source| source.contains(&text)),
                    "{place}: the text stands in none of {SOURCES:?}:\n{text}"
                );
            }
            // Snippets of Python are run by interop/use_the_model.py and interop/tensorboard_check.py.
            "" | "text" | "python" => {}
            other => panic!("{place}: nothing is known of blocks of {other:?}"),
        }
    }
    assert!(given > 0, "{name} gives no command");
}

/// The lines of a block, with those that go on behind a backslash in one.
fn lines_of(block: &Block<'_>) -> Vec<String> {
    let text = block.lines.join("\n").replace("\\\n", " ");
    text.lines().map(str::to_string).collect()
}

fn console(world: &World, place: &str, command: &str, printed: &[&str]) {
    let done = shell(world, ".quick", command);
    let fails = printed.iter().any(|line| line.starts_with("error"));
    assert_eq!(
        done.code == Some(0),
        !fails,
        "{place}: {command}\nends with {:?}\n{}\n{}",
        done.code,
        done.out,
        done.err
    );
    let text = if fails { &done.err } else { &done.out };
    let printed = printed.join("\n");
    let expected = trimmed(&printed);
    assert!(
        expected.is_empty() || fits(&expected, &trimmed(text)),
        "{place}: {command}\nprints\n{text}\nand the page says\n{printed}\n"
    );
}

#[test]
fn what_a_page_shows_is_compared() {
    for (expected, line, fit) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("…b", "ab", true),
        ("a…b…c", "a1b2b3c", true),
        ("a…b…c", "a1c", false),
        ("…", "", true),
        ("é…", "éa", true),
    ] {
        assert_eq!(line_fits(expected, line), fit, "{expected:?} {line:?}");
    }
    for (expected, text, fit) in [
        ("a\n...\nc", "a\nb\nb\nc", true),
        ("a\n...\nc", "a\nc", true),
        ("a\n...", "a", true),
        ("a\n...\nc", "a\nb", false),
        ("...\nb", "a\nb\nc", false),
        ("a", "\na  \n\n", true),
    ] {
        let of_page = fits(&trimmed(expected), &trimmed(text));
        assert_eq!(of_page, fit, "{expected:?} {text:?}");
    }
    let page = "text\n```console\n$ one \\\n  more\nout\n$ two\n```\n";
    let block = &blocks(page)[0];
    let expect = [
        ("one \\\n  more".to_string(), vec!["out"]),
        ("two".to_string(), vec![]),
    ];
    assert_eq!(commands(block), expect);
}

#[test]
fn the_pages_are_linked_from_the_readme() {
    let readme = read("README.md");
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // Pictures are shown on pages.
        if name == "images" {
            continue;
        }
        assert!(
            readme.contains(&format!("(docs/{name})")),
            "README.md has no link to docs/{name}"
        );
    }
}

#[test]
fn links_lead_somewhere() {
    let mut pages = vec![
        root().join("README.md"),
        root().join("ARCHITECTURE.md"),
        root().join("CONTRIBUTING.md"),
    ];
    for folder in ["docs", "docs/algorithms"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    let mut followed = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let target = page.parent().unwrap().join(target);
            assert!(
                target.exists(),
                "{} links to {}, which is not there",
                page.display(),
                target.display()
            );
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed} links");
}

/// Pictures of two classes as people have them: sides between 40 and 500 pixels, grey, coloured and transparent, PNG and JPEG.
fn flowers(world: &World) {
    let sides = [40, 64, 123, 200, 500];
    let mut n: u32 = 0;
    for (split, pictures) in [("train", 10), ("test", 6)] {
        for (class, light) in [("daisy", 180), ("tulip", 40)] {
            let folder = world.path(&format!("flowers/{split}/{class}"));
            std::fs::create_dir_all(&folder).unwrap();
            for _ in 0..pictures {
                n += 1;
                let side = |i: u32| sides[i as usize % sides.len()];
                let grey = GrayImage::from_fn(side(n), side(3 * n), |x, y| {
                    Luma([light + (7 * x + 3 * y + n) as u8 % 60])
                });
                let grey = DynamicImage::from(grey);
                let (picture, ending) = match n % 4 {
                    0 => (grey, "png"),
                    1 => (grey.to_rgb8().into(), "jpg"),
                    2 => (grey.to_rgba8().into(), "png"),
                    _ => (grey.to_luma16().into(), "png"),
                };
                picture.save(folder.join(format!("{n}.{ending}"))).unwrap();
            }
        }
    }
}

#[test]
fn the_tutorial() {
    follow("docs/tutorial.md", |_| {});
}

#[test]
fn configuration() {
    follow("docs/configuration.md", |_| {});
}

#[test]
fn data() {
    follow("docs/data.md", flowers);
}

#[test]
fn own_ops() {
    follow("docs/own_op.md", |_| {});
}

#[test]
fn own_algorithms() {
    follow("docs/own_algorithm.md", |_| {});
}

#[test]
fn exports() {
    follow("docs/export.md", |_| {});
}

#[test]
fn tracking() {
    follow("docs/tracking.md", |_| {});
}

#[test]
fn the_files_of_a_run() {
    follow("docs/run_directory.md", |_| {});
}

#[test]
fn a_page_to_look_at() {
    follow("docs/report.md", |_| {});
}

#[test]
fn watching() {
    follow("docs/watch.md", |_| {});
}

#[test]
fn discrete_search() {
    follow("docs/search.md", |_| {});
}

#[test]
fn search_spaces() {
    follow("docs/search_spaces.md", |_| {});
}

#[test]
fn the_page_on_the_terminal() {
    follow("docs/terminal.md", |_| {});
}

#[test]
fn the_readme() {
    follow("README.md", |world| {
        flowers(world);
        world.write("found.yaml", &read("confs/models/darts_v2.yaml"));
    });
}

/// The files that a page lists in its tables, and the section in which each of them stands.
fn listed(page: &str) -> Vec<(&str, &str)> {
    let mut section = "";
    let mut files = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        let file = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once("` |"));
        if let Some((file, _)) = file {
            files.push((section, file));
        }
    }
    files
}

/// All files below a folder, as paths relative to it.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    files
}

/// Whether a file is one that a table names, where `N` and `NNNNNN` stand for a number.
fn is_named(listed: &str, file: &str) -> bool {
    let without_numbers = |name: &str, number: fn(char) -> bool| -> String {
        let mut parts = Vec::new();
        for part in name.split_inclusive(['_', '.', '/']) {
            let (stem, end) = part.split_at(part.trim_end_matches(['_', '.', '/']).len());
            let is_number = !stem.is_empty() && stem.chars().all(number);
            parts.push(format!("{}{end}", if is_number { "#" } else { stem }));
        }
        parts.concat()
    };
    without_numbers(listed, |c| c == 'N') == without_numbers(file, |c| c.is_ascii_digit())
}

#[test]
fn every_file_of_a_run_is_explained_and_none_besides() {
    let world = World::new();
    let mut args = vec![
        "run",
        "--smoke",
        "--algos",
        "darts,random,petridish",
        "--threads",
        "2",
        "nas.eval.loader.val_ratio=0.5",
    ];
    args.extend(QUICK.split_whitespace());
    world.run(&args).ok();
    args.extend(["--no-eval", "--exp-prefix", "alone"]);
    world.run(&args).ok();

    let page = read("docs/run_directory.md");
    let listed = listed(&page);
    let in_sections = |words: [&str; 2]| {
        let inside = listed
            .iter()
            .filter(move |(section, _)| words.iter().any(|word| section.starts_with(word)));
        inside.map(|(_, file)| *file).collect::<Vec<_>>()
    };
    let of_search = in_sections(["Both", "The search"]);
    let of_eval = in_sections(["Both", "The evaluation"]);
    let gallery = |file: &str| file.starts_with("model_desc_gallery/");
    let mut seen: Vec<&str> = Vec::new();
    for dir in world.names("logdir") {
        let own = if dir.ends_with("_search") {
            &of_search
        } else {
            &of_eval
        };
        for file in files_below(&world.path(&format!("logdir/{dir}"))) {
            // The evaluation has a copy of the search's gallery.
            let known = if gallery(&file) { &of_search } else { own };
            let found = known.iter().find(|name| is_named(name, &file));
            let found = found.unwrap_or_else(|| {
                panic!("docs/run_directory.md does not explain {file}, which a run left in {dir}")
            });
            seen.push(found);
        }
    }
    for name in of_search.iter().chain(&of_eval) {
        assert!(
            seen.contains(name),
            "docs/run_directory.md explains {name}, which no run left"
        );
    }
}
