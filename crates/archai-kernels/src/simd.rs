//! Eight lanes at a time: the only vocabulary in which the kernels are written.
//!
//! A kernel is a value that holds its arguments and runs generically over an instruction set ([`Isa`]); [`Simd`] picks
//! the set at run time. One source thus yields the code for AVX-512 (where two vectors share a register in the matrix
//! products), for AVX2 with FMA, and the portable code, and they can be compared.

/// Channels per block of the layout, and lanes of a vector.
pub(crate) const LANES: usize = 8;

/// Half of a vector.
pub(crate) const HALF: usize = LANES / 2;

/// Which instructions the kernels use. Obtained by [`Simd::detect`], so that a value of it is the proof that they
/// exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simd(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// The best set that this processor has.
    pub fn detect() -> Self {
        Self::all()[0]
    }

    /// All sets that this processor has, the best first; for tests and comparisons.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                all.push(Simd(Level::Avx512));
            }
            all.push(Simd(Level::Avx2));
        }
        all.push(Self::portable());
        all
    }

    /// The set that every processor of the target has; for tests and comparisons.
    pub fn portable() -> Self {
        Simd(Level::Portable)
    }

    /// A short name for reports: `avx512`, `avx2+fma` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2+fma",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    #[inline(always)]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Out {
        match self.0 {
            Level::Portable => run_portable(kernel),
            // SAFETY: `Level::Avx2` is made by `all` alone, after it has found both features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above, for all four features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

/// Work on vectors. `run` must be `#[inline(always)]`, so that it is compiled with the features of its caller.
pub(crate) trait Kernel {
    type Out;
    fn run<I: Isa>(self) -> Self::Out;
}

#[inline(never)]
fn run_portable<K: Kernel>(kernel: K) -> K::Out {
    kernel.run::<Portable>()
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Out {
    kernel.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Out {
    kernel.run::<Avx512>()
}

/// Bounds of a load or store; a debugging aid, since the kernels check their arguments once at their beginning.
macro_rules! check_bounds {
    ($slice:expr, $start:expr, $len:expr) => {
        if cfg!(any(debug_assertions, feature = "checked")) {
            assert!(
                $slice.get($start..$start + $len).is_some(),
                "{} + {} exceeds {}",
                $start,
                $len,
                $slice.len()
            );
        }
    };
}

/// One scalar of `s`.
///
/// # Safety
/// `i` lies within `s`.
#[inline(always)]
pub(crate) unsafe fn scalar(s: &[f32], i: usize) -> f32 {
    if cfg!(any(debug_assertions, feature = "checked")) {
        assert!(i < s.len(), "{i} exceeds {}", s.len());
    }
    // SAFETY: promised by the caller.
    unsafe { *s.get_unchecked(i) }
}

/// The operations on vectors of eight `f32`.
pub(crate) trait Isa: Copy {
    type V: Copy;
    /// Two vectors: one register, where it is wide enough.
    type Pair: Copy;
    /// Whether there are 32 registers that hold a pair each, for tiles that fill them; otherwise 16 that hold a vector.
    const WIDE: bool;
    /// Eight values from `s[i]` on.
    ///
    /// # Safety
    /// `i + 8` does not exceed the length of `s`.
    unsafe fn load(s: &[f32], i: usize) -> Self::V;
    /// Writes eight values from `d[i]` on.
    ///
    /// # Safety
    /// `i + 8` does not exceed the length of `d`.
    unsafe fn store(d: &mut [f32], i: usize, v: Self::V);
    /// Four values from `s[i]` on, and four zeros.
    ///
    /// # Safety
    /// `i + 4` does not exceed the length of `s`.
    unsafe fn load_half(s: &[f32], i: usize) -> Self::V;
    /// Four values from `s[i]` and four from `s[j]` on.
    ///
    /// # Safety
    /// Neither `i + 4` nor `j + 4` exceeds the length of `s`.
    unsafe fn load_halves(s: &[f32], i: usize, j: usize) -> Self::V;
    /// Writes the first four values from `d[i]` on.
    ///
    /// # Safety
    /// `i + 4` does not exceed the length of `d`.
    unsafe fn store_half(d: &mut [f32], i: usize, v: Self::V);
    /// Writes the first four values from `d[i]`, the last four from `d[j]` on.
    ///
    /// # Safety
    /// Neither `i + 4` nor `j + 4` exceeds the length of `d`.
    unsafe fn store_halves(d: &mut [f32], i: usize, j: usize, v: Self::V);
    /// As `store`, past the caches where `d[i]` is aligned to a vector: for what is not read again soon. Such stores
    /// are ordered before later ones of this thread by `fence`.
    ///
    /// # Safety
    /// `i + 8` does not exceed the length of `d`; `fence` comes before anybody may read it.
    unsafe fn stream(d: &mut [f32], i: usize, v: Self::V);
    /// Ends a series of `stream`s.
    fn fence();
    /// Prefetches the cache line of `s[i]`; does nothing on processors without such an instruction.
    ///
    /// # Safety
    /// `i` lies within `s`.
    unsafe fn prefetch(s: &[f32], i: usize);
    fn splat(x: f32) -> Self::V;
    /// Keeps loads behind it where they stand, for loops that need all registers: the compiler would load early what comes
    /// later, and store registers to make room.
    #[inline(always)]
    fn hold() {}
    /// Two vectors, the first from `s[i]` and the second from `s[j]` on.
    ///
    /// # Safety
    /// Neither `i + 8` nor `j + 8` exceeds the length of `s`.
    unsafe fn load_pair(s: &[f32], i: usize, j: usize) -> Self::Pair;
    /// Writes the first vector from `d[i]`, the second from `d[j]` on.
    ///
    /// # Safety
    /// Neither `i + 8` nor `j + 8` exceeds the length of `d`.
    unsafe fn store_pair(d: &mut [f32], i: usize, j: usize, v: Self::Pair);
    fn splat_pair(x: f32) -> Self::Pair;
    /// A pair of two vectors.
    fn join(a: Self::V, b: Self::V) -> Self::Pair;
    /// Its two vectors.
    fn split(v: Self::Pair) -> (Self::V, Self::V);
    /// [`Isa::fma`] on both vectors.
    fn fma_pair(a: Self::Pair, b: Self::Pair, c: Self::Pair) -> Self::Pair;
    /// `s[i + K * STEP] * b + c` on both vectors, with one instruction where it exists.
    ///
    /// # Safety
    /// `i + K * STEP` lies within `s`.
    unsafe fn fma_pair_scalar<const K: usize, const STEP: usize>(
        s: &[f32],
        i: usize,
        b: Self::Pair,
        c: Self::Pair,
    ) -> Self::Pair;
    /// Adds the products of three vectors, `block` elements apart from `v[i + K * 8]` on, and four scalars, eight elements apart
    /// from `s[j + K]` on, to twelve sums: those of the first vector, of the second, of the third.
    ///
    /// # Safety
    /// All of them lie within their slices.
    #[inline(always)]
    unsafe fn three_by_four<const K: usize>(
        sums: &mut [Self::V; 12],
        (v, i, block): (&[f32], usize, usize),
        (s, j): (&[f32], usize),
    ) {
        // SAFETY: promised by the caller.
        unsafe {
            let at = |c: usize| Self::load(v, i + K * LANES + c * block);
            let v: [Self::V; 3] = std::array::from_fn(at);
            for p in 0..4 {
                let x = Self::splat(scalar(s, j + K + p * LANES));
                for (c, &v) in v.iter().enumerate() {
                    sums[4 * c + p] = Self::fma(x, v, sums[4 * c + p]);
                }
            }
        }
    }
    /// `a * b + c`, rounded once where the instruction exists.
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(a: Self::V, b: Self::V) -> Self::V;
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `max(a, 0)`; not-a-number stays what it is, so that a diverging run is seen.
    fn relu(a: Self::V) -> Self::V;
    /// `min(a, b)`; `a` if it is not a number.
    fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `v` where `cond > 0`, else 0.
    fn where_positive(cond: Self::V, v: Self::V) -> Self::V;
    /// `v` where `a == b`, else 0.
    fn where_equal(a: Self::V, b: Self::V, v: Self::V) -> Self::V;
    /// One step of a maximum with its position: takes (`v`, `at`) where `v > best` or `v` is not a number.
    fn take_greater(v: Self::V, at: Self::V, best: Self::V, best_at: Self::V)
    -> (Self::V, Self::V);
    fn to_array(v: Self::V) -> [f32; LANES];
    #[inline(always)]
    fn from_array(v: &[f32; LANES]) -> Self::V {
        // SAFETY: there are eight.
        unsafe { Self::load(v, 0) }
    }
    /// Eight bytes as floats.
    fn from_bytes(b: &[u8; LANES]) -> Self::V;
    /// Whole numbers from 0 to 255 as bytes.
    fn to_bytes(v: Self::V) -> [u8; LANES];
    #[inline(always)]
    fn zero() -> Self::V {
        Self::splat(0.0)
    }
    /// Adds the lanes to eight sums in double precision.
    #[inline(always)]
    fn add_to(sums: &mut [f64; LANES], v: Self::V) {
        let v = Self::to_array(v);
        for (s, v) in sums.iter_mut().zip(v) {
            *s += f64::from(v);
        }
    }
}

/// Arrays of eight; what the target's baseline makes of them.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// A pair as an array of two, where no register holds both.
macro_rules! pair_of_two {
    () => {
        type Pair = [Self::V; 2];
        #[inline(always)]
        unsafe fn load_pair(s: &[f32], i: usize, j: usize) -> Self::Pair {
            // SAFETY: promised by the caller.
            unsafe { [Self::load(s, i), Self::load(s, j)] }
        }
        #[inline(always)]
        unsafe fn store_pair(d: &mut [f32], i: usize, j: usize, v: Self::Pair) {
            // SAFETY: promised by the caller.
            unsafe {
                Self::store(d, i, v[0]);
                Self::store(d, j, v[1]);
            }
        }
        #[inline(always)]
        fn splat_pair(x: f32) -> Self::Pair {
            [Self::splat(x); 2]
        }
        #[inline(always)]
        fn join(a: Self::V, b: Self::V) -> Self::Pair {
            [a, b]
        }
        #[inline(always)]
        fn split(v: Self::Pair) -> (Self::V, Self::V) {
            (v[0], v[1])
        }
        #[inline(always)]
        fn fma_pair(a: Self::Pair, b: Self::Pair, c: Self::Pair) -> Self::Pair {
            [Self::fma(a[0], b[0], c[0]), Self::fma(a[1], b[1], c[1])]
        }
        #[inline(always)]
        unsafe fn fma_pair_scalar<const K: usize, const STEP: usize>(
            s: &[f32],
            i: usize,
            b: Self::Pair,
            c: Self::Pair,
        ) -> Self::Pair {
            // SAFETY: promised by the caller.
            Self::fma_pair(Self::splat_pair(unsafe { scalar(s, i + K * STEP) }), b, c)
        }
    };
}

impl Isa for Portable {
    type V = [f32; LANES];
    const WIDE: bool = false;
    pair_of_two!();
    #[inline(always)]
    unsafe fn load(s: &[f32], i: usize) -> Self::V {
        check_bounds!(s, i, LANES);
        // SAFETY: promised by the caller; the read is unaligned.
        unsafe { s.as_ptr().add(i).cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(d: &mut [f32], i: usize, v: Self::V) {
        check_bounds!(d, i, LANES);
        // SAFETY: promised by the caller; the write is unaligned.
        unsafe { d.as_mut_ptr().add(i).cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_half(s: &[f32], i: usize) -> Self::V {
        check_bounds!(s, i, HALF);
        let half = &s[i..i + HALF];
        std::array::from_fn(|k| half.get(k).copied().unwrap_or(0.0))
    }
    #[inline(always)]
    unsafe fn load_halves(s: &[f32], i: usize, j: usize) -> Self::V {
        // SAFETY: promised by the caller.
        std::array::from_fn(|k| unsafe { scalar(s, if k < HALF { i + k } else { j + k - HALF }) })
    }
    #[inline(always)]
    unsafe fn store_half(d: &mut [f32], i: usize, v: Self::V) {
        d[i..i + HALF].copy_from_slice(&v[..HALF]);
    }
    #[inline(always)]
    unsafe fn store_halves(d: &mut [f32], i: usize, j: usize, v: Self::V) {
        d[i..i + HALF].copy_from_slice(&v[..HALF]);
        d[j..j + HALF].copy_from_slice(&v[HALF..]);
    }
    #[inline(always)]
    unsafe fn stream(d: &mut [f32], i: usize, v: Self::V) {
        // SAFETY: promised by the caller.
        unsafe { Self::store(d, i, v) }
    }
    #[inline(always)]
    fn fence() {}
    #[inline(always)]
    unsafe fn prefetch(_: &[f32], _: usize) {}
    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let fused = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
        std::array::from_fn(|i| {
            if fused {
                a[i].mul_add(b[i], c[i])
            } else {
                a[i] * b[i] + c[i]
            }
        })
    }
    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn relu(a: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < 0.0 { 0.0 } else { a[i] })
    }
    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if b[i] < a[i] { b[i] } else { a[i] })
    }
    #[inline(always)]
    fn where_positive(cond: Self::V, v: Self::V) -> Self::V {
        std::array::from_fn(|i| if cond[i] > 0.0 { v[i] } else { 0.0 })
    }
    #[inline(always)]
    fn where_equal(a: Self::V, b: Self::V, v: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] == b[i] { v[i] } else { 0.0 })
    }
    #[inline(always)]
    fn take_greater(
        v: Self::V,
        at: Self::V,
        best: Self::V,
        best_at: Self::V,
    ) -> (Self::V, Self::V) {
        let take: [bool; LANES] = std::array::from_fn(|i| v[i] > best[i] || v[i].is_nan());
        (
            std::array::from_fn(|i| if take[i] { v[i] } else { best[i] }),
            std::array::from_fn(|i| if take[i] { at[i] } else { best_at[i] }),
        )
    }
    #[inline(always)]
    fn to_array(v: Self::V) -> [f32; LANES] {
        v
    }
    #[inline(always)]
    fn from_bytes(b: &[u8; LANES]) -> Self::V {
        b.map(f32::from)
    }
    #[inline(always)]
    fn to_bytes(v: Self::V) -> [u8; LANES] {
        v.map(|v| v as u8)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{HALF, Isa, LANES, scalar};
    use std::arch::{asm, x86_64::*};

    /// AVX2 and FMA. Only [`super::run_avx2`] runs kernels on it.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    /// The same, and the registers of AVX-512: 32, each of which holds a pair of vectors. Only [`super::run_avx512`]
    /// runs kernels on it.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    macro_rules! vectors_of_eight {
        ($isa:ty, $wide:literal, { $($pair:tt)* }) => {
            // SAFETY (of every block below): the methods are inlined into `run_avx2` or `run_avx512`, which are entered
            // only on processors that have AVX2 and FMA, the latter only with AVX-512 (F and VL); `load` and `store`
            // moreover rely on the bounds that their callers promise.
            #[allow(clippy::undocumented_unsafe_blocks)]
            impl Isa for $isa {
                type V = __m256;
                const WIDE: bool = $wide;
                $($pair)*
                #[inline(always)]
                unsafe fn load(s: &[f32], i: usize) -> __m256 {
                    check_bounds!(s, i, LANES);
                    unsafe { _mm256_loadu_ps(s.as_ptr().add(i)) }
                }
                #[inline(always)]
                unsafe fn store(d: &mut [f32], i: usize, v: __m256) {
                    check_bounds!(d, i, LANES);
                    unsafe { _mm256_storeu_ps(d.as_mut_ptr().add(i), v) }
                }
                #[inline(always)]
                unsafe fn load_half(s: &[f32], i: usize) -> __m256 {
                    check_bounds!(s, i, HALF);
                    unsafe { _mm256_zextps128_ps256(_mm_loadu_ps(s.as_ptr().add(i))) }
                }
                #[inline(always)]
                unsafe fn load_halves(s: &[f32], i: usize, j: usize) -> __m256 {
                    check_bounds!(s, i, HALF);
                    check_bounds!(s, j, HALF);
                    unsafe {
                        let (first, second) = (s.as_ptr().add(i), s.as_ptr().add(j));
                        _mm256_set_m128(_mm_loadu_ps(second), _mm_loadu_ps(first))
                    }
                }
                #[inline(always)]
                unsafe fn store_half(d: &mut [f32], i: usize, v: __m256) {
                    check_bounds!(d, i, HALF);
                    unsafe { _mm_storeu_ps(d.as_mut_ptr().add(i), _mm256_castps256_ps128(v)) }
                }
                #[inline(always)]
                unsafe fn store_halves(d: &mut [f32], i: usize, j: usize, v: __m256) {
                    check_bounds!(d, j, HALF);
                    unsafe {
                        Self::store_half(d, i, v);
                        _mm_storeu_ps(d.as_mut_ptr().add(j), _mm256_extractf128_ps::<1>(v));
                    }
                }
                #[inline(always)]
                unsafe fn stream(d: &mut [f32], i: usize, v: __m256) {
                    check_bounds!(d, i, LANES);
                    unsafe {
                        let to = d.as_mut_ptr().add(i);
                        match to.cast::<__m256>().is_aligned() {
                            true => _mm256_stream_ps(to, v),
                            false => _mm256_storeu_ps(to, v),
                        }
                    }
                }
                #[inline(always)]
                fn fence() {
                    unsafe { _mm_sfence() };
                }
                #[inline(always)]
                unsafe fn prefetch(s: &[f32], i: usize) {
                    check_bounds!(s, i, 1);
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(s.as_ptr().add(i).cast()) };
                }
                #[inline(always)]
                fn splat(x: f32) -> __m256 {
                    unsafe { _mm256_set1_ps(x) }
                }
                #[inline(always)]
                fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
                    unsafe { _mm256_fmadd_ps(a, b, c) }
                }
                #[inline(always)]
                fn add(a: __m256, b: __m256) -> __m256 {
                    unsafe { _mm256_add_ps(a, b) }
                }
                #[inline(always)]
                fn mul(a: __m256, b: __m256) -> __m256 {
                    unsafe { _mm256_mul_ps(a, b) }
                }
                #[inline(always)]
                fn relu(a: __m256) -> __m256 {
                    // The instruction returns its second operand if one is not a number, so the order matters.
                    unsafe { _mm256_max_ps(_mm256_setzero_ps(), a) }
                }
                #[inline(always)]
                fn min(a: __m256, b: __m256) -> __m256 {
                    // As above.
                    unsafe { _mm256_min_ps(b, a) }
                }
                #[inline(always)]
                fn where_positive(cond: __m256, v: __m256) -> __m256 {
                    unsafe {
                        _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(cond, _mm256_setzero_ps()), v)
                    }
                }
                #[inline(always)]
                fn where_equal(a: __m256, b: __m256, v: __m256) -> __m256 {
                    unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b), v) }
                }
                #[inline(always)]
                fn take_greater(
                    v: __m256,
                    at: __m256,
                    best: __m256,
                    best_at: __m256,
                ) -> (__m256, __m256) {
                    unsafe {
                        let greater = _mm256_cmp_ps::<_CMP_GT_OQ>(v, best);
                        let take = _mm256_or_ps(greater, _mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
                        (
                            _mm256_blendv_ps(best, v, take),
                            _mm256_blendv_ps(best_at, at, take),
                        )
                    }
                }
                #[inline(always)]
                fn to_array(v: __m256) -> [f32; LANES] {
                    let mut out = [0.0; LANES];
                    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
                    out
                }
                #[inline(always)]
                fn from_bytes(b: &[u8; LANES]) -> __m256 {
                    unsafe {
                        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(b.as_ptr().cast())))
                    }
                }
                #[inline(always)]
                fn to_bytes(v: __m256) -> [u8; LANES] {
                    let mut out = [0; LANES];
                    unsafe {
                        let words = _mm256_cvtps_epi32(v);
                        let halves = _mm_packs_epi32(
                            _mm256_castsi256_si128(words),
                            _mm256_extracti128_si256::<1>(words),
                        );
                        _mm_storel_epi64(out.as_mut_ptr().cast(), _mm_packus_epi16(halves, halves));
                    }
                    out
                }
            }
        };
    }

    /// `s[K * STEP] * b + c`, reading the scalar in the instruction itself. Left to itself, the compiler broadcasts a
    /// scalar into a register as soon as it is used twice, which takes longer than to read it twice.
    ///
    /// # Safety
    /// `s[K * STEP]` may be read.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn multiply_scalar<const K: usize, const STEP: usize>(
        s: *const f32,
        b: __m512,
        c: __m512,
    ) -> __m512 {
        let mut sum = c;
        // SAFETY: the instruction exists, and reads what the caller says may be read.
        unsafe {
            asm!(
                "vfmadd231ps {sum}, {b}, dword ptr [{s} + {offset}]{{1to16}}",
                sum = inout(zmm_reg) sum,
                b = in(zmm_reg) b,
                s = in(reg) s,
                offset = const 4 * K * STEP,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        sum
    }

    /// [`Isa::three_by_four`] in exactly the sixteen registers that there are: the compiler would load early what comes next,
    /// and store sums to make room for it.
    ///
    /// # Safety
    /// Three vectors, `block` elements apart from `v[K * 8]` on, and four scalars, eight elements apart from `s[K]` on, may be
    /// read.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn multiply_three_by_four<const K: usize>(
        sums: &mut [__m256; 12],
        v: *const f32,
        block: usize,
        s: *const f32,
    ) {
        let [
            mut a0,
            mut a1,
            mut a2,
            mut a3,
            mut b0,
            mut b1,
            mut b2,
            mut b3,
            mut c0,
            mut c1,
            mut c2,
            mut c3,
        ] = *sums;
        // SAFETY: the instructions exist, and read what the caller says may be read.
        unsafe {
            asm!(
                "vmovups {a}, ymmword ptr [{v} + {k}]",
                "vmovups {b}, ymmword ptr [{v} + 4*{block} + {k}]",
                "vmovups {c}, ymmword ptr [{v} + 8*{block} + {k}]",
                "vbroadcastss {x}, dword ptr [{s} + {s0}]",
                "vfmadd231ps {a0}, {a}, {x}",
                "vfmadd231ps {b0}, {b}, {x}",
                "vfmadd231ps {c0}, {c}, {x}",
                "vbroadcastss {x}, dword ptr [{s} + {s1}]",
                "vfmadd231ps {a1}, {a}, {x}",
                "vfmadd231ps {b1}, {b}, {x}",
                "vfmadd231ps {c1}, {c}, {x}",
                "vbroadcastss {x}, dword ptr [{s} + {s2}]",
                "vfmadd231ps {a2}, {a}, {x}",
                "vfmadd231ps {b2}, {b}, {x}",
                "vfmadd231ps {c2}, {c}, {x}",
                "vbroadcastss {x}, dword ptr [{s} + {s3}]",
                "vfmadd231ps {a3}, {a}, {x}",
                "vfmadd231ps {b3}, {b}, {x}",
                "vfmadd231ps {c3}, {c}, {x}",
                a0 = inout(ymm_reg) a0, a1 = inout(ymm_reg) a1, a2 = inout(ymm_reg) a2, a3 = inout(ymm_reg) a3,
                b0 = inout(ymm_reg) b0, b1 = inout(ymm_reg) b1, b2 = inout(ymm_reg) b2, b3 = inout(ymm_reg) b3,
                c0 = inout(ymm_reg) c0, c1 = inout(ymm_reg) c1, c2 = inout(ymm_reg) c2, c3 = inout(ymm_reg) c3,
                a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _, x = out(ymm_reg) _,
                v = in(reg) v, block = in(reg) block, s = in(reg) s,
                k = const 4 * LANES * K,
                s0 = const 4 * K,
                s1 = const 4 * (K + LANES),
                s2 = const 4 * (K + 2 * LANES),
                s3 = const 4 * (K + 3 * LANES),
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        *sums = [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3];
    }

    vectors_of_eight!(Avx2, false, {
        pair_of_two!();
        #[inline(always)]
        unsafe fn three_by_four<const K: usize>(
            sums: &mut [__m256; 12],
            (v, i, block): (&[f32], usize, usize),
            (s, j): (&[f32], usize),
        ) {
            check_bounds!(v, i + K * LANES + 2 * block, LANES);
            check_bounds!(s, j + K + 3 * LANES, 1);
            unsafe {
                multiply_three_by_four::<K>(sums, v.as_ptr().add(i), block, s.as_ptr().add(j))
            };
        }
        #[inline(always)]
        fn hold() {
            // It has no instructions, but for all that the compiler knows it might write to memory.
            unsafe { asm!("", options(nostack, preserves_flags)) };
        }
    });
    vectors_of_eight!(Avx512, true, {
        type Pair = __m512;
        #[inline(always)]
        unsafe fn load_pair(s: &[f32], i: usize, j: usize) -> __m512 {
            unsafe {
                let first = _mm512_castps256_ps512(Self::load(s, i));
                let second = _mm256_castps_pd(Self::load(s, j));
                _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castps_pd(first), second))
            }
        }
        #[inline(always)]
        unsafe fn store_pair(d: &mut [f32], i: usize, j: usize, v: __m512) {
            unsafe {
                Self::store(d, i, _mm512_castps512_ps256(v));
                let second = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v));
                Self::store(d, j, _mm256_castpd_ps(second));
            }
        }
        #[inline(always)]
        fn splat_pair(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        fn join(a: __m256, b: __m256) -> __m512 {
            unsafe {
                let (first, second) = (_mm512_castps256_ps512(a), _mm256_castps_pd(b));
                _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castps_pd(first), second))
            }
        }
        #[inline(always)]
        fn split(v: __m512) -> (__m256, __m256) {
            unsafe {
                let second = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v));
                (_mm512_castps512_ps256(v), _mm256_castpd_ps(second))
            }
        }
        #[inline(always)]
        fn fma_pair(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn fma_pair_scalar<const K: usize, const STEP: usize>(
            s: &[f32],
            i: usize,
            b: __m512,
            c: __m512,
        ) -> __m512 {
            check_bounds!(s, i + K * STEP, 1);
            unsafe { multiply_scalar::<K, STEP>(s.as_ptr().add(i), b, c) }
        }
    });
}
