//! Which files of a folder are pictures.

use std::path::PathBuf;

use archai_predict::Pictures;
use image::{GrayImage, ImageFormat, Luma};

#[test]
fn a_folder_is_searched_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let image = GrayImage::from_pixel(2, 2, Luma([1]));
    for name in [
        "b.png",
        "a/2.PNG",
        "a/1.png",
        "without_ending",
        ".hidden.png",
    ] {
        image
            .save_with_format(path(name), ImageFormat::Png)
            .unwrap();
    }
    // Who puts a picture there that cannot be read wants to know.
    for (name, text) in [
        ("a/broken.jpg", ""),
        ("film.gif", "GIF89a"),
        ("labels.txt", "x"),
        ("empty", ""),
    ] {
        std::fs::write(path(name), text).unwrap();
    }
    let found = Pictures::find(&[dir.path()]).unwrap();
    let expected = [
        "a/1.png",
        "a/2.PNG",
        "a/broken.jpg",
        "b.png",
        "film.gif",
        "without_ending",
    ];
    assert_eq!(found.files, expected.map(path));
    assert_eq!(found.others, 2);

    // Files that are named are taken in their order, whatever they are.
    let named = [path("labels.txt"), path("a"), path("b.png")];
    let found = Pictures::find(&named).unwrap();
    let expected = ["labels.txt", "a/1.png", "a/2.PNG", "a/broken.jpg", "b.png"];
    assert_eq!(found.files, expected.map(path));

    let empty = path("none/x").parent().unwrap().to_owned();
    for (place, expected) in [(path("nowhere"), "cannot read"), (empty, "found no file")] {
        let error = Pictures::find(&[place]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    std::fs::write(path("none/readme.md"), "x").unwrap();
    let error = Pictures::find(&[path("none")]).unwrap_err().to_string();
    assert!(error.contains("found 1 other files"), "{error}");
    assert_eq!(Pictures::find::<PathBuf>(&[]).unwrap(), Pictures::default());
}

#[cfg(unix)]
#[test]
fn a_loop_of_links_ends() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
    let error = Pictures::find(&[dir.path()]).unwrap_err().to_string();
    assert!(error.contains("a loop of links"), "{error}");
}
