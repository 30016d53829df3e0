//! From a data set to batches, ahead of time and in an order that nothing but its key decides.
//!
//! A loader has no state. Batch number `c` (counted on over all passes) is a function of the loader's key and `c`, so
//! any worker can make it, and a training resumes from its step counter alone.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use archai_spec::settings::Mix;

use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::geometry::Scratch;
use crate::mix::mix;
use crate::rng::Key;
use crate::transform::Pipeline;

/// Makes batches out of (a part of) a data set.
///
/// ```no_run
/// # fn run(loader: archai_data::Loader) -> Result<(), archai_data::DataError> {
/// for epoch in 0..2 {
///     for batch in loader.epoch(epoch) {
///         let batch = batch?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Loader {
    batching: Arc<Batching>,
    workers: usize,
}

impl Loader {
    /// Batches of all images of `data` in its own order, made in the calling thread. `batch` = 0 counts as 1.
    pub fn new(data: Arc<dyn Dataset>, transform: Pipeline, batch: usize) -> Loader {
        let items = (0..data.len()).collect();
        let key = Key::new(0).with("unshuffled");
        let batching = Batching {
            data,
            items,
            transform,
            batch: batch.max(1),
            key,
            shuffle: false,
            balanced: false,
            mix: None,
            class_weights: None,
            orders: Mutex::default(),
        };
        Loader {
            batching: Arc::new(batching),
            workers: 0,
        }
    }

    /// Only these images, by their indices in the data set.
    ///
    /// # Panics
    /// If an index is not below the data set's length.
    #[must_use]
    pub fn with_items(self, items: Vec<usize>) -> Loader {
        assert!(
            items.iter().all(|&item| item < self.batching.data.len()),
            "items must be indices of the data set"
        );
        self.map(|batching| batching.items = items)
    }

    /// In a fresh random order each pass. `key` decides the orders, and all augmentation.
    #[must_use]
    pub fn shuffled(self, key: Key) -> Loader {
        self.map(|batching| (batching.key, batching.shuffle) = (key, true))
    }

    /// As many images a pass as there are, each time one of a class that is drawn with equal probability; `key` decides as in
    /// [`Loader::shuffled`]. Classes without images are passed over.
    #[must_use]
    pub fn balanced(self, key: Key) -> Loader {
        self.map(|batching| {
            (batching.key, batching.shuffle, batching.balanced) = (key, true, true);
        })
    }

    /// Mixes the images of each batch with each other, and their classes with them.
    #[must_use]
    pub fn mixed(self, mix: Option<Mix>) -> Loader {
        self.map(|batching| batching.mix = mix)
    }

    /// With weights of the classes in the loss, one for each class of the data set.
    ///
    /// # Panics
    /// If their number is another.
    #[must_use]
    pub fn weighted(self, class_weights: Arc<[f64]>) -> Loader {
        assert_eq!(
            class_weights.len(),
            self.batching.data.n_classes(),
            "one weight for each class"
        );
        self.map(|batching| batching.class_weights = Some(class_weights))
    }

