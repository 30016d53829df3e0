//! Runs that are killed, stopped, starved of space and disturbed in other ways: what is resumed ends in the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use archai::lab::RunDir;

use crate::run::TINY;
use crate::support::{Done, World};

/// A run of about a third of a second with some 30 checkpoints.
const MORE: &[&str] = &[
    "common.checkpoint.every_steps=1",
    "nas.search.trainer.epochs=2",
    "nas.eval.trainer.epochs=3",
    "nas.eval.loader.val_ratio=0.5",
];

type Digests = BTreeMap<String, BTreeMap<String, String>>;

/// Digests of all runs below a log folder, by the run directory's name.
fn digests(logdir: &Path) -> Digests {
    let mut all = Digests::new();
    for entry in fs::read_dir(logdir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            all.insert(name, archai::lab::digests::of_run(&path).unwrap());
        }
    }
    all
}

/// Asserts that all files have the same digests, and names those that have not.
#[track_caller]
fn same(found: &Digests, expect: &Digests, when: &str) {
    let dirs = |d: &Digests| d.keys().cloned().collect::<Vec<_>>();
    assert_eq!(dirs(found), dirs(expect), "{when}");
    for (dir, files) in expect {
        let names = files.keys().chain(found[dir].keys());
        let differing: Vec<_> = names
            .filter(|n| files.get(*n) != found[dir].get(*n))
            .collect();
        assert!(differing.is_empty(), "{when}: {dir}: {differing:?}");
    }
}

/// A command on the tiny network, in a world with that configuration.
struct Tiny {
    world: World,
    args: Vec<String>,
}

impl Tiny {
    fn new(algos: &str, more: &[&str]) -> Self {
        let world = World::new();
        // Of the algorithms' own sections only darts has this one.
        let text = TINY.replace("    darts: {second_order: false}\n", "");
        let config = world.write("tiny.yaml", &text);
        let args = [
            "run",
            "--smoke",
            "--algos",
            algos,
            "--config",
            &config,
            "--threads",
            "1",
        ];
        let args = args
            .iter()
            .chain(MORE)
            .chain(more)
            .map(|a| a.to_string())
            .collect();
        Tiny { world, args }
    }

    fn command(&self, more: &[&str]) -> Command {
        let args: Vec<&str> = self
            .args
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        self.world.command(&args)
    }

    fn run(&self, more: &[&str]) -> Done {
        Done::new(self.command(more).output().unwrap())
    }

    fn logdir(&self) -> PathBuf {
        self.world.path("logdir")
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.logdir()
            .join(format!("darts_fashion_mnist_mini_throwaway_{name}"))
    }

