//! Dividing images so that every part has all classes in their proportions.

use crate::rng::Key;

/// Divides the items into two parts, of which the first gets `n` (or all, if there are fewer). Both are in ascending
/// order.
///
/// Each class is divided in proportion, rounded by the largest remainder. Beyond that, each part has at least one item of
/// every class wherever that can be: where the class has two and the part has room for all classes. Which items go where
/// is a function of `key`.
pub fn stratified(labels: &[u32], n: usize, key: Key) -> (Vec<usize>, Vec<usize>) {
    let n = n.min(labels.len());
    let mut classes: Vec<Vec<usize>> =
        vec![Vec::new(); labels.iter().max().map_or(0, |&max| max as usize + 1)];
    for (item, &label) in labels.iter().enumerate() {
        classes[label as usize].push(item);
    }
    classes.retain(|items| !items.is_empty());

    let sizes: Vec<usize> = classes.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..classes.len()).collect();
    key.with("ties").rng().shuffle(&mut order);
    let counts = apportion(&sizes, n, &order);

    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (class, (mut items, count)) in classes.into_iter().zip(counts).enumerate() {
        key.with("class").with(class).rng().shuffle(&mut items);
        first.extend(&items[..count]);
        second.extend(&items[count..]);
    }
    first.sort_unstable();
    second.sort_unstable();
    (first, second)
}

/// How many of each class go to the first part. `order` decides between equal remainders.
fn apportion(sizes: &[usize], n: usize, order: &[usize]) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let (least, most) = bounds(sizes, n, total);
    // The excess of a count over its exact share, times `total`: whole numbers, so that ties are ties.
    let excess = |class: usize, count: usize| {
        count as i128 * total as i128 - n as i128 * sizes[class] as i128
    };
    let mut counts: Vec<usize> = (0..sizes.len())
        .map(|class| {
            let share = (n as u128 * sizes[class] as u128 / total as u128) as usize;
            share.clamp(least[class], most[class])
        })
        .collect();
    let mut sum: usize = counts.iter().sum();
    while sum < n {
        let open = order
            .iter()
            .copied()
            .filter(|&class| counts[class] < most[class]);
        let Some(class) = open.min_by_key(|&class| excess(class, counts[class])) else {
            break;
        };
        counts[class] += 1;
        sum += 1;
    }
    while sum > n {
        let open = order
            .iter()
            .copied()
            .filter(|&class| counts[class] > least[class]);
        let Some(class) = open.max_by_key(|&class| excess(class, counts[class])) else {
            break;
        };
        counts[class] -= 1;
        sum -= 1;
    }
    counts
}

/// The least and the most of each class that the first part may have. They always leave room for exactly `n`.
fn bounds(sizes: &[usize], n: usize, total: usize) -> (Vec<usize>, Vec<usize>) {
    let splittable = sizes.iter().filter(|&&size| size > 1).count();
    let (room_first, room_second) = (n >= splittable, total - n >= splittable);
    sizes
        .iter()
        .map(|&size| {
            let both = size > 1;
            (
                usize::from(both && room_first),
                size - usize::from(both && room_second),
            )
        })
        .unzip()
}

/// How many of `n` training images are set apart for validation: the smallest number whose share is at least `ratio`.
pub fn n_validation(n: usize, ratio: f64) -> usize {
    // Without the small step back, 0.1 · 30 would come out as 4: the product is rounded up to just above 3.
    ((n as f64 * ratio - 1e-9 * n as f64).ceil().max(0.0) as usize).min(n)
}

