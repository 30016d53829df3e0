//! What a model says of pictures whose brightness is known, in whatever form they come.

use std::path::PathBuf;

use archai_data::{DataError, Image, transforms};
use archai_export::testing::{brightness, bytes, write_brightness};
use archai_predict::{Classifier, ModelFileErrorKind, PredictError, load, read_picture};
use archai_spec::desc::OpCatalog;
use archai_spec::settings::{Pictures, Resize};
use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

const NAMES: [&str; 3] = ["night", "dusk", "day"];

fn model(shape: [usize; 3]) -> Classifier {
    let catalog = OpCatalog::builtin();
    Classifier::new(brightness(&NAMES, shape), &catalog, &transforms::builtin()).unwrap()
}

/// One colour everywhere.
fn flat(channels: usize, height: usize, width: usize, level: u8) -> Image<'static> {
    Image {
        pixels: vec![level; channels * height * width].into(),
        channels,
        height,
        width,
    }
}

#[test]
fn a_picture_is_prepared_as_the_model_says() {
    for shape in [[1, 8, 8], [3, 8, 6]] {
        let model = model(shape);
        let [c, h, w] = shape;
        for (level, name) in [
            (0, "night"),
            (60, "night"),
            (68, "dusk"),
            (187, "dusk"),
            (195, "day"),
        ] {
            // Without normalisation, or with that of another model, these would be other classes.
            let prediction = model.predict(&flat(c, h, w, level)).unwrap();
            assert_eq!(prediction.best().name, name, "{shape:?} {level}");
            // Channels are repeated or averaged, larger pictures scaled down.
            let prediction = model.predict(&flat(4 - c, 3 * h, 2 * w, level)).unwrap();
            assert_eq!(prediction.best().name, name, "{shape:?} {level}");
        }
        // The logits are those that the network's weights were made for: 2·100·centre·brightness - 100·centre².
        let prediction = model.predict(&flat(c, h, w, 51)).unwrap();
        for (logit, expected) in prediction
            .logits()
            .iter()
            .zip([0.0, 20.0 - 25.0, 40.0 - 100.0])
        {
            assert!((logit - expected).abs() < 1e-3, "{:?}", prediction.logits());
        }
        // A smaller picture is padded with black: three quarters of it here.
        let prediction = model.predict(&flat(c, h / 2, w / 2, 255)).unwrap();
        let [night, dusk, _] = prediction.logits() else {
            panic!("three classes")
        };
        assert!((night - dusk).abs() < 1e-3, "on the border: {night} {dusk}");
    }
}

#[test]
fn files_of_every_kind_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let wide = image::ImageBuffer::from_pixel(8, 8, Rgb([64_000; 3]));
    let images: [(&str, DynamicImage); 6] = [
        ("grey.png", GrayImage::from_pixel(9, 7, Luma([250])).into()),
        ("rgb.png", RgbImage::from_pixel(9, 9, Rgb([250; 3])).into()),
        // What is transparent counts with the colour that it has.
        (
            "rgba.png",
            RgbaImage::from_pixel(9, 9, Rgba([250, 250, 250, 0])).into(),
        ),
        (
            "alpha.png",
            GrayAlphaImage::from_pixel(8, 8, LumaA([250, 3])).into(),
        ),
        (
            "rgb.jpg",
            RgbImage::from_pixel(32, 16, Rgb([250; 3])).into(),
        ),
        ("wide.png", DynamicImage::ImageRgb16(wide)),
    ];
    let mut files: Vec<PathBuf> = Vec::new();
    for (name, image) in images {
        image.save(path(name)).unwrap();
        files.push(path(name));
    }
    let model = model([3, 8, 8]);
    for (file, prediction) in files.iter().zip(model.predict_files(&files).unwrap()) {
        let prediction = prediction.unwrap();
        assert_eq!(prediction.best().name, "day", "{}", file.display());
        // One by one it is the same.
        let image = read_picture(file).unwrap();
        assert_eq!(model.predict(&image).unwrap(), prediction);
    }

    // What cannot be read has an error in its place, and keeps nothing else back.
    std::fs::write(path("text.png"), "no picture").unwrap();
    let whole = std::fs::read(path("rgb.png")).unwrap();
    std::fs::write(path("half.png"), &whole[..whole.len() / 2]).unwrap();
    files.insert(1, path("text.png"));
    files.insert(3, path("nowhere.png"));
    files.push(path("half.png"));
    let predictions = model.predict_files(&files).unwrap();
    for (file, prediction) in files.iter().zip(&predictions) {
        let name = file.file_name().unwrap().to_str().unwrap();
        match (name, prediction) {
            ("text.png" | "half.png", Err(DataError::Malformed { path, .. })) => {
                assert_eq!(path, file);
            }
            ("nowhere.png", Err(DataError::Io { path, .. })) => assert_eq!(path, file),
            (_, Ok(prediction)) => assert_eq!(prediction.best().name, "day", "{name}"),
            (_, Err(error)) => panic!("{name}: {error}"),
        }
    }
    assert_eq!(predictions.iter().filter(|p| p.is_err()).count(), 3);
    assert_eq!(model.predict_files::<PathBuf>(&[]).unwrap().len(), 0);
}