    /// All run directories.
    fn dirs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.logdir()).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    }

    fn spawn(&self) -> Child {
        let mut command = self.command(&[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn digests(&self) -> Digests {
        digests(&self.logdir())
    }
}

/// The same run, undisturbed.
fn undisturbed(algos: &str, more: &[&str]) -> (Digests, Duration) {
    let tiny = Tiny::new(algos, more);
    let start = Instant::now();
    tiny.run(&[]).ok();
    (tiny.digests(), start.elapsed())
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(sent.success());
}

/// The last step that a log reports, and all at which it was resumed, by phase: counted in steps from the start.
fn steps(dir: &Path) -> [BTreeMap<String, Vec<usize>>; 2] {
    let mut found: [BTreeMap<String, Vec<usize>>; 2] = Default::default();
    for entry in RunDir::new(dir).log().unwrap() {
        let Some((path, _)) = entry.values() else {
            continue;
        };
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        let number = |i: usize| parts[i].parse::<usize>().unwrap();
        // Trainings of this test have at most 100 steps an epoch.
        match parts[..] {
            [_, phase, "epochs", _, "steps", _] => {
                found[0].insert(phase.to_string(), vec![number(3) * 100 + number(5) + 1]);
            }
            ["resumed", phase, _, _] => {
                let at = number(2) * 100 + number(3);
                found[1].entry(phase.to_string()).or_default().push(at);
            }
            _ => {}
        }
    }
    found
}

/// Kills runs until `kills` have been survived, and compares each finished one with the undisturbed one.
#[cfg(unix)]
fn survive(algos: &str, kills: usize, seed: u64) {
    let (expect, takes) = undisturbed(algos, &[]);
    let mut draw = seed;
    let mut random = || {
        // A linear congruence is random enough for moments.
        draw = draw
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (draw >> 33) as f64 / (1u64 << 31) as f64
    };
    let (mut killed, mut finished, mut resumed_at) = (0, 0, 0);
    while killed < kills || finished == 0 {
        let tiny = Tiny::new(algos, &[]);
        loop {
            let before: Vec<_> = tiny.dirs().into_iter().map(|d| (steps(&d), d)).collect();
            let mut child = tiny.spawn();
            std::thread::sleep(takes.mul_f64(random() * 1.2));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            for ([reported, before], dir) in before {
                let [_, resumed] = steps(&dir);
                for (phase, at) in resumed {
                    // A run that was killed before it was resumed has no new place.
                    let older = before.get(&phase).map_or(0, Vec::len);
                    let (Some(reported), Some(at)) =
                        (reported.get(&phase), at.get(older..).and_then(<[_]>::last))
                    else {
                        continue;
                    };
                    // At the end of an epoch the next one's first step is one hundred on.
                    let lost = reported[0].saturating_sub(*at);
                    assert!(
                        lost <= 1,
                        "{algos} {phase}: resumed at {at}, but {reported:?} were reported"
                    );
                    resumed_at += 1;
                }
            }
            let last = algos.rsplit(',').next().unwrap();
            let last = format!("{last}_fashion_mnist_mini_throwaway_eval/result.json");
            // One that was killed when all was done would start anew.
            if status.success() || tiny.logdir().join(last).exists() {
                break;
            }
            assert_eq!(status.code(), None, "it failed by itself");
            killed += 1;
            assert!(killed < 10 * kills + 100, "no run ever ends");
        }
        same(
            &tiny.digests(),
            &expect,
            &format!("{algos}, seed {seed}, after {killed} kills"),
        );
        finished += 1;
    }
    println!(
        "{algos}: {killed} kills survived in {finished} runs, {resumed_at} times resumed at a step"
    );
    // Others train many small networks, whose logs have other places.
    assert!(resumed_at > 0 || algos != "darts");
}

#[cfg(unix)]
#[test]
fn p01_p02_kill_at_any_instant() {
    survive("darts", 24, 1);
}

#[cfg(unix)]
#[test]
fn p01_p02_kill_several_algorithms() {
    survive("random,petridish", 12, 2);
}

/// `cargo test --release -p archai --test it -- --ignored --nocapture a_thousand_kills`
#[cfg(unix)]
#[test]
#[ignore = "takes minutes"]
fn a_thousand_kills() {
    for (i, algos) in [
        "darts",
        "didarts",
        "xnas",
        "gs",
        "divnas",
        "random",
        "petridish",
    ]
    .iter()
    .enumerate()
    {
        survive(algos, 143, 100 + i as u64);
    }
}

#[cfg(unix)]
#[test]
fn p25_signals_keep_a_checkpoint() {
    let long = ["nas.search.trainer.epochs=30"];
    let (expect, takes) = undisturbed("darts", &long);
    for name in ["-TERM", "-INT"] {
        let tiny = Tiny::new("darts", &long);
        let mut command = tiny.command(&[]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(takes.mul_f64(0.4));
        let asked = Instant::now();
        signal(&child, name);
        let done = Done::new(child.wait_with_output().unwrap());
        assert!(asked.elapsed() < Duration::from_secs(10));
        done.fails(130, &["stopped: the search", "archai resume"]);
        let resumed = tiny
            .world
            .run(&["resume", tiny.dir("search").to_str().unwrap()]);
        assert!(resumed.err.contains("goes on in"), "{}", resumed.err);
        resumed.ok();
        same(&tiny.digests(), &expect, name);
        let text = fs::read_to_string(tiny.dir("search").join("log.jsonl")).unwrap();
        let records = text
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        let resumed: Vec<_> = records
            .filter(|r| {
                r["path"]
                    .as_str()
                    .is_some_and(|p| p.starts_with("resumed/"))
            })
            .collect();
        assert_eq!(resumed.len(), 1, "{resumed:?}");
        let values = &resumed[0]["values"];
        assert_eq!(values["phase"], "arch_train");
        assert!(
            values["epoch"].is_u64() && values["step"].is_u64(),
            "{values}"
        );
        let again = tiny
            .world
            .run(&["resume", tiny.dir("search").to_str().unwrap()]);
        assert!(again.err.contains("is complete"), "{}", again.err);
        assert_eq!(again.code, Some(0));
    }
}

#[cfg(unix)]
#[test]
fn a_stopped_process_goes_on() {
    let long = ["nas.search.trainer.epochs=10"];
    let (expect, takes) = undisturbed("darts", &long);
    let tiny = Tiny::new("darts", &long);
    let mut child = tiny.spawn();
    std::thread::sleep(takes.mul_f64(0.4));
    signal(&child, "-STOP");
    std::thread::sleep(Duration::from_millis(1500));
    signal(&child, "-CONT");
    assert!(child.wait().unwrap().success());
    same(&tiny.digests(), &expect, "afterwards");
}

#[cfg(unix)]
#[test]
fn p09_one_process_per_directory() {
    let long = ["nas.search.trainer.epochs=100000"];
    let tiny = Tiny::new("darts", &long);
    let mut child = tiny.spawn();
    let lock = tiny.dir("search").join("log.jsonl");
    while !fs::read_to_string(&lock).is_ok_and(|t| t.contains("epochs/0/steps")) {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = format!("process {} on ", child.id());
    for more in [&[][..], &["--fresh"]] {
        tiny.run(more).fails(1, &[&pid, "--exp-prefix"]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Its lock went with it; a changed setting is reported.
    let other = tiny.run(&["nas.search.trainer.epochs=1"]);
    other.fails(
        2,
        &[
            "nas.search.trainer.epochs: 100000 -> 1",
            "--fresh",
            "archai resume",
        ],
    );
    let fresh = tiny.run(&["nas.search.trainer.epochs=1", "--fresh"]);
    assert!(
        fresh.err.contains("an earlier run is kept as"),
        "{}",
        fresh.err
    );
    fresh.ok();
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_is_resumed_right_after_a_kill() {
    // Nobody waits for the killed process, which may hold its lock for a moment.
    let tiny = Tiny::new("darts", &["nas.search.trainer.epochs=4"]);
    let mut killed = Vec::new();
    for n in 0..5 {
        let mut child = tiny.spawn();
        let folder = tiny.dir("search").join("checkpoints");
        let before = fs::read_dir(&folder).map_or(0, Iterator::count);
        while before == 0 && fs::read_dir(&folder).map_or(0, Iterator::count) < 2 {
            assert!(
                child.try_wait().unwrap().is_none(),
                "kill {n}: it ended early"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        killed.push(child);
    }
    tiny.run(&[]).ok();
    for mut child in killed {
        child.wait().unwrap();
    }
}

#[test]
fn what_is_finished_is_not_redone() {
    // The second algorithm fails for want of a folder, after the first is complete.
    let tiny = Tiny::new("darts,random", &[]);
    let blocked = tiny
        .logdir()
        .join("random_fashion_mnist_mini_throwaway_search");
    fs::create_dir_all(blocked.parent().unwrap()).unwrap();
    fs::create_dir(&blocked).unwrap();
    fs::write(blocked.join("run.json"), "{}").unwrap();
    tiny.run(&[]).fails(1, &["no version", "--fresh"]);
    assert!(
        !tiny.dir("search").exists(),
        "nothing begins before all are inspected"
    );
    fs::remove_dir_all(&blocked).unwrap();

    let alone = Tiny::new("darts", &[]);
    alone.run(&["--no-eval"]).ok();
    let first = fs::metadata(alone.dir("search").join("result.json")).unwrap();
    // The same settings with an evaluation are another command.
    alone.run(&[]).ok();
    assert!(
        alone
            .logdir()
            .join("darts_fashion_mnist_mini_throwaway_search.1")
            .exists()
    );
    assert!(first.len() > 0);

    tiny.run(&[]).ok();
    let times = |dir: &Path| {
        fs::metadata(dir.join("result.json"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let (search, eval) = (times(&tiny.dir("search")), times(&tiny.dir("eval")));
    fs::remove_dir_all(
        tiny.logdir()
            .join("random_fashion_mnist_mini_throwaway_eval"),
    )
    .unwrap();
    let again = tiny.run(&[]);
    assert!(again.err.contains("is complete"), "{}", again.err);
    let table = again.ok();
    assert!(
        table.contains("darts on fashion") && table.contains("random on fashion"),
        "{table}"
    );
    assert_eq!(
        (times(&tiny.dir("search")), times(&tiny.dir("eval"))),
        (search, eval)
    );
}

#[test]
fn harmless_changes_are_accepted_when_allowed() {
    let long = ["nas.search.trainer.epochs=100000"];
    let tiny = Tiny::new("darts", &long);
    let mut child = tiny.spawn();
    while !tiny
        .dir("search")
        .join("checkpoints/000002.checkpoint")
        .exists()
    {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (eval, search) = ("nas.eval.trainer.epochs=1", "nas.search.trainer.epochs=1");
    tiny.run(&[eval])
        .fails(2, &["nas.eval.trainer.epochs: 3 -> 1", "--allow-changed"]);
    tiny.run(&[search, "--allow-changed"])
        .fails(2, &["nas.search.trainer.epochs", "--fresh"]);
    let mut command = tiny.command(&[eval, "--allow-changed"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = tiny.dir("search").join("log.jsonl");
    while !fs::read_to_string(&log).is_ok_and(|t| t.contains("resumed/arch_train")) {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn p06_files_that_grow_too_large() {
    let (expect, _) = undisturbed("darts", &[]);
    // Blocks of 512 bytes or of 1 KB, as the shell has it: logs, checkpoints and models fail at different sizes.
    for blocks in [1, 4, 8, 12, 16, 24] {
        let tiny = Tiny::new("darts", &[]);
        let plain = tiny.command(&[]);
        let mut limited = Command::new("bash");
        limited.env_clear().current_dir(tiny.world.dir());
        for (key, value) in plain.get_envs() {
            limited.env(key, value.unwrap());
        }
        // Without the trap the system would kill the program instead of refusing the write.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        limited
            .args(["-c", &script, "bash"])
            .arg(plain.get_program())
            .args(plain.get_args());
        let output = limited.output().unwrap();
        let done = Done::new(output);
        if done.code == Some(0) {
            assert!(blocks > 8, "a limit of {blocks} blocks was not felt");
            continue;
        }
        done.fails(1, &["error: cannot"]);
        tiny.run(&[]).ok();
        same(&tiny.digests(), &expect, &format!("{blocks} blocks"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn p06_a_full_disk() {
    let tiny = Tiny::new("darts", &[]);
    let disk = tiny.logdir();
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=640k", "tmpfs"])
        .arg(&disk)
        .output();
    if !mount.as_ref().is_ok_and(|m| m.status.success()) {
        // No silent pass: whoever reads the test's output sees what was not tried.
        eprintln!(
            "NOT TESTED: a full disk, because this user may not mount a small one ({mount:?})"
        );
        println!("NOT TESTED: a full disk");
        return;
    }
    struct Unmount(PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(disk.clone());
    let (expect, _) = undisturbed("darts", &[]);
    let mut failures = 0;
    // A file that takes most of the disk shrinks bit by bit.
    let ballast = disk.join(".ballast");
    for size in (0..=624).rev().step_by(24) {
        let filled = fs::write(&ballast, vec![1u8; size * 1024]);
        if filled.is_err() {
            // It does not fit beside what is there: there is less space than asked for.
            fs::remove_file(&ballast).unwrap();
        }
        let done = tiny.run(&[]);
        if done.code == Some(0) {
            // Another success would start over.
            fs::remove_dir_all(tiny.dir("eval")).unwrap();
            break;
        }
        done.fails(1, &["error: cannot", "free some space"]);
        failures += 1;
    }
    let _ = fs::remove_file(&ballast);
    tiny.run(&[]).ok();
    assert!(failures > 2, "the disk was never full");
    same(
        &tiny.digests(),
        &expect,
        &format!("after {failures} failures"),
    );
}

#[test]
fn p05_a_damaged_checkpoint_is_named_and_the_one_before_used() {
    let (expect, _) = undisturbed("darts", &["nas.search.trainer.epochs=20"]);
    for (what, damage) in [
        (
            "a flipped bit",
            (|bytes: &mut Vec<u8>| {
                let n = bytes.len() * 2 / 3;
                bytes[n] ^= 4;
            }) as fn(&mut Vec<u8>),
        ),
        ("a cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("nothing", Vec::clear),
    ] {
        let tiny = Tiny::new("darts", &["nas.search.trainer.epochs=20"]);
        let mut child = tiny.spawn();
        let folder = tiny.dir("search").join("checkpoints");
        let checkpoints = || -> Vec<PathBuf> {
            let mut all: Vec<_> = (fs::read_dir(&folder).into_iter().flatten())
                .map(|e| e.unwrap().path())
                .filter(|p| p.extension().is_some_and(|e| e == "checkpoint"))
                .collect();
            all.sort();
            all
        };
        let enough = folder.join("000009.checkpoint");
        while checkpoints().last().is_none_or(|p| *p < enough) {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = checkpoints();
        let last = kept.last().unwrap();
        let mut bytes = fs::read(last).unwrap();
        damage(&mut bytes);
        fs::write(last, bytes).unwrap();
        let done = tiny.run(&[]);
        let name = last.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            done.err.contains("is damaged") && done.err.contains(&name),
            "{what}: {}",
            done.err
        );
        done.ok();
        let log = fs::read_to_string(tiny.dir("search").join("log.log")).unwrap();
        assert!(log.contains(&name), "{what} is not in the log");
        same(&tiny.digests(), &expect, what);
    }
}

#[test]
fn p03_p28_time_place_and_threads_do_not_matter() {
    let (expect, _) = undisturbed("darts", &[]);
    type Condition<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);
    let conditions: [Condition; 6] = [
        ("eight threads", &["--threads=8"], &[]),
        ("another zone", &["--threads=2"], &[("TZ", "Pacific/Apia")]),
        (
            "a Turkish locale",
            &["--threads=2"],
            &[("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8")],
        ),
        ("no prefetch", &["nas.search.loader.train_workers=0"], &[]),
        (
            "prefetch",
            &[
                "nas.search.loader.train_workers=4",
                "nas.eval.loader.train_workers=3",
            ],
            &[],
        ),
        (
            "rare checkpoints",
            &[
                "common.checkpoint.every_steps=0",
                "common.checkpoint.keep=1",
            ],
            &[],
        ),
    ];
    for (what, more, env) in conditions {
        let mut tiny = Tiny::new("darts", &[]);
        tiny.args
            .retain(|a| !["--threads", "1"].contains(&a.as_str()));
        let mut command = tiny.command(more);
        command.envs(env.iter().copied());
        Done::new(command.output().unwrap()).ok();
        same(&tiny.digests(), &expect, what);
    }
    for folder in ["a folder with blanks", "ütf-8 文字", "🦀 $x ~ {a}"] {
        let tiny = Tiny::new("darts", &[]);
        let place = tiny.world.path(folder);
        fs::create_dir(&place).unwrap();
        let mut command = tiny.command(&["--logdir", "./runs"]);
        Done::new(command.current_dir(&place).output().unwrap()).ok();
        same(&digests(&place.join("runs")), &expect, "{folder}");
    }
}

#[test]
fn verify_recognises_a_changed_run() {
    let tiny = Tiny::new("darts", &[]);
    tiny.run(&[]).ok();
    let (search, eval) = (tiny.dir("search"), tiny.dir("eval"));
    let names = [search.to_str().unwrap(), eval.to_str().unwrap()];
    let verify = |more: &[&str]| tiny.world.run(&[&["verify"], &names[..], more].concat());
    let table = verify(&["--threads", "2"]).ok();
    assert_eq!(
        table.matches("all the same but for times").count(),
        2,
        "{table}"
    );
    for expect in [
        "final_model_desc.yaml",
        "model.safetensors",
        "log.jsonl",
        "result.json",
    ] {
        assert!(table.contains(expect), "{table}");
    }
    // Published elsewhere, it is checked without the rest.
    let moved = tiny.world.path("published run");
    fs::rename(&eval, &moved).unwrap();
    tiny.world.run(&["verify", "published run"]).ok();
    let weights = moved.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    tiny.world
        .run(&["verify", "published run"])
        .fails(1, &["model.safetensors", "1 of "]);
    tiny.world
        .run(&["verify", "logdir"])
        .fails(2, &["no run directory"]);
}