    /// Prepares batches in this many threads, up to one more than that ahead; 0 prepares each when it is asked for, in
    /// the calling thread. The batches are the same for any number.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Loader {
        self.workers = workers;
        self
    }

    fn map(mut self, change: impl FnOnce(&mut Batching)) -> Loader {
        let Batching {
            data,
            items,
            transform,
            batch,
            key,
            shuffle,
            balanced,
            mix,
            class_weights,
            orders: _,
        } = &*self.batching;
        let mut batching = Batching {
            data: Arc::clone(data),
            items: items.clone(),
            transform: transform.clone(),
            batch: *batch,
            key: *key,
            shuffle: *shuffle,
            balanced: *balanced,
            mix: *mix,
            class_weights: class_weights.clone(),
            orders: Mutex::default(),
        };
        change(&mut batching);
        self.batching = Arc::new(batching);
        self
    }

    /// Images of a pass.
    pub fn n_images(&self) -> usize {
        self.batching.items.len()
    }

    /// Batches of a pass. The last one may be short.
    pub fn n_batches(&self) -> usize {
        self.batching.items.len().div_ceil(self.batching.batch)
    }

    /// Images of a batch, the last one of a pass excepted.
    pub fn batch_size(&self) -> usize {
        self.batching.batch
    }

    /// The whole data set, of which this loader may take a part only.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.batching.data
    }

    /// The images of this loader, by their indices in the data set.
    pub fn items(&self) -> &[usize] {
        &self.batching.items
    }

    /// The batches of a pass.
    pub fn epoch(&self, epoch: usize) -> Batches {
        self.epoch_from(epoch, 0)
    }

    /// The batches of a pass from step `first` on; none if the pass has no such step.
    pub fn epoch_from(&self, epoch: usize, first: usize) -> Batches {
        let n = self.n_batches() as u64;
        let start = epoch as u64 * n;
        Batches::new(
            &self.batching,
            start + (first as u64).min(n)..start + n,
            self.workers,
        )
    }

    /// Batches without end, pass after pass, beginning with the one that a counter over all passes names: after a
    /// resume at step `s` of a training that takes one batch per step, `cycle_from(s)` goes on as if nothing had
    /// happened. Ends at once if there are no images.
    pub fn cycle_from(&self, counter: u64) -> Batches {
        let end = if self.n_batches() == 0 {
            counter
        } else {
            u64::MAX
        };
        Batches::new(&self.batching, counter..end, self.workers)
    }

    /// One batch of a pass, made in the calling thread.
    ///
    /// # Errors
    /// If an image cannot be read or decoded; [`DataError::Setting`] if the pass has no batch `step`.
    pub fn batch_at(&self, epoch: usize, step: usize) -> Result<Batch, DataError> {
        let n = self.n_batches();
        if step >= n {
            return Err(DataError::setting(
                "loader",
                format!("has {n} batches, there is no batch {step}"),
            ));
        }
        self.batching.batch(epoch as u64 * n as u64 + step as u64)
    }
}

/// What decides all batches of a loader.
struct Batching {
    data: Arc<dyn Dataset>,
    items: Vec<usize>,
    transform: Pipeline,
    batch: usize,
    key: Key,
    shuffle: bool,
    /// Whether all classes come equally often; only of use with `shuffle`.
    balanced: bool,
    mix: Option<Mix>,
    class_weights: Option<Arc<[f64]>>,
    /// The orders of the last passes that were asked for: workers are in two passes at most times, at their boundary.
    orders: Mutex<Vec<(u64, Arc<Vec<usize>>)>>,
}

impl fmt::Debug for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batching {
            data,
            items,
            transform: _,
            batch,
            key,
            shuffle,
            balanced,
            mix,
            class_weights,
            orders: _,
        } = self;
        f.debug_struct("Batching")
            .field("data", &data.name())
            .field("items", &items.len())
            .field("batch", batch)
            .field("key", key)
            .field("shuffle", shuffle)
            .field("balanced", balanced)
            .field("mix", mix)
            .field("class_weights", class_weights)
            .finish_non_exhaustive()
    }
}

impl Batching {
    /// The batch that the counter over all passes names.
    fn batch(&self, counter: u64) -> Result<Batch, DataError> {
        let n_batches = self.items.len().div_ceil(self.batch) as u64;
        let (pass, step) = (counter / n_batches, (counter % n_batches) as usize);
        let order = self.order(pass);
        let items = &order[step * self.batch..self.items.len().min((step + 1) * self.batch)];

        let [channels, height, width] = self.transform.shape();
        let mut images = vec![0.0; items.len() * channels * height * width];
        let mut labels = Vec::with_capacity(items.len());
        let key = self.key.with("augment").with(pass);
        let place = Path::new(self.data.name());
        let mut scratch = Scratch::default();
        for (&item, out) in items
            .iter()
            .zip(images.chunks_exact_mut(channels * height * width))
        {
            let at = || format!("image {item}");
            let image = self.data.image(item)?;
            self.transform
                .apply_with(&mut scratch, (place, &at), &image, key.with(item), out)?;
            labels.push(self.data.label(item).into());
        }
        let shape = [items.len(), channels, height, width];
        let mut batch = Batch::new(images, labels, shape);
        if let Some(settings) = &self.mix {
            mix(&mut batch, settings, self.key.with("mix").with(counter));
        }
        batch.class_weights.clone_from(&self.class_weights);
        Ok(batch)
    }

    fn order(&self, pass: u64) -> Arc<Vec<usize>> {
        const KEPT: usize = 2;
        let mut orders = lock(&self.orders);
        if let Some((_, order)) = orders
            .iter()
            .find(|(known, _)| *known == pass || !self.shuffle)
        {
            return Arc::clone(order);
        }
        let key = self.key.with("order").with(pass);
        let order = match (self.shuffle, self.balanced) {
            (true, true) => self.drawn_by_class(key),
            (true, false) => {
                let mut order = self.items.clone();
                key.rng().shuffle(&mut order);
                order
            }
            (false, _) => self.items.clone(),
        };
        let order = Arc::new(order);
        if orders.len() == KEPT {
            orders.remove(0);
        }
        orders.push((pass, Arc::clone(&order)));
        order
    }
}