/// The smallest number of images, from `n` up to `most`, of which both training and validation get one per class.
pub(crate) fn enough_for_both(n: usize, ratio: f64, n_classes: usize, most: usize) -> usize {
    if ratio <= 0.0 {
        return n;
    }
    let mut enough = n.max(2 * n_classes);
    let too_few = |n| n_validation(n, ratio) < n_classes || n - n_validation(n, ratio) < n_classes;
    while enough < most && too_few(enough) {
        enough += 1;
    }
    enough.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(2).with("split")
    }

    fn counts(labels: &[u32], items: &[usize], n_classes: usize) -> Vec<usize> {
        let mut counts = vec![0; n_classes];
        items
            .iter()
            .for_each(|&item| counts[labels[item] as usize] += 1);
        counts
    }

    /// Parts are disjoint, complete and of the right size.
    fn check(labels: &[u32], n: usize) -> (Vec<usize>, Vec<usize>) {
        let (first, second) = stratified(labels, n, key());
        assert_eq!(first.len(), n.min(labels.len()));
        let mut all = [&first[..], &second[..]].concat();
        assert!(first.is_sorted() && second.is_sorted());
        all.sort_unstable();
        assert!(all.into_iter().eq(0..labels.len()));
        (first, second)
    }

    #[test]
    fn sizes_and_proportions() {
        for n in [100, 1001, 17_777] {
            let mut rng = key().with(n).rng();
            let labels: Vec<u32> = (0..n).map(|_| rng.uniform_u32_below(10)).collect();
            for k in 1..11 {
                let ratio = k as f64 / 11.0;
                let n_valid = n_validation(n, ratio);
                assert!(n_valid as f64 >= ratio * n as f64 - 1e-6);
                assert!((n_valid - 1) as f64 <= ratio * n as f64);
                let (train, valid) = check(&labels, n - n_valid);
                let (train, valid) = (counts(&labels, &train, 10), counts(&labels, &valid, 10));
                for (train, valid) in train.into_iter().zip(valid) {
                    let exact = (train + valid) as f64 * n_valid as f64 / n as f64;
                    assert!(
                        (valid as f64 - exact).abs() <= 1.0,
                        "{valid} of {}, exactly {exact}",
                        train + valid
                    );
                }
            }
        }
        let labels: Vec<u32> = (0..32).map(|i| i % 10).collect();
        let (train, valid) = check(&labels, 32 - n_validation(32, 0.5));
        assert_eq!((train.len(), valid.len()), (16, 16));
        check(&labels, 0);
        check(&labels, 32);
        check(&labels, 99);
        check(&[], 0);
        for (n, ratio, expect) in [
            (30, 0.1, 3),
            (10, 0.0, 0),
            (10, 0.5, 5),
            (1, 0.5, 1),
            (1000, 0.001, 1),
            (7, 0.5, 4),
        ] {
            assert_eq!(n_validation(n, ratio), expect, "{n} {ratio}");
        }
    }

    #[test]
    fn both_parts_have_all_classes_where_that_can_be() {
        // 990 of class 0, two each of the classes 1 to 5, one of class 6.
        let mut labels = vec![0; 990];
        labels.extend([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]);
        for n in [10, 100, 500, 900, 991] {
            let (first, second) = check(&labels, n);
            let (a, b) = (counts(&labels, &first, 7), counts(&labels, &second, 7));
            for class in 0..6 {
                assert!(a[class] > 0 && b[class] > 0, "{n}: {a:?} {b:?}");
            }
            assert_eq!(a[6] + b[6], 1);
        }
        // No room for all classes in the first part: still exactly n.
        check(&labels, 3);
        for n_classes in [2, 10, 37, 100, 1000] {
            for ratio in [0.05, 0.1, 0.5, 0.9] {
                let n = enough_for_both(64, ratio, n_classes, 1_000_000);
                let labels: Vec<u32> = (0..n as u32).map(|i| i % n_classes as u32).collect();
                let (train, valid) = check(&labels, n - n_validation(n, ratio));
                assert!(!counts(&labels, &train, n_classes).contains(&0));
                assert!(!counts(&labels, &valid, n_classes).contains(&0));
            }
        }
        for (n, ratio, n_classes, most, expect) in [
            (64, 0.5, 10, 1000, 64),
            (64, 0.0, 100, 1000, 64),
            (64, 0.5, 100, 1000, 200),
            (64, 0.5, 100, 150, 150),
            (64, 1e-12, 10, 5000, 5000),
        ] {
            assert_eq!(
                enough_for_both(n, ratio, n_classes, most),
                expect,
                "{n} {ratio} {n_classes} {most}"
            );
        }
    }

    #[test]
    fn the_key_decides() {
        let labels: Vec<u32> = (0..100).map(|i| i % 10).collect();
        assert_eq!(
            stratified(&labels, 50, key()),
            stratified(&labels, 50, key())
        );
        assert_ne!(
            stratified(&labels, 50, key()),
            stratified(&labels, 50, Key::new(3).with("split"))
        );
    }
}
