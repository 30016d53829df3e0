//! Where a node's channels are in a cell's output: their first block is whole only if those before them fill blocks.

use crate::simd::{HALF, Isa, LANES};

/// How channels are arranged in the blocks of a tensor that holds others too. Blocks are counted from these channels'
/// first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// From the first lane of a block on, and the last block is theirs.
    Blocks,
    /// Half a block more than whole ones, from lane `from` (0 or 4) of a block on. The other half of the last block
    /// (or, from lane 4 on, of the first) belongs to other channels.
    Halves { from: usize },
}

impl Place {
    /// The place of the `channels` from channel `first` on; none unless these are whole blocks from a
    /// block's beginning on, or half a block more than whole ones from a half on.
    pub fn of(first: usize, channels: usize) -> Option<Self> {
        let from = first % LANES;
        match channels % LANES {
            0 if from == 0 => Some(Place::Blocks),
            HALF if from.is_multiple_of(HALF) => Some(Place::Halves { from }),
            _ => None,
        }
    }

    /// The lanes of block `block` of `blocks`, in planes of `pixels` pixels.
    #[inline(always)]
    pub fn block(self, block: usize, blocks: usize, pixels: usize) -> Lanes {
        match self {
            Place::Halves { from } if block + 1 == blocks => Lanes::Half { from },
            Place::Halves { from: HALF } => Lanes::Halves {
                next: pixels * LANES,
            },
            Place::Blocks | Place::Halves { .. } => Lanes::Whole,
        }
    }
}

/// Values of some channels of one sample.
#[derive(Clone, Copy)]
pub(crate) struct ChannelSlice<'a> {
    pub values: &'a [f32],
    pub at: Place,
}

impl<'a> From<&'a [f32]> for ChannelSlice<'a> {
    fn from(values: &'a [f32]) -> Self {
        let at = Place::Blocks;
        ChannelSlice { values, at }
    }
}

/// How the eight lanes of a block are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lanes {
    Whole,
    /// Four from `from` on; the others are padding, which reads as zero and is not written.
    Half {
        from: usize,
    },
    /// Four from lane 4 on, and the first four of the next block, `next` elements further on.
    Halves {
        next: usize,
    },
}

impl Lanes {
    /// # Safety
    /// The block of which `s[at]` is lane 0 lies within `s`, and for [`Lanes::Halves`] the one behind it too.
    #[inline(always)]
    pub unsafe fn load<I: Isa>(self, s: &[f32], at: usize) -> I::V {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Lanes::Whole => I::load(s, at),
                Lanes::Half { from } => I::load_half(s, at + from),
                Lanes::Halves { next } => I::load_halves(s, at + HALF, at + next),
            }
        }
    }

    /// # Safety
    /// As for [`Lanes::load`], in `d`.
    #[inline(always)]
    pub unsafe fn store<I: Isa>(self, d: &mut [f32], at: usize, v: I::V) {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Lanes::Whole => I::store(d, at, v),
                Lanes::Half { from } => I::store_half(d, at + from, v),
                Lanes::Halves { next } => I::store_halves(d, at + HALF, at + next, v),
            }
        }
    }
}
