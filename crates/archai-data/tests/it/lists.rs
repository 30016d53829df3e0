//! Lists of encoded pictures: tables of paths, archives, parquet tables that are too large for memory.

use std::fs;

use archai_data::{Split, files, formats, inspect};
use archai_spec::settings::{Columns, OnDamaged};
use tempfile::TempDir;

use crate::fixtures::*;

/// A tar file of these members.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn columns(image: Option<&str>, label: Option<&str>) -> Option<Columns> {
    Some(Columns {
        image: image.map(str::to_owned),
        label: label.map(str::to_owned),
        ..Columns::default()
    })
}

#[test]
fn a_table_says_what_is_wrong_with_it() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(at("a.png"), png(flat_grey(2, 2, 1)));
    let set = settings("csv", folder.path(), 2, 1, [2, 2]);
    check_error(train(&set), &["train*.csv or train*.tsv", "dataset.path"]);
    for (table, parts) in [
        (
            "",
            &[
                "its columns",
                "a column of images",
                "dataset.columns.image",
                "found none",
            ][..],
        ),
        (
            "path\na.png\n",
            &["a column of labels", "found path", "dataset.columns.label"],
        ),
        (
            "path,label\na.png,0\n,1\n",
            &["row 1", "the path of a picture"],
        ),
        (
            "path,label\na.png,0\na.png,\n",
            &["row 1", "expected a label"],
        ),
        (
            "path,label\na.png,0\na.png,2\n",
            &["row 1", "a label in 0..2", "found 2"],
        ),
        ("path,label\na.png,-1\n", &["row 0", "found -1"]),
        ("path,label\na.png,0\na.png\n", &["its lines", "2 fields"]),
        (
            "path,label\na.png,cat\n",
            &["dataset.n_classes", "is 2", "1 classes: cat"],
        ),
    ] {
        write(at("train.csv"), table);
        check_error(train(&set), parts);
    }
    // A picture that is not there is found before a run begins.
    write(at("train.csv"), "path,label\na.png,0\nb.png,1\n");
    check_error(
        inspect(&formats::builtin(), &set, Split::Train),
        &["looked for b.png"],
    );

    write(at("train.csv"), "path,label\na.png,cat\na.png,dog\n");
    write(at("test.csv"), "path,label\na.png,dog\n");
    assert_eq!(test(&set).unwrap().label(0), 1);
    write(at("test.csv"), "path,label\na.png,dog\na.png,cow\n");
    check_error(
        test(&set),
        &[
            "test.csv",
            "row 1",
            "a class of the training data: cat, dog",
            "found cow",
        ],
    );

    let mut named = set.clone();
    named.columns = columns(Some("file"), None);
    check_error(
        train(&named),
        &[
            "`file`, the column of images that dataset.columns.image names",
            "found path, label",
        ],
    );
    named.columns.as_mut().unwrap().test_label = Some("x".into());
    check_error(train(&named), &["dataset.columns.test_label"]);
}

/// A device has no end, and a pipe may have no beginning.
#[cfg(unix)]
#[test]
fn a_table_that_names_what_is_no_file() {
    let folder = TempDir::new().unwrap();
    for path in ["/dev/zero", "."] {
        write(
            folder.path().join("train.csv"),
            format!("path,label\n{path},0\n"),
        );
        let set = settings("csv", folder.path(), 2, 1, [2, 2]);
        check_error(
            inspect(&formats::builtin(), &set, Split::Train),
            &["at its kind: expected a file", "a device"],
        );
        check_error(train(&set).unwrap().image(0), &["expected a file"]);
    }
}

#[test]
fn a_table_may_be_the_path_itself() {
    let folder = TempDir::new().unwrap();
    write(folder.path().join("all/a.png"), png(flat_grey(2, 2, 1)));
    // Excel begins a table with a mark, and separates as the country does.
    write(
        folder.path().join("all/list.csv"),
        "\u{feff}Image,Label\na.png,0\n",
    );
    write(
        folder.path().join("all/test_1.csv"),
        "image,label\na.png,1\n",
    );
    let set = settings("csv", folder.path().join("all/list.csv"), 2, 1, [2, 2]);
    assert_eq!(train(&set).unwrap().len(), 1);
    assert_eq!(test(&set).unwrap().label(0), 1);
}

#[test]
fn pictures_of_a_table_that_cannot_be_read() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(at("a.png"), png(flat_grey(2, 2, 1)));
    write(at("b.png"), b"no picture");
    write(at("train.csv"), "path,label\na.png,0\nb.png,1\n");
    let mut set = settings("csv", folder.path(), 2, 1, [2, 2]);
    check_error(
        inspect(&formats::builtin(), &set, Split::Train),
        &["b.png'", "on_damaged"],
    );
    set.on_damaged = OnDamaged::Skip;
    let found = inspect(&formats::builtin(), &set, Split::Train).unwrap();
    assert_eq!(
        (found.images, found.left_out, found.per_class),
        (1, 1, vec![1, 0])
    );
    assert!(
        found.notes[0].contains("1 of 2 pictures of the training data were left out")
            && found.notes[0].contains("b.png")
    );
}

