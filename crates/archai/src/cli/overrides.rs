//! Which arguments are overrides of the configuration, and which are flags of the program.
//!
//! An override is an argument whose name has a dot: `--nas.eval.trainer.epochs 200`, `--nas.eval.trainer.epochs=200` or
//! `nas.eval.trainer.epochs=200`. They may stand anywhere behind `run`, `train`, `search run` and `config show`, and those of a
//! data set behind `evaluate`, `predict` and `proxies`. Everything else is left to the parser of flags, so that a misspelt flag is
//! an error there.

use clap::Command;

/// The commands that take overrides, by the words that call them.
const COMMANDS: [&[&str]; 9] = [
    &["run"],
    &["train"],
    &["search", "run"],
    &["evaluate"],
    &["predict"],
    &["proxies"],
    &["config", "show"],
    &["data", "inspect"],
    &["data", "preview"],
];

/// Whether a command line (without the program's name) is of a command that takes overrides.
pub fn are_taken(args: &[String]) -> bool {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    COMMANDS.iter().any(|called| words.starts_with(called))
}

/// Whether a flag is this one, by its name or another that it answers to.
pub fn is_called(flag: &clap::Arg, written: &str) -> bool {
    let Some(name) = written.strip_prefix("--") else {
        return false;
    };
    let others = flag.get_all_aliases().unwrap_or_default();
    flag.get_long() == Some(name) || others.contains(&name)
}

/// Splits a command line (without the program's name) into flags and overrides.
pub fn split(args: Vec<String>, program: &Command) -> (Vec<String>, Vec<String>) {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(called) = COMMANDS.iter().find(|called| words.starts_with(called)) else {
        return (args, Vec::new());
    };
    let command = called
        .iter()
        .try_fold(program, |command, name| command.find_subcommand(name));
    let takes_value = |arg: &str| -> bool {
        let Some(command) = command else { return false };
        command.get_arguments().any(|known| {
            let needed = known.get_num_args().is_none_or(|n| n.min_values() > 0)
                && known.get_action().takes_values();
            let long = is_called(known, arg);
            let short = known
                .get_short()
                .is_some_and(|short| arg.strip_prefix('-') == Some(short.to_string().as_str()));
            needed && (long || short)
        })
    };

    let (mut flags, mut overrides) = (Vec::new(), Vec::new());
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        if arg == "--" {
            flags.push(arg);
            flags.extend(args);
            break;
        }
        match form(&arg) {
            Form::Whole => overrides.push(arg),
            Form::NameOnly => {
                overrides.push(arg);
                overrides.extend(args.next_if(|next| !next.starts_with("--")));
            }
            Form::Flag => {
                let takes_value = takes_value(&arg);
                flags.push(arg);
                if takes_value {
                    flags.extend(args.next());
                }
            }
        }
    }
    (flags, overrides)
}

/// Whether an argument is an override, or the name of one.
pub fn is_override(arg: &str) -> bool {
    !matches!(form(arg), Form::Flag)
}

enum Form {
    /// Name and value.
    Whole,
    /// A name; the value follows.
    NameOnly,
    /// No override.
    Flag,
}

fn form(arg: &str) -> Form {
    let (name, value) = arg
        .split_once('=')
        .map_or((arg, None), |(name, value)| (name, Some(value)));
    let bare = name.strip_prefix("--");
    let dotted = |name: &str| {
        name.contains('.')
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || "._-".contains(c))
            && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
    };
    match (bare, value) {
        (Some(name), Some(_)) if dotted(name) => Form::Whole,
        (Some(name), None) if dotted(name) => Form::NameOnly,
        (None, Some(_)) if dotted(name) => Form::Whole,
        _ => Form::Flag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    #[test]
    fn overrides_stand_anywhere() {
        let program = Command::new("archai")
            .subcommand(
                Command::new("run")
                    .arg(Arg::new("config").long("config").alias("settings"))
                    .arg(Arg::new("full").long("full").num_args(0..=1))
                    .arg(Arg::new("quiet").short('q').action(ArgAction::SetTrue)),
            )
            .subcommand(Command::new("data").arg(Arg::new("from").long("from")));
        for (line, flags, overrides) in [
            ("run --algos darts", "run --algos darts", ""),
            ("run --a.b 1 --full", "run --full", "--a.b 1"),
            ("run --full a.b=1 -q", "run --full -q", "a.b=1"),
            ("run --full --a.b=1", "run --full", "--a.b=1"),
            ("run --a.b -1 x", "run x", "--a.b -1"),
            ("run --a.b --full", "run --full", "--a.b"),
            ("run --config a.b=1 a.b=2", "run --config a.b=1", "a.b=2"),
            ("run --settings a.b=1", "run --settings a.b=1", ""),
            (
                "run --config=a.yaml;b.yaml",
                "run --config=a.yaml;b.yaml",
                "",
            ),
            ("run --config a.yaml", "run --config a.yaml", ""),
            ("run ./x.yaml", "run ./x.yaml", ""),
            ("run -- a.b=1", "run -- a.b=1", ""),
            (
                "config show darts a.b=1 --full",
                "config show darts --full",
                "a.b=1",
            ),
            (
                "data get x --from https://a.b/c?d.e=f",
                "data get x --from https://a.b/c?d.e=f",
                "",
            ),
            ("algos a.b=1", "algos a.b=1", ""),
        ] {
            let words = |line: &str| -> Vec<String> {
                line.split_whitespace().map(str::to_string).collect()
            };
            assert_eq!(
                split(words(line), &program),
                (words(flags), words(overrides)),
                "{line}"
            );
        }
    }
}
