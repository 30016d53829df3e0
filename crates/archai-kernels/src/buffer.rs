//! Memory that is written before it is read, and tensors whose samples several threads read or write at once.

use crate::simd::{Isa, LANES};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

/// A vector whose contents are unspecified: activations are large, and clearing what is overwritten anyway costs a pass
/// over memory.
///
/// # Safety
/// Every element is written before it is read or handed out.
pub(crate) unsafe fn overwritten<T: Copy>(len: usize) -> Vec<T> {
    let mut v: Vec<MaybeUninit<T>> = Vec::with_capacity(len);
    // SAFETY: `MaybeUninit` needs no initialisation.
    unsafe { v.set_len(len) };
    let mut v = ManuallyDrop::new(v);
    // SAFETY: the same allocation, with the same size and alignment of its elements; initialising them before any read
    // is the caller's promise.
    unsafe { Vec::from_raw_parts(v.as_mut_ptr().cast::<T>(), v.len(), v.capacity()) }
}

/// The samples of a tensor, or of a range of its channels, to read.
#[derive(Clone, Copy)]
pub(crate) struct Samples<'a, T = f32> {
    data: *const T,
    stride: usize,
    len: usize,
    count: usize,
    life: PhantomData<&'a [T]>,
}

// SAFETY: it is a shared borrow of plain numbers.
unsafe impl<T: Sync> Send for Samples<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Samples<'_, T> {}

impl<'a, T> Samples<'a, T> {
    /// Sample `n` starts at `offset + n * stride` and has `len` elements.
    pub fn new(data: &'a [T], offset: usize, stride: usize, len: usize) -> Self {
        let count = count(data.len(), offset, stride, len);
        let data = data[offset..].as_ptr();
        Samples {
            data,
            stride,
            len,
            count,
            life: PhantomData,
        }
    }

    pub fn whole(data: &'a [T], len: usize) -> Self {
        Self::new(data, 0, len, len)
    }

    #[inline]
    pub fn get(&self, n: usize) -> &'a [T] {
        assert!(n < self.count, "sample {n} of {}", self.count);
        // SAFETY: within the borrowed data by the count, which the constructor took from its length.
        unsafe { std::slice::from_raw_parts(self.data.add(n * self.stride), self.len) }
    }
}

impl<'a> Samples<'a> {
    /// As [`Samples::get`]; nothing beyond the last sample.
    #[inline]
    pub fn get_or_empty(&self, n: usize) -> &'a [f32] {
        match n < self.count {
            true => self.get(n),
            false => &[],
        }
    }
}

/// What a pass over a batch writes: [`Exec::map_samples`](crate::exec::Exec::map_samples) splits it between runs of
/// samples, each of which takes its own samples one after the other, so that no two threads ever hold the same one.
pub(crate) trait PerSample: Send + Sized {
    /// What belongs to one sample.
    type Sample;

    /// The first `samples` samples, and the others.
    fn split(self, samples: usize) -> (Self, Self);

    /// Takes the first of the samples that are left.
    fn take(&mut self) -> Self::Sample;
}

/// For passes that only read.
impl PerSample for () {
    type Sample = ();

    fn split(self, _: usize) -> (Self, Self) {
        ((), ())
    }

    fn take(&mut self) {}
}

impl<A: PerSample, B: PerSample> PerSample for (A, B) {
    type Sample = (A::Sample, B::Sample);

    fn split(self, samples: usize) -> (Self, Self) {
        let (a, b) = (self.0.split(samples), self.1.split(samples));
        ((a.0, b.0), (a.1, b.1))
    }

    #[inline]
    fn take(&mut self) -> Self::Sample {
        (self.0.take(), self.1.take())
    }
}

/// For tensors that not every pass writes.
impl<T: PerSample> PerSample for Option<T> {
    type Sample = Option<T::Sample>;

    fn split(self, samples: usize) -> (Self, Self) {
        self.map(|all| all.split(samples)).unzip()
    }

    #[inline]
    fn take(&mut self) -> Self::Sample {
        self.as_mut().map(T::take)
    }
}

/// For several tensors.
impl<T: PerSample> PerSample for Vec<T> {
    type Sample = Vec<T::Sample>;

    fn split(self, samples: usize) -> (Self, Self) {
        self.into_iter().map(|each| each.split(samples)).unzip()
    }

    #[inline]
    fn take(&mut self) -> Self::Sample {
        self.iter_mut().map(T::take).collect()
    }
}

/// The samples of a tensor, or of a range of its channels, to write: each is taken once, by one thread.
pub(crate) struct SamplesMut<'a, T = f32> {
    data: *mut T,
    stride: usize,
    len: usize,
    count: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: it is an exclusive borrow of plain numbers.
unsafe impl<T: Send> Send for SamplesMut<'_, T> {}

impl<'a, T> SamplesMut<'a, T> {
    /// A tensor with `len` elements per sample.
    pub fn whole(data: &'a mut [T], len: usize) -> Self {
        SamplesMut {
            count: count(data.len(), 0, len, len),
            data: data.as_mut_ptr(),
            stride: len,
            len,
            life: PhantomData,
        }
    }

    /// As [`SamplesMut::whole`] for each of `tensors`, none for those that are empty.
    pub fn each(tensors: &'a mut [Vec<T>], len: usize) -> Vec<Option<Self>> {
        let view = |t: &'a mut Vec<T>| (!t.is_empty()).then(|| SamplesMut::whole(t, len));
        tensors.iter_mut().map(view).collect()
    }
}

