//! The commit that is checked out in a folder, as the files of git say.

use std::fs;
use std::path::{Path, PathBuf};

/// The commit of the repository in which a folder lies; none where there is no repository, or no commit.
pub fn of_folder(folder: &Path) -> Option<String> {
    let git = folder
        .ancestors()
        .find_map(|above| git_folder(&above.join(".git")))?;
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(name) = head.strip_prefix("ref:") else {
        return commit(&head);
    };
    let name = name.trim();
    // A further working tree has a HEAD of its own, and shares the branches.
    let shared = fs::read_to_string(git.join("commondir"));
    let shared = shared.map_or_else(|_| git.clone(), |path| git.join(path.trim()));
    let loose = fs::read_to_string(shared.join(name));
    if let Some(found) = loose.ok().as_deref().and_then(commit) {
        return Some(found);
    }
    let packed = fs::read_to_string(shared.join("packed-refs")).ok()?;
    let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
    let (found, _) = lines.find(|(_, own)| *own == name)?;
    commit(found)
}

/// The folder of a repository, which a file may name.
fn git_folder(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_path_buf());
    }
    let text = fs::read_to_string(path).ok()?;
    let target = text.strip_prefix("gitdir:")?.trim();
    Some(path.parent()?.join(target))
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_commit = text.len() >= 40 && text.chars().all(|c| c.is_ascii_hexdigit());
    is_commit.then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_found_from_below() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let (one, two) = ("1".repeat(40), "a".repeat(40));
        let of = |folder: &str| of_folder(&root.path().join(folder));
        write("mine/deep/file", "");
        assert_eq!(of("mine/deep"), None);
        write("mine/.git/HEAD", "ref: refs/heads/main\n");
        assert_eq!(of("mine"), None, "no commit yet");
        write(
            "mine/.git/packed-refs",
            &format!("# pack-refs\n{one} refs/heads/main\n"),
        );
        assert_eq!(of("mine/deep"), Some(one.clone()));
        write("mine/.git/refs/heads/main", &format!("{two}\n"));
        assert_eq!(of("mine/deep"), Some(two.clone()));
        write("mine/.git/worktrees/w/HEAD", "ref: refs/heads/main");
        write("mine/.git/worktrees/w/commondir", "../..\n");
        write(
            "w/.git",
            &format!(
                "gitdir: {}\n",
                root.path().join("mine/.git/worktrees/w").display()
            ),
        );
        assert_eq!(of("w"), Some(two));
        write("mine/.git/HEAD", &one);
        assert_eq!(of("mine"), Some(one));
    }
}