#[test]
fn batches_and_threads_change_nothing() {
    let model = model([1, 8, 8]);
    let images: Vec<_> = (0..40).map(|i| flat(1, 8, 8, 6 * i)).collect();
    let together = model.predict_batch(&images).unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    assert_eq!(
        pool.install(|| model.predict_batch(&images)).unwrap(),
        together
    );
    for (image, expected) in images.iter().zip(&together) {
        assert_eq!(&model.predict(image).unwrap(), expected);
    }
}

#[test]
fn what_is_no_image_is_an_error() {
    let image = Image {
        pixels: vec![0; 5].into(),
        ..flat(1, 2, 2, 0)
    };
    let error = model([1, 8, 8]).predict(&image).unwrap_err().to_string();
    assert!(
        error.contains("5 bytes for 1 channels of 2 x 2 pixels"),
        "{error}"
    );
}

#[test]
fn a_file_or_a_folder_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let error = load(dir.path()).unwrap_err();
    let PredictError::Model(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.kind, ModelFileErrorKind::Absent);
    let file = dir.path().join("model.safetensors");
    write_brightness(&file, &NAMES, [1, 4, 4]).unwrap();
    for place in [dir.path(), &file] {
        let model = load(place).unwrap();
        assert_eq!(model.class_names(), NAMES);
        assert_eq!(model.predict(&flat(1, 4, 4, 255)).unwrap().best().class, 2);
    }
    let mut broken = brightness(&NAMES, [1, 4, 4]);
    broken.state.remove(0);
    std::fs::write(&file, bytes(&broken).unwrap()).unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("model.safetensors`"), "{error}");
    assert!(error.contains("`stem.conv1.weight` is missing"), "{error}");
}

#[test]
fn weights_that_are_no_numbers_are_told() {
    let mut broken = brightness(&NAMES, [1, 4, 4]);
    broken.state[0].values[4] = f64::NAN;
    let model = Classifier::new(broken, &OpCatalog::builtin(), &transforms::builtin()).unwrap();
    let error = model.predict(&flat(1, 4, 4, 9)).unwrap_err();
    assert!(matches!(error, PredictError::NotFinite), "{error}");
}

#[test]
fn a_transform_that_is_not_known_is_told() {
    let mut model = brightness(&NAMES, [1, 4, 4]);
    model.info.transforms.push("sharpen".into());
    let error = Classifier::new(model, &OpCatalog::builtin(), &transforms::builtin());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("dataset.transforms") && error.contains("sharpen"),
        "{error}"
    );
}

#[test]
fn classes_can_be_named_afterwards() {
    let mut unnamed = brightness(&NAMES, [1, 4, 4]);
    unnamed.info.class_names.clear();
    let new = || {
        Classifier::new(
            unnamed.clone(),
            &OpCatalog::builtin(),
            &transforms::builtin(),
        )
    };
    let model = new().unwrap();
    assert_eq!(model.class_names(), ["0", "1", "2"]);
    let names = ["a", "b", "c"].map(String::from).to_vec();
    let model = model.with_class_names(names).unwrap();
    assert_eq!(model.predict(&flat(1, 4, 4, 255)).unwrap().best().name, "c");
    let error = new()
        .unwrap()
        .with_class_names(vec!["a".into()])
        .unwrap_err()
        .to_string();
    assert!(error.contains("1 names for 3 classes"), "{error}");
}

#[test]
fn a_model_file_keeps_how_pictures_get_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // Nothing but transparency, with black below it.
    RgbaImage::new(9, 9).save(path("nothing.png")).unwrap();
    // Bright in the middle alone, which a crop keeps and what is padded does not.
    let middle = |x: u32, _| Rgb([if (20..28).contains(&x) { 250 } else { 0 }; 3]);
    let wide = RgbImage::from_fn(48, 8, middle);
    wide.save(path("wide.png")).unwrap();
    let check = |pictures: Pictures, expect: [&str; 2]| {
        let mut model = brightness(&NAMES, [3, 8, 8]);
        model.info.pictures = pictures;
        std::fs::write(path("model.safetensors"), bytes(&model).unwrap()).unwrap();
        let model = load(path("model.safetensors")).unwrap();
        assert_eq!(model.info().pictures, pictures);
        for (name, expect) in ["nothing.png", "wide.png"].into_iter().zip(expect) {
            let files = [path(name)];
            let together = model.predict_files(&files).unwrap().remove(0).unwrap();
            assert_eq!(together.best().name, expect, "{name} {pictures:?}");
            let image = model.read(path(name)).unwrap();
            assert_eq!(model.predict(&image).unwrap(), together);
        }
    };
    let plain = Pictures::default();
    check(plain, ["night", "night"]);
    let background = Some([255; 3]);
    check(
        Pictures {
            background,
            ..plain
        },
        ["day", "night"],
    );
    let resize = Resize::Crop;
    check(Pictures { resize, ..plain }, ["night", "day"]);
    let resize = Resize::Pad;
    check(Pictures { resize, ..plain }, ["night", "night"]);
    check(
        Pictures {
            resize,
            background,
            ..plain
        },
        ["day", "day"],
    );
}
