//! Memory that is written before it is read, and tensors handed out sample by sample to several threads.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Range;

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

/// The samples of a tensor, or of a range of its channels, to write from several threads.
#[derive(Clone, Copy)]
pub(crate) struct SamplesMut<'a, T = f32> {
    data: *mut T,
    stride: usize,
    len: usize,
    count: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `get`, whose callers promise that no two threads hold one sample.
unsafe impl<T: Send> Send for SamplesMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SamplesMut<'_, T> {}

impl<'a, T> SamplesMut<'a, T> {
    /// Sample `n` starts at `offset + n * stride` and has `len` elements.
    pub fn new(data: &'a mut [T], offset: usize, stride: usize, len: usize) -> Self {
        let count = count(data.len(), offset, stride, len);
        let data = data[offset..].as_mut_ptr();
        SamplesMut {
            data,
            stride,
            len,
            count,
            life: PhantomData,
        }
    }

    pub fn whole(data: &'a mut [T], len: usize) -> Self {
        Self::new(data, 0, len, len)
    }

    /// A part of every sample.
    pub fn part(&self, start: usize, len: usize) -> Self {
        assert!(
            start + len <= self.len,
            "{start} + {len} exceeds {}",
            self.len
        );
        SamplesMut {
            // Within the first sample, or not read if there is none.
            data: self.data.wrapping_add(start),
            len,
            ..*self
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// # Safety
    /// While the result lives, nobody else holds sample `n` of this tensor (or of an overlapping view).
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn get(&self, n: usize) -> &'a mut [T] {
        assert!(n < self.count, "sample {n} of {}", self.count);
        // SAFETY: within the data by the count; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(n * self.stride), self.len) }
    }

    /// The elements of consecutive samples.
    ///
    /// # Safety
    /// While the result lives, nobody else holds any of these samples.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, samples: Range<usize>) -> &'a mut [T] {
        assert!(
            self.len == self.stride && samples.start <= samples.end && samples.end <= self.count
        );
        let (start, len) = (samples.start * self.stride, samples.len() * self.stride);
        // SAFETY: within the data by the count; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }

    /// The same samples to read.
    ///
    /// # Safety
    /// While a sample of the result is held, nobody holds that sample mutably.
    pub unsafe fn read(&self) -> Samples<'a, T> {
        Samples {
            data: self.data,
            stride: self.stride,
            len: self.len,
            count: self.count,
            life: PhantomData,
        }
    }
}

fn count(total: usize, offset: usize, stride: usize, len: usize) -> usize {
    if total < offset + len || stride == 0 {
        0
    } else {
        (total - offset - len) / stride + 1
    }
}