#[test]
fn an_archive_says_what_is_wrong_with_it() {
    let folder = TempDir::new().unwrap();
    let shard = folder.path().join("train-0.tar");
    let set = settings("webdataset", folder.path(), 2, 1, [2, 2]);
    let picture = png(flat_grey(2, 2, 1));
    let whole = tar(&[
        ("a.png", &picture),
        ("a.cls", b"0"),
        ("b/c.PNG", &picture),
        ("b/c.cls", b"1\n"),
        ("README", b"?"),
    ]);
    write(&shard, &whole);
    let data = train(&set).unwrap();
    assert_eq!((data.len(), data.label(1)), (2, 1));
    assert_eq!(&*data.image(1).unwrap().pixels, [1; 4]);

    for (members, parts) in [
        (
            &[("a.png", &picture[..])][..],
            &[
                "at a:",
                "a label: .cls, or .json with the key `label`",
                "dataset.columns",
            ][..],
        ),
        (&[("a.cls", b"0")], &["at a:", "a picture beside its label"]),
        (
            &[("a.png", &picture), ("a.jpg", &picture), ("a.cls", b"0")],
            &["one picture", "`a.jpg`"],
        ),
        (
            &[("a.png", &picture), ("a.cls", b"0"), ("a.cls", b"1")],
            &["at a.cls", "each member once"],
        ),
        (
            &[("a.png", &picture), ("a.cls", b"\xff")],
            &["at a.cls", "UTF-8"],
        ),
        (
            &[("a.png", &picture), ("a.cls", b"7")],
            &["at a.png", "a label in 0..2", "found 7"],
        ),
        (
            &[("a.png", &picture), ("a.json", b"{")],
            &["at a.json", "JSON"],
        ),
        (
            &[("a.png", &picture), ("a.json", br#"{"label": [1]}"#)],
            &["at a.json", "a number or a text under `label`"],
        ),
        (
            &[("a.png", &picture), ("a.json", br#"{"class": 1}"#)],
            &["at a:", "a label"],
        ),
    ] {
        write(&shard, tar(members));
        check_error(train(&set), parts);
    }
    write(&shard, [&whole[..], &whole[..]].concat());
    check_error(
        train(&set),
        &["of archives that were joined only the first would be read"],
    );
    write(&shard, gzip(&whole));
    check_error(train(&set), &["train-0.tar'", "not compressed", "gunzip"]);
    fs::rename(&shard, folder.path().join("train-0.tar.gz")).unwrap();
    check_error(train(&set), &["train-0.tar.gz'", "gunzip"]);
}

#[test]
fn shards_by_their_numbers() {
    let folder = TempDir::new().unwrap();
    let picture = png(flat_grey(2, 2, 1));
    for shard in [0, 1, 2] {
        let whole = tar(&[("a.png", &picture), ("a.cls", b"1")]);
        write(folder.path().join(format!("s-00{shard}.tar")), whole);
    }
    let mut set = settings("webdataset", folder.path(), 2, 1, [2, 2]);
    set.train = Some("s-{000..002}.tar".into());
    assert_eq!(train(&set).unwrap().len(), 3);
    // One that is missing is not passed over.
    set.train = Some("s-{000..003}.tar".into());
    check_error(train(&set), &["s-003.tar"]);
    let found = files::of_part(&set, Split::Train, &[]);
    check_error(found, &["s-003.tar"]);
}

#[test]
fn pictures_of_an_archive_that_cannot_be_read() {
    let folder = TempDir::new().unwrap();
    let picture = png(flat_grey(2, 2, 1));
    let cut = &picture[..picture.len() - 20];
    let whole = tar(&[
        ("a.png", &picture),
        ("a.cls", b"0"),
        ("b.png", cut),
        ("b.cls", b"1"),
    ]);
    write(folder.path().join("train.tar"), whole);
    let mut set = settings("webdataset", folder.path(), 2, 1, [2, 2]);
    check_error(
        inspect(&formats::builtin(), &set, Split::Train),
        &["train.tar'", "at b.png", "on_damaged"],
    );
    set.on_damaged = OnDamaged::Skip;
    let found = inspect(&formats::builtin(), &set, Split::Train).unwrap();
    assert_eq!((found.images, found.left_out), (1, 1));
    assert!(
        found.notes[0].contains("train.tar b.png"),
        "{:?}",
        found.notes
    );
    // The digest is of what is there: names, labels and bytes.
    let digest = |bytes: &[u8], label: &[u8]| {
        let whole = tar(&[("a.png", bytes), ("a.cls", label)]);
        write(folder.path().join("train.tar"), whole);
        inspect(&formats::builtin(), &set, Split::Train)
            .unwrap()
            .digest
    };
    let one = digest(&picture, b"0");
    assert_eq!(one, digest(&picture, b"0"));
    assert_ne!(one, digest(&picture, b"1"));
    assert_ne!(one, digest(&png(flat_grey(2, 2, 2)), b"0"));
}

/// A table whose fitted pictures would take more than a gibibyte is kept as it is encoded, and is the same data.
#[test]
fn a_table_that_is_too_large_for_memory() {
    let folder = TempDir::new().unwrap();
    let rows: Vec<_> = (0..9000)
        .map(|i| (Some(png(flat_grey(3, 3, (i % 256) as u8))), i % 3))
        .collect();
    write(
        folder.path().join("train.parquet"),
        table_with_labels("label", &rows, None),
    );
    let mut set = settings("parquet", folder.path(), 3, 3, [250, 250]);
    let data = train(&set).unwrap();
    assert_eq!((data.len(), data.label(8000)), (9000, 2));
    let image = data.image(8000).unwrap();
    assert_eq!((image.height, image.width), (250, 250));
    assert_eq!(image.pixels.iter().max(), Some(&((8000 % 256) as u8)));
    // Nothing is left beside the table.
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    set.size = [2, 2];
    let small = train(&set).unwrap();
    assert_eq!(small.image(8000).unwrap().pixels[0], (8000 % 256) as u8);
}
