//! What ARCHITECTURE.md says of the crates, compared with the crates: which may depend on which, and what they must not know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates that a program or a library is built with, development dependencies left out.
struct Dependencies {
    /// Direct ones by crate.
    direct: BTreeMap<String, BTreeSet<String>>,
    workspace: BTreeSet<String>,
}

impl Dependencies {
    /// As cargo resolves them, offline, for the machine at hand.
    fn read() -> Self {
        let cargo = |args: &[&str]| {
            let out = Command::new(env!("CARGO"))
                .args(args)
                .current_dir(root())
                .output()
                .unwrap();
            let problem = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "cargo {args:?}: {problem}");
            String::from_utf8(out.stdout).unwrap()
        };
        let version = cargo(&["-vV"]);
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let metadata: Value = serde_json::from_str(&cargo(&[
            "metadata",
            "--format-version=1",
            "--offline",
            "--locked",
            "--filter-platform",
            host.expect("cargo says for which machine it builds"),
        ]))
        .unwrap();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let mut direct: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = list(&node["deps"])
                .into_iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|k| k["kind"].is_null()))
                .map(|dep| names[dep["pkg"].as_str().unwrap()].clone());
            // Several versions of a crate count as one.
            direct
                .entry(names[node["id"].as_str().unwrap()].clone())
                .or_default()
                .extend(normal);
        }
        let members = list(&metadata["workspace_members"]);
        let workspace = members
            .iter()
            .map(|id| names[id.as_str().unwrap()].clone())
            .collect();
        Dependencies { direct, workspace }
    }

    /// Everything that is built with a crate.
    fn all(&self, name: &str) -> BTreeSet<String> {
        closure(&self.direct, name)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn closure(direct: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        for dependency in direct.get(&name).into_iter().flatten() {
            if found.insert(dependency.clone()) {
                open.push(dependency.clone());
            }
        }
    }
    found
}

/// The arrows of ARCHITECTURE.md's drawing: `a ← b` says that b depends on a.
fn drawn() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| line.contains("archai-") && line.contains(" ← "))
    {
        let crates: Vec<&str> = line.split('←').map(str::trim).collect();
        for pair in crates.windows(2) {
            let from = arrows.entry(pair[1].to_owned()).or_default();
            from.insert(pair[0].to_owned());
        }
    }
    arrows
}

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let (found, drawn) = (Dependencies::read(), drawn());
    let mut seen = BTreeSet::new();
    for (name, below) in &drawn {
        for dependency in below {
            seen.extend([name.clone(), dependency.clone()]);
            assert!(
                found.direct[name].contains(dependency),
                "ARCHITECTURE.md draws {dependency} ← {name}, but {name} does not depend on {dependency}"
            );
        }
    }
    assert_eq!(
        seen, found.workspace,
        "the drawing has every crate of the workspace"
    );
    for name in &found.workspace {
        let allowed = closure(&drawn, name);
        let used = found.direct[name].intersection(&found.workspace);
        for dependency in used {
            assert!(
                allowed.contains(dependency),
                "{name} depends on {dependency}, against the arrows of ARCHITECTURE.md"
            );
        }
    }
}

#[test]
fn crates_do_not_know_what_they_must_not() {
    let found = Dependencies::read();
    let is_framework = |name: &str| name == "burn" || name.starts_with("burn-");
    for name in &found.workspace {
        let names_it = found.direct[name].iter().any(|d| is_framework(d));
        assert_eq!(
            names_it,
            name == "archai-engine",
            "{name} and the tensor framework"
        );
    }
    for name in [
        "archai-spec",
        "archai-data",
        "archai-kernels",
        "archai-export",
        "archai-infer",
    ] {
        let all = found.all(name);
        assert!(!all.iter().any(|d| is_framework(d)), "{name} has tensors");
    }
    let spec = found.all("archai-spec");
    for thing in ["rayon", "rand", "ureq"] {
        assert!(!spec.contains(thing), "archai-spec is built with {thing}");
    }
    // The command line, the terminal and signals belong to the binary.
    let lab = found.all("archai-lab");
    for thing in [
        "clap",
        "indicatif",
        "ctrlc",
        "signal-hook",
        "comfy-table",
        "gethostname",
    ] {
        assert!(!lab.contains(thing), "archai-lab is built with {thing}");
        let program = &found.direct["archai"];
        assert!(program.contains(thing), "{thing} is what the binary uses");
    }
}

/// Libraries get surroundings as values: no environment, folder, clock, output or exit of their own, no global thread pool.
#[test]
fn libraries_do_not_touch_the_process() {
    const WORDS: [&str; 11] = [
        "std::env::",
        "env::var",
        "current_dir",
        "println!",
        "eprint",
        "process::exit",
        "Instant::now",
        "SystemTime",
        "build_global",
        "Timestamp::now",
        "Zoned::now",
    ];
    for name in [
        "spec", "data", "kernels", "export", "infer", "predict", "engine", "algos", "lab", "track",
        "report", "watch", "search",
    ] {
        let mut open = vec![root().join(format!("crates/archai-{name}/src"))];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                if path.extension().is_none_or(|end| end != "rs") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                for (i, line) in text.lines().enumerate() {
                    let code = line.split("//").next().unwrap_or_default();
                    let found = WORDS.iter().find(|word| code.contains(**word));
                    let place = format!("{}:{}", path.display(), i + 1);
                    assert_eq!(found, None, "{place} reaches for the process");
                }
            }
        }
    }
}