impl<'a, T: Send> PerSample for SamplesMut<'a, T> {
    type Sample = &'a mut [T];

    fn split(self, samples: usize) -> (Self, Self) {
        assert!(samples <= self.count, "{samples} samples of {}", self.count);
        let first = SamplesMut {
            count: samples,
            ..self
        };
        let others = SamplesMut {
            // Within the tensor, or not read if no samples are left.
            data: self.data.wrapping_add(samples * self.stride),
            count: self.count - samples,
            ..self
        };
        (first, others)
    }

    #[inline]
    fn take(&mut self) -> &'a mut [T] {
        assert!(self.count > 0, "no sample is left");
        // SAFETY: within the tensor by the count, which comes from its length; exclusive, since the borrow is and each
        // sample is taken once.
        let sample = unsafe { std::slice::from_raw_parts_mut(self.data, self.len) };
        self.data = self.data.wrapping_add(self.stride);
        self.count -= 1;
        sample
    }
}

/// The samples of a tensor some channels of which are written in one pass and read in the next ones, while other
/// channels are written: the nodes of a cell, which lie side by side in its output. Which pass does what is up to its
/// user.
#[derive(Clone, Copy)]
pub(crate) struct SharedSamples<'a> {
    data: *mut f32,
    stride: usize,
    len: usize,
    count: usize,
    life: PhantomData<&'a mut [f32]>,
}

impl<'a> SharedSamples<'a> {
    /// A tensor with `len` elements per sample.
    pub fn whole(data: &'a mut [f32], len: usize) -> Self {
        SharedSamples {
            count: count(data.len(), 0, len, len),
            data: data.as_mut_ptr(),
            stride: len,
            len,
            life: PhantomData,
        }
    }

    /// A part of every sample.
    pub fn part(&self, start: usize, len: usize) -> Self {
        assert!(
            start + len <= self.len,
            "{start} + {len} exceeds {}",
            self.len
        );
        SharedSamples {
            // Within the first sample, or not read if there is none.
            data: self.data.wrapping_add(start),
            len,
            ..*self
        }
    }

    /// The samples to write.
    ///
    /// # Safety
    /// While a sample of the result is held, nobody else holds that sample of this tensor or of an overlapping part.
    pub unsafe fn write(&self) -> SamplesMut<'a> {
        SamplesMut {
            data: self.data,
            stride: self.stride,
            len: self.len,
            count: self.count,
            life: PhantomData,
        }
    }

    /// The samples to read.
    ///
    /// # Safety
    /// While a sample of the result is held, nobody writes that sample of this tensor or of an overlapping part.
    pub unsafe fn read(&self) -> Samples<'a> {
        Samples {
            data: self.data,
            stride: self.stride,
            len: self.len,
            count: self.count,
            life: PhantomData,
        }
    }
}

/// Numbers that several threads read and write at once, each its own; who holds which is up to its user. No reference to
/// more than one vector of them is ever made.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    data: *mut f32,
    len: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: plain numbers; every access is an `unsafe` method that says who must not do what meanwhile.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn whole(data: &'a mut [f32]) -> Self {
        Shared {
            data: data.as_mut_ptr(),
            len: data.len(),
            life: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// A part.
    pub fn part(&self, start: usize, len: usize) -> Self {
        assert!(
            start <= self.len && len <= self.len - start,
            "{start} + {len} exceeds {}",
            self.len
        );
        Shared {
            // Within the numbers, or not read if there are none.
            data: self.data.wrapping_add(start),
            len,
            ..*self
        }
    }

    /// All of it to read.
    ///
    /// # Safety
    /// While the result is held, nobody writes any of it.
    pub unsafe fn read(&self) -> &'a [f32] {
        // SAFETY: within the borrowed data by the length; that nobody writes is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }

    /// All of it to write.
    ///
    /// # Safety
    /// While the result is held, nobody else reads or writes any of it.
    pub unsafe fn write(&self) -> &'a mut [f32] {
        // SAFETY: as above; that it is exclusive is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.len) }
    }

    /// Eight numbers from place `i` on.
    ///
    /// # Safety
    /// `i + 8` does not exceed the length, and nobody writes them meanwhile.
    #[inline(always)]
    pub unsafe fn load<I: Isa>(&self, i: usize) -> I::V {
        self.check(i);
        // SAFETY: promised by the caller.
        unsafe {
            let v = std::slice::from_raw_parts(self.data.add(i), LANES);
            I::load(v, 0)
        }
    }

    /// Writes eight numbers from place `i` on.
    ///
    /// # Safety
    /// `i + 8` does not exceed the length, and nobody else reads or writes them meanwhile.
    #[inline(always)]
    pub unsafe fn store<I: Isa>(&self, i: usize, v: I::V) {
        self.check(i);
        // SAFETY: promised by the caller.
        unsafe {
            let d = std::slice::from_raw_parts_mut(self.data.add(i), LANES);
            I::store(d, 0, v);
        }
    }

    #[inline(always)]
    fn check(&self, i: usize) {
        if cfg!(any(debug_assertions, feature = "checked")) {
            assert!(i + LANES <= self.len, "{i} + {LANES} exceeds {}", self.len);
        }
    }
}

/// How many samples a tensor of `total` elements holds.
fn count(total: usize, offset: usize, stride: usize, len: usize) -> usize {
    if total < offset + len || stride == 0 {
        0
    } else {
        (total - offset - len) / stride + 1
    }
}
