use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use archai_data::rng::Key;
use archai_data::{Batch, DataError, Dataset, Image, InMemory, Loader, Pipeline, transforms};
use archai_spec::settings;

use crate::fixtures::{self, check_error, random};

const SHAPE: [usize; 3] = [3, 8, 8];

fn data_set() -> settings::Dataset {
    fixtures::settings("idx", "", 10, SHAPE[0], [SHAPE[1], SHAPE[2]])
}

fn plain() -> Pipeline {
    Pipeline::test(&data_set(), &transforms::builtin()).unwrap()
}

fn augmented() -> Pipeline {
    let mut set = data_set();
    (set.crop_padding, set.flip) = (2, true);
    Pipeline::train(&set, 3, &transforms::builtin()).unwrap()
}

/// 103 images in batches of 10.
fn shuffled() -> Loader {
    Loader::new(Arc::new(random(103, 10, SHAPE)), augmented(), 10)
        .shuffled(Key::new(2).with("train"))
}

fn all(batches: impl Iterator<Item = Result<Batch, DataError>>) -> Vec<Batch> {
    batches.map(Result::unwrap).collect()
}

#[test]
fn the_same_bytes_for_any_number_of_workers() {
    let loader = shuffled();
    assert_eq!(
        (loader.n_images(), loader.n_batches(), loader.batch_size()),
        (103, 11, 10)
    );
    for epoch in [0, 1, 7] {
        let expect = all(loader.epoch(epoch));
        assert_eq!(expect.len(), 11);
        assert_eq!(expect[10].shape, [3, 3, 8, 8]);
        for workers in [1, 2, 4, 20] {
            let loader = loader.clone().with_workers(workers);
            assert_eq!(all(loader.epoch(epoch)), expect);
            for first in [0, 4, 10, 11, 12] {
                assert_eq!(
                    all(loader.epoch_from(epoch, first)),
                    expect[first.min(11)..]
                );
            }
        }
        for (step, batch) in expect.iter().enumerate() {
            assert_eq!(loader.batch_at(epoch, step).unwrap(), *batch);
        }
    }
    check_error(loader.batch_at(0, 11), &["11 batches", "no batch 11"]);
}

#[test]
fn cycles_go_on_where_they_stopped() {
    let loader = shuffled();
    let expect: Vec<Batch> = (0..3).flat_map(|epoch| all(loader.epoch(epoch))).collect();
    for workers in [0, 1, 3] {
        let loader = loader.clone().with_workers(workers);
        for counter in [0, 1, 10, 11, 25] {
            let batches = all(loader.cycle_from(counter).take(33 - counter as usize));
            assert_eq!(batches, expect[counter as usize..]);
        }
    }
}

#[test]
fn every_image_once_per_epoch_in_a_fresh_order() {
    // Each image is of one colour, which names it.
    let n = 50u8;
    let pixels = (0..n).flat_map(|i| [i; 192]).collect();
    let data = InMemory::new("numbered", 50, SHAPE, pixels, (0..50).collect()).unwrap();
    let (mut orders, plain) = (Vec::new(), plain());
    for seed in [1, 2] {
        let loader = Loader::new(Arc::new(data.clone()), plain.clone(), 8).shuffled(Key::new(seed));
        for epoch in 0..3 {
            let batches = all(loader.epoch(epoch));
            let order: Vec<i64> = batches
                .iter()
                .flat_map(|batch| batch.labels.clone())
                .collect();
            let shown: Vec<i64> = batches
                .iter()
                .flat_map(|batch| {
                    batch
                        .images
                        .chunks(192)
                        .map(|image| (image[0] * 255.0).round() as i64)
                })
                .collect();
            assert_eq!(order, shown, "images and labels stay together");
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..50));
            assert!(!orders.contains(&order));
            orders.push(order);
        }
    }
    // Unshuffled, and of a part.
    let loader = Loader::new(Arc::new(data), plain, 8).with_items(vec![3, 40, 7]);
    assert_eq!(loader.items(), [3, 40, 7]);
    for epoch in 0..2 {
        assert_eq!(all(loader.epoch(epoch))[0].labels, [3, 40, 7]);
    }
}