impl Batching {
    /// As many images as there are, drawn with replacement: first a class, then one of its images.
    fn drawn_by_class(&self, key: Key) -> Vec<usize> {
        let mut classes = vec![Vec::new(); self.data.n_classes()];
        for &item in &self.items {
            classes[self.data.label(item) as usize].push(item);
        }
        classes.retain(|items| !items.is_empty());
        let mut rng = key.rng();
        let mut one_of = |n: usize| rng.uniform_u32_below(n as u32) as usize;
        (0..self.items.len())
            .map(|_| {
                let class = &classes[one_of(classes.len())];
                class[one_of(class.len())]
            })
            .collect()
    }
}

/// Nothing here is left half-changed by a panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Batches in order; see [`Loader::epoch`]. Ends after the first error. Dropping it stops its threads.
#[derive(Debug)]
pub struct Batches {
    batching: Arc<Batching>,
    next: Range<u64>,
    pool: Option<Pool>,
}

impl Batches {
    fn new(batching: &Arc<Batching>, range: Range<u64>, workers: usize) -> Batches {
        let useful = (range.end - range.start).min(workers as u64) as usize;
        let pool = (useful > 0).then(|| Pool::new(batching, range.clone(), useful));
        Batches {
            batching: Arc::clone(batching),
            next: range,
            pool,
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let counter = self.next.next()?;
        let batch = match &mut self.pool {
            Some(pool) => pool.wait_for(counter),
            None => self.batching.batch(counter),
        };
        if batch.is_err() || self.next.is_empty() {
            self.next = 0..0;
            self.pool = None;
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match usize::try_from(self.next.end - self.next.start) {
            Ok(n) => (n, Some(n)),
            Err(_) => (usize::MAX, None),
        }
    }
}

/// Threads that make batches ahead.
#[derive(Debug)]
struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something in the state changed.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The next batch that a worker may begin.
    next: u64,
    /// Workers begin no batch at or after this one: what is consumed, and how far ahead of it they may be.
    limit: u64,
    end: u64,
    ready: BTreeMap<u64, Result<Batch, DataError>>,
    /// The consumer is gone, or a worker panicked.
    stop: bool,
}

impl Pool {
    fn new(batching: &Arc<Batching>, range: Range<u64>, workers: usize) -> Pool {
        let limit = range.start.saturating_add(workers as u64 + 1);
        let state = State {
            next: range.start,
            limit,
            end: range.end,
            ready: BTreeMap::new(),
            stop: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let threads = (0..workers)
            .map(|_| {
                let (batching, shared) = (Arc::clone(batching), Arc::clone(&shared));
                thread::spawn(move || work(&batching, &shared))
            })
            .collect();
        Pool { shared, threads }
    }

    fn wait_for(&mut self, counter: u64) -> Result<Batch, DataError> {
        let mut state = lock(&self.shared.state);
        loop {
            if let Some(batch) = state.ready.remove(&counter) {
                state.limit = state.limit.saturating_add(1);
                drop(state);
                self.shared.changed.notify_all();
                return batch;
            }
            if state.stop {
                drop(state);
                self.rethrow();
            }
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Only a panic in a worker stops the others while the consumer still waits: a user's data set has a bug.
    fn rethrow(&mut self) -> ! {
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        unreachable!("a worker stops early only by a panic");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in a worker whose batch nobody wants any more harms nobody.
            let _ = thread.join();
        }
    }
}

fn work(batching: &Batching, shared: &Shared) {
    /// Wakes the others if this worker panics, so that nobody waits for its batch for ever.
    struct Alarm<'a>(&'a Shared);
    impl Drop for Alarm<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                lock(&self.0.state).stop = true;
                self.0.changed.notify_all();
            }
        }
    }
    let _alarm = Alarm(shared);

    loop {
        let mut state = lock(&shared.state);
        while state.next >= state.limit && state.next < state.end && !state.stop {
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.stop || state.next >= state.end {
            return;
        }
        let counter = state.next;
        state.next += 1;
        drop(state);
        let batch = batching.batch(counter);
        lock(&shared.state).ready.insert(counter, batch);
        shared.changed.notify_all();
    }
}
