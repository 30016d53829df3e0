//! A global allocator that keeps large blocks for reuse, so that after the first training step none is requested from
//! the system: fresh memory costs a page fault per 4 KB, about as much time as computing on it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Blocks of at least this size are kept.
const MIN: usize = 64 * 1024;
/// Size classes per doubling: a block is at most an eighth larger than asked.
const STEPS: usize = 8;
/// Doublings from [`MIN`] on (to 64 TB).
const DOUBLINGS: usize = 30;
const CLASSES: usize = STEPS * DOUBLINGS;
/// Blocks start on cache lines,
const ALIGN: usize = 64;
/// and large ones on huge pages, if the system grants them: a pass over memory otherwise spends much of its time on
/// looking up pages.
const HUGE: usize = 2 << 20;

/// A [`GlobalAlloc`] over the system's: blocks of 64 KB and more go to a free list of their size class when freed, and
/// come back from it; the larger of them lie on huge pages where the system grants these. A program may install it,
/// a library never should:
///
/// ```standalone_crate
/// use archai_kernels::PoolAllocator;
/// #[global_allocator]
/// static ALLOC: PoolAllocator = PoolAllocator::new(usize::MAX);
/// let first = vec![1u8; 1 << 20];
/// let before = ALLOC.system_requests();
/// drop(first);
/// drop(vec![2u8; 1 << 20]);
/// assert_eq!(ALLOC.system_requests(), before);
/// ```
///
/// Memory held grows to the sum, over the size classes, of the most blocks that were ever in use at once (for repeated
/// steps of one network: the peak of a step), but what is kept unused never exceeds the limit given to
/// [`PoolAllocator::new`]: beyond it blocks go back to the system.
pub struct PoolAllocator {
    lists: [FreeList; CLASSES],
    limit: usize,
    kept: AtomicUsize,
    requests: AtomicUsize,
}

/// Freed blocks, linked through their first word. The lock is held for a few instructions and never while allocating.
struct FreeList {
    locked: AtomicBool,
    head: AtomicPtr<u8>,
}

impl FreeList {
    const fn new() -> Self {
        FreeList {
            locked: AtomicBool::new(false),
            head: AtomicPtr::new(null_mut()),
        }
    }

    fn with<R>(&self, f: impl FnOnce(&AtomicPtr<u8>) -> R) -> R {
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            std::hint::spin_loop();
        }
        let result = f(&self.head);
        self.locked.store(false, Ordering::Release);
        result
    }

    fn pop(&self) -> *mut u8 {
        self.with(|head| {
            let block = head.load(Ordering::Relaxed);
            if !block.is_null() {
                // SAFETY: a block on the list is ours, at least `MIN` long and aligned, and holds its successor.
                head.store(unsafe { block.cast::<*mut u8>().read() }, Ordering::Relaxed);
            }
            block
        })
    }

    /// # Safety
    /// `block` is a free block of this list's class, owned by the caller.
    unsafe fn push(&self, block: *mut u8) {
        self.with(|head| {
            // SAFETY: the block is at least `MIN` long, aligned, and nobody else's.
            unsafe { block.cast::<*mut u8>().write(head.load(Ordering::Relaxed)) };
            head.store(block, Ordering::Relaxed);
        });
    }
}

/// The class of a size of at least [`MIN`], and the size of its blocks; none for sizes beyond all classes.
fn class(size: usize) -> Option<(usize, usize)> {
    let last = size - 1;
    // `last` lies in [2^doubling, 2^(doubling+1)), which the steps divide evenly; MIN itself falls just below its own.
    let doubling = last.ilog2() as usize;
    let step = (1usize << doubling) / STEPS;
    let index = (last - (1 << doubling)) / step;
    let class = ((doubling + 1).checked_sub(MIN.ilog2() as usize)?) * STEPS + index;
    (class < CLASSES).then(|| (class, (1 << doubling) + (index + 1) * step))
}