#[test]
fn augmentation_belongs_to_image_and_epoch_not_to_its_place() {
    let data: Arc<dyn Dataset> = Arc::new(random(20, 10, SHAPE));
    let key = Key::new(9);
    let find = |items: Vec<usize>, epoch| {
        let loader = Loader::new(Arc::clone(&data), augmented(), 4)
            .with_items(items)
            .shuffled(key);
        let mut images: Vec<Vec<f32>> = all(loader.epoch(epoch))
            .iter()
            .flat_map(|batch| {
                batch
                    .images
                    .chunks(192)
                    .map(<[f32]>::to_vec)
                    .collect::<Vec<_>>()
            })
            .collect();
        images.sort_by(|a, b| a.partial_cmp(b).unwrap());
        images
    };
    let (whole, part) = (find((0..20).collect(), 3), find((5..15).collect(), 3));
    assert!(part.iter().all(|image| whole.contains(image)));
    assert!(
        find((5..15).collect(), 4)
            .iter()
            .any(|image| !whole.contains(image))
    );
}

/// Counts what is asked of it.
struct Counting {
    inner: InMemory,
    asked: Arc<AtomicUsize>,
    bad: Option<usize>,
    panics: bool,
}

impl Dataset for Counting {
    fn name(&self) -> &str {
        "counting"
    }
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn n_classes(&self) -> usize {
        self.inner.n_classes()
    }
    fn label(&self, index: usize) -> u32 {
        self.inner.label(index)
    }
    fn image(&self, index: usize) -> Result<Image<'_>, DataError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.bad == Some(index) {
            assert!(!self.panics, "image {index} is bad");
            return Err(DataError::Setting {
                key: "image".into(),
                problem: format!("{index} is bad"),
            });
        }
        self.inner.image(index)
    }
}

fn counting(bad: Option<usize>, panics: bool) -> (Loader, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let data = Counting {
        inner: random(100, 10, SHAPE),
        asked: Arc::clone(&asked),
        bad,
        panics,
    };
    (Loader::new(Arc::new(data), augmented(), 1), asked)
}

#[test]
fn workers_stay_a_bounded_distance_ahead() {
    for workers in [1usize, 3] {
        let (loader, asked) = counting(None, false);
        let mut batches = loader.with_workers(workers).epoch(0);
        for taken in 0..5 {
            let expect = taken + workers + 1;
            let patience = Instant::now() + Duration::from_secs(20);
            while asked.load(Ordering::SeqCst) < expect && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Time enough for a worker that would run further ahead.
            std::thread::sleep(Duration::from_millis(10));
            assert_eq!(asked.load(Ordering::SeqCst), expect);
            assert!(batches.next().is_some());
        }
    }
}

#[test]
fn dropping_early_stops_the_workers() {
    for workers in [1, 4] {
        for taken in [0, 1, 50, 99] {
            let (loader, asked) = counting(None, false);
            let mut batches = loader.with_workers(workers).cycle_from(0);
            batches
                .by_ref()
                .take(taken)
                .for_each(|batch| drop(batch.unwrap()));
            drop(batches);
            let after = asked.load(Ordering::SeqCst);
            assert!(after <= taken + workers + 1);
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(asked.load(Ordering::SeqCst), after);
        }
    }
}

#[test]
fn an_error_comes_in_its_place_and_ends_the_batches() {
    for workers in [0, 1, 4] {
        let (loader, _) = counting(Some(7), false);
        let mut batches = loader.with_workers(workers).epoch(0);
        for _ in 0..7 {
            batches.next().unwrap().unwrap();
        }
        check_error(batches.next().unwrap(), &["image: 7 is bad"]);
        assert!(batches.next().is_none());
    }
}

#[test]
fn a_panic_in_a_data_set_reaches_the_consumer() {
    for workers in [0, 1, 4] {
        let (loader, _) = counting(Some(7), true);
        let result = std::thread::spawn(move || all(loader.with_workers(workers).epoch(0))).join();
        let message = *result.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("image 7 is bad"), "{message}");
    }
}

#[test]
fn no_images_give_no_batches() {
    let data = InMemory::new("empty", 10, SHAPE, vec![], vec![]).unwrap();
    let loader = Loader::new(Arc::new(data), augmented(), 8)
        .shuffled(Key::new(1))
        .with_workers(2);
    assert_eq!((loader.n_images(), loader.n_batches()), (0, 0));
    assert!(loader.epoch(0).next().is_none());
    assert!(loader.cycle_from(5).next().is_none());
    check_error(loader.batch_at(0, 0), &["0 batches"]);
}

#[test]
fn in_memory_data_is_checked() {
    check_error(
        InMemory::new("x", 2, [1, 2, 2], vec![0; 7], vec![0, 1]),
        &["2 labels", "7 bytes"],
    );
    check_error(
        InMemory::new("x", 2, [1, 2, 2], vec![0; 8], vec![0, 2]),
        &["label 2 is not below n_classes = 2"],
    );
}
