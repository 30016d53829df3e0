//! How often a model is right, about data whose pictures and labels are made so that the answer is known.

use archai_data::{Dataset, InMemory, transforms};
use archai_export::testing::brightness;
use archai_predict::{Classifier, Evaluation, PredictError};
use archai_spec::desc::OpCatalog;
use archai_spec::settings;

const NAMES: [&str; 3] = ["night", "dusk", "day"];

fn model(names: &[&str]) -> Classifier {
    let model = brightness(names, [1, 4, 4]);
    Classifier::new(model, &OpCatalog::builtin(), &transforms::builtin()).unwrap()
}

fn section(model: &Classifier) -> settings::Dataset {
    settings::Dataset {
        name: "hours".into(),
        // Of no meaning for what is measured: the model's count.
        mean: vec![0.1],
        std: vec![0.9],
        ..model.info().dataset()
    }
}

/// Pictures of one brightness each, with their labels.
fn data(names: &[&str], n_classes: usize, pictures: &[(u8, u32)]) -> InMemory {
    let pixels = pictures
        .iter()
        .flat_map(|(level, _)| [*level; 16])
        .collect();
    let labels = pictures.iter().map(|(_, label)| *label).collect();
    let data = InMemory::new("hours", n_classes, [1, 4, 4], pixels, labels).unwrap();
    match names {
        [] => data,
        names => data
            .with_class_names(names.iter().map(|n| n.to_string()).collect())
            .unwrap(),
    }
}

fn evaluate(model: &Classifier, data: &dyn Dataset) -> Result<Evaluation, PredictError> {
    let mut done = Vec::new();
    let evaluation = model.evaluate(&section(model), data, 4, &mut |n| done.push(n))?;
    assert_eq!(done.last(), Some(&data.len()));
    assert_eq!(done.len(), data.len().div_ceil(4));
    Ok(evaluation)
}

#[test]
fn every_picture_is_counted_where_it_belongs() {
    let model = model(&NAMES);
    // Labels are those of the data: day is 0 there.
    let pictures = [
        (255, 0),
        (250, 0),
        (0, 1),
        (10, 1),
        (128, 1),
        (120, 2),
        (0, 2),
        (255, 2),
        (128, 2),
    ];
    let data = data(&["day", "night", "dusk"], 3, &pictures);
    let found = evaluate(&model, &data).unwrap();
    assert_eq!(found.class_names, NAMES);
    assert_eq!(found.confusion, [[2, 1, 0], [1, 2, 1], [0, 0, 2]]);
    assert_eq!((found.correct(), found.pictures()), (6, 9));
    assert_eq!(found.top1(), 6.0 / 9.0);
    assert_eq!(found.top5(), None, "there are three classes");
    assert_eq!(
        found.per_class().collect::<Vec<_>>(),
        [(3, 2), (4, 2), (2, 2)]
    );
    assert!(!found.by_number);
}

#[test]
fn the_loss_is_the_cross_entropy() {
    let model = model(&["night", "day"]);
    // Of a black picture the other class has 100 less.
    let found = evaluate(&model, &data(&["night", "day"], 2, &[(0, 1)])).unwrap();
    assert!((found.loss - 100.0).abs() < 1e-2, "{}", found.loss);
    let found = evaluate(&model, &data(&["night", "day"], 2, &[(0, 0), (255, 1)])).unwrap();
    assert!(found.loss < 1e-6, "{}", found.loss);
}

#[test]
fn five_guesses_count_where_there_are_more_classes() {
    let names = ["0", "1", "2", "3", "4", "5", "6"];
    let model = model(&names);
    // Of black pictures the five most likely classes are the five darkest.
    let found = evaluate(&model, &data(&names, 7, &[(0, 0), (0, 4), (0, 5), (0, 6)])).unwrap();
    assert_eq!((found.within_five, found.correct()), (Some(2), 1));
    assert_eq!(found.top5(), Some(0.5));
}

#[test]
fn data_of_another_kind_are_refused() {
    let model = model(&NAMES);
    let refused = |data: &InMemory, expected: &[&str]| {
        let error = evaluate(&model, data).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{part:?} is missing in:\n{error}");
        }
    };
    refused(
        &data(&["night", "dawn", "day"], 3, &[(0, 0)]),
        &[
            "the model has 3 classes: night, dusk, day",
            "the data have 3 classes: night, dawn, day",
            "only the model has: dusk",
            "only the data have: dawn",
        ],
    );
    refused(
        &data(&["night", "day"], 2, &[(0, 0)]),
        &[
            "2 classes: night, day",
            "only the model has: dusk",
            "only the data have: none",
        ],
    );
    refused(
        &data(&[], 4, &[(0, 0)]),
        &["the data have 4 classes without names"],
    );
    refused(
        &data(&["night", "day", "day"], 3, &[(0, 0)]),
        &["only the model has: dusk"],
    );
    refused(&data(&NAMES, 3, &[]), &["no picture"]);

    for (channels, size, expected) in [
        (3, [4, 4], "as 3x4x4 (channels, height, width)"),
        (1, [8, 4], "as 1x8x4 (channels, height, width)"),
    ] {
        let section = settings::Dataset {
            channels,
            size,
            ..section(&model)
        };
        let data = data(&NAMES, 3, &[(0, 0)]);
        let error = model
            .evaluate(&section, &data, 4, &mut |_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the model takes pictures of 1x4x4"),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn classes_without_names_are_told_apart_by_numbers() {
    let named = model(&NAMES);
    let found = evaluate(&named, &data(&[], 3, &[(0, 0), (255, 2), (255, 0)])).unwrap();
    assert_eq!((found.correct(), found.by_number), (2, true));
}

#[test]
fn eight_bits_are_compared_on_the_same_pictures() {
    let model = model(&NAMES);
    let class = |level: u8| u32::from(level > 63) + u32::from(level > 191);
    let pictures: Vec<(u8, u32)> = (0..=255).map(|level| (level, class(level))).collect();
    let data = data(&NAMES, 3, &pictures);
    let section = section(&model);
    let file = brightness(&NAMES, [1, 4, 4]);
    let catalog = OpCatalog::builtin();
    let quantised = model.quantise(&file, &catalog, &section, &data, 64);
    let quantised = quantised.unwrap();
    assert_eq!(quantised.n_images, 64);
    let mut done = 0;
    let compared = model.compare(&quantised, &section, &data, 100, &mut |n| done = n);
    let compared = compared.unwrap();
    let pictures = [&compared.before, &compared.after].map(Evaluation::pictures);
    assert_eq!((pictures, done), ([100, 100], 100));
    assert_eq!(compared.before.top1(), 1.0);
    // Those at the borders alone may change sides.
    assert!(compared.after.top1() >= 0.97, "{}", compared.after.top1());

    let other = settings::Dataset {
        size: [8, 8],
        ..section
    };
    let error = model
        .quantise(&file, &catalog, &other, &data, 64)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the model takes pictures of 1x4x4"),
        "{error}"
    );
}
