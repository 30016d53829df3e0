//! Which files a configuration may include from a disk.

use std::fs;
use std::path::Path;

use archai_spec::config::{ConfigLoader, Files};

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Loads `top`, which includes a file; gives the seed, which that file holds, or the error.
fn load(top: &Path) -> Result<u64, String> {
    let loader = ConfigLoader::new(&Files).files(top.to_str().unwrap());
    let tree = loader
        .load(&crate::config::open())
        .map_err(|errors| errors.to_string())?;
    tree.value("common.seed")
        .and_then(|seed| seed.as_u64())
        .ok_or("no seed".into())
}

#[test]
fn p19_included_files_lie_in_the_folder_of_the_configuration() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for (name, seed) in [
        ("conf/near.yaml", 1),
        ("conf/below/deep.yaml", 2),
        ("outside.yaml", 3),
        // A name that begins like the folder's.
        ("conf-evil/near.yaml", 4),
    ] {
        write(root.path(), name, &format!("common: {{seed: {seed}}}\n"));
    }
    write(
        root.path(),
        "conf/below/up.yaml",
        "__include__: ../near.yaml\n",
    );
    write(
        root.path(),
        "conf/below/out.yaml",
        "__include__: ../../outside.yaml\n",
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(at("outside.yaml"), at("conf/link.yaml")).unwrap();
        symlink("../conf-evil", at("conf/folder")).unwrap();
        symlink("below/deep.yaml", at("conf/inside.yaml")).unwrap();
        symlink("/dev/zero", at("conf/endless.yaml")).unwrap();
    }
    let absolute = |name: &str| at(name).to_str().unwrap().to_owned();
    let table = [
        ("near.yaml".to_owned(), Ok(1)),
        ("./below/../near.yaml".to_owned(), Ok(1)),
        ("below/deep.yaml".to_owned(), Ok(2)),
        ("below/up.yaml".to_owned(), Ok(1)),
        ("../conf/near.yaml".to_owned(), Ok(1)),
        (absolute("conf/near.yaml"), Ok(1)),
        ("inside.yaml".to_owned(), Ok(2)),
        ("../outside.yaml".to_owned(), Err("it lies outside of")),
        ("below/out.yaml".to_owned(), Err("it lies outside of")),
        (
            "../conf-evil/near.yaml".to_owned(),
            Err("it lies outside of"),
        ),
        (absolute("outside.yaml"), Err("it lies outside of")),
        ("/etc/passwd".to_owned(), Err("it lies outside of")),
        ("link.yaml".to_owned(), Err("it lies outside of")),
        ("folder/near.yaml".to_owned(), Err("it lies outside of")),
        ("endless.yaml".to_owned(), Err("it lies outside of")),
        (
            "missing.yaml".to_owned(),
            Err("cannot read the configuration file"),
        ),
    ];
    for (included, expect) in table {
        if cfg!(not(unix))
            && ["inside", "link", "folder", "endless", "/etc"]
                .iter()
                .any(|l| included.starts_with(l))
        {
            continue;
        }
        write(
            root.path(),
            "conf/top.yaml",
            &format!("__include__: '{included}'\n"),
        );
        match (load(&at("conf/top.yaml")), expect) {
            (Ok(seed), Ok(expect)) => assert_eq!(seed, expect, "{included}"),
            (Err(error), Err(expect)) => {
                assert!(
                    error.contains(expect) && error.contains("top.yaml")
                        || error.contains("out.yaml"),
                    "{included}: {error}"
                );
            }
            (got, expect) => panic!("{included}: {got:?}, expected {expect:?}"),
        }
    }
    // Files that the user names lie where the user says.
    assert_eq!(load(&at("outside.yaml")), Ok(3));
    // Shipped files may always be included.
    write(
        root.path(),
        "conf/top.yaml",
        "__include__: archai:datasets/fashion_mnist_mini.yaml\ncommon: {seed: 9}\n",
    );
    assert_eq!(load(&at("conf/top.yaml")), Ok(9));
}

#[test]
fn p15_a_file_without_end_is_not_read_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("large.yaml");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = load(&path).unwrap_err();
    assert!(error.contains("it has more than 16 MiB"), "{error}");
}