#[cfg(target_os = "linux")]
fn advise_huge_pages(block: *mut u8, len: usize) {
    use std::ffi::{c_int, c_void};
    const MADV_HUGEPAGE: c_int = 14;
    unsafe extern "C" {
        fn madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int;
    }
    // SAFETY: the pages lie within a block that is ours; the call changes how they are mapped, not what they hold. It
    // is advice: where it is refused, small pages do.
    unsafe { madvise(block.cast(), len, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: *mut u8, _: usize) {}

impl PoolAllocator {
    /// An allocator that keeps at most `limit` unused bytes.
    pub const fn new(limit: usize) -> Self {
        PoolAllocator {
            lists: [const { FreeList::new() }; CLASSES],
            limit,
            kept: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        }
    }

    /// How many blocks of 64 KB and more have been requested from the system so far.
    pub fn system_requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes that are kept unused.
    pub fn kept_bytes(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// The class of a request, if it is one for the lists.
    fn pooled(&self, layout: Layout) -> Option<(usize, Layout)> {
        if layout.size() < MIN || layout.align() > ALIGN {
            return None;
        }
        let (class, size) = class(layout.size())?;
        // Not where the last page would be mostly waste.
        let align = if size >= HUGE { HUGE } else { ALIGN };
        Some((class, Layout::from_size_align(size, align).ok()?))
    }

    /// A new block from the system.
    fn fresh(&self, block: Layout, zeroed: bool) -> *mut u8 {
        self.requests.fetch_add(1, Ordering::Relaxed);
        // SAFETY: a size of at least `MIN`.
        let new = unsafe {
            if zeroed {
                System.alloc_zeroed(block)
            } else {
                System.alloc(block)
            }
        };
        if block.align() == HUGE && !new.is_null() {
            advise_huge_pages(new, block.size());
        }
        new
    }

    fn request(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        let Some((class, block)) = self.pooled(layout) else {
            if layout.size() >= MIN {
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
            // SAFETY: the caller's layout, which is not empty by the contract of `GlobalAlloc`.
            return unsafe {
                if zeroed {
                    System.alloc_zeroed(layout)
                } else {
                    System.alloc(layout)
                }
            };
        };
        let free = self.lists[class].pop();
        if free.is_null() {
            return self.fresh(block, zeroed);
        }
        self.kept.fetch_sub(block.size(), Ordering::Relaxed);
        if zeroed {
            // SAFETY: the block is ours and at least this long.
            unsafe { free.write_bytes(0, layout.size()) };
        }
        free
    }
}

// SAFETY: blocks come from the system's allocator with a layout that depends on the requested one alone, and go back
// with the same; a block is on one free list or in use, never both; the free lists are locked.
unsafe impl GlobalAlloc for PoolAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.request(layout, false)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.request(layout, true)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        match self.pooled(layout) {
            // SAFETY: such a block was allocated with this layout.
            None => unsafe { System.dealloc(ptr, layout) },
            Some((class, block)) => {
                let kept = self.kept.fetch_add(block.size(), Ordering::Relaxed) + block.size();
                if kept > self.limit {
                    self.kept.fetch_sub(block.size(), Ordering::Relaxed);
                    // SAFETY: a block of this class was allocated with this layout.
                    unsafe { System.dealloc(ptr, block) };
                } else {
                    // SAFETY: it is of this class, and the caller frees it.
                    unsafe { self.lists[class].push(ptr) };
                }
            }
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: by the contract of `GlobalAlloc`, `new_size` is not zero and does not overflow when rounded up.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (self.pooled(layout), self.pooled(new)) {
            (None, None) if layout.size() < MIN && new_size < MIN => {
                // SAFETY: such a block was allocated with this layout.
                unsafe { System.realloc(ptr, layout, new_size) }
            }
            (Some((a, _)), Some((b, _))) if a == b => ptr,
            _ => {
                let moved = self.request(new, false);
                if !moved.is_null() {
                    // SAFETY: both blocks are at least as long as the shorter of the two sizes, and distinct.
                    unsafe {
                        std::ptr::copy_nonoverlapping(ptr, moved, layout.size().min(new_size));
                        self.dealloc(ptr, layout);
                    }
                }
                moved
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_tight_and_ordered() {
        let mut previous = (0, 0);
        for size in (MIN..MIN * 9)
            .step_by(1000)
            .chain([MIN + 1, 1 << 20, (1 << 20) + 1, 1 << 33])
        {
            let (class, block) = class(size).expect("a class");
            assert!(
                block >= size && block - size <= size / STEPS + 1,
                "{size} in a block of {block}"
            );
            if size > previous.0 && previous.0 > 0 {
                assert!(class >= previous.1, "{size} comes before {}", previous.0);
            }
            previous = (size, class);
        }
    }

    #[test]
    fn huge_blocks_are_aligned_and_go_back() {
        let pool = PoolAllocator::new(0);
        for size in [HUGE, 2 * HUGE - 1, 5 * HUGE / 2, 9 * HUGE + 77] {
            let layout = Layout::from_size_align(size, 4).expect("a layout");
            // SAFETY: the block is written within its size, and freed once with its layout.
            unsafe {
                let block = pool.alloc(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(HUGE));
                block.write_bytes(1, size);
                pool.dealloc(block, layout);
            }
        }
        assert_eq!((pool.system_requests(), pool.kept_bytes()), (4, 0));
    }

    #[test]
    fn blocks_come_back_and_the_limit_holds() {
        let pool = PoolAllocator::new(3 * MIN);
        let layout = Layout::from_size_align(MIN + 5, 8).expect("a layout");
        // SAFETY: blocks are freed with their layout, once.
        unsafe {
            let (a, b) = (pool.alloc(layout), pool.alloc(layout));
            assert!(!a.is_null() && !b.is_null() && a != b && a.addr().is_multiple_of(ALIGN));
            a.write_bytes(7, layout.size());
            pool.dealloc(a, layout);
            let c = pool.alloc_zeroed(layout);
            assert!(c == a && (0..layout.size()).all(|i| *c.add(i) == 0));
            assert_eq!((pool.system_requests(), pool.kept_bytes()), (2, 0));
            let d = pool.realloc(c, layout, 4 * MIN);
            assert_eq!(pool.system_requests(), 3);
            assert!(pool.kept_bytes() > 0);
            pool.dealloc(b, layout);
            let kept = pool.kept_bytes();
            pool.dealloc(d, Layout::from_size_align(4 * MIN, 8).expect("a layout"));
            assert_eq!(
                pool.kept_bytes(),
                kept,
                "beyond the limit, blocks go back to the system"
            );
        }
    }
}
