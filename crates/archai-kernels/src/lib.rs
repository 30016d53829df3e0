#![doc = include_str!("../README.md")]

mod alloc;
mod buffer;
mod ceiling;
mod cell;
mod conv;
mod exec;
pub mod infer;
mod layout;
mod micro;
mod mix;
mod norm;
mod pack;
mod plain;
mod pool;
mod simd;

pub use alloc::PoolAllocator;
pub use ceiling::fma_burst;
pub use cell::{CellEdge, CellGrads, CellNorm, CellSave, CellWant, FusedCell, Primitive};
pub use conv::{ConvGrads, ConvKind, ConvNorm, ConvSave, ConvWant};
pub use exec::Exec;
pub use layout::{FeatureMap, Unsupported, from_nchw, to_nchw};
pub use mix::{MixTerm, WeightedSum};
pub use norm::{BatchNorm, ChannelStats, EPSILON, NormKind, NormSave};
pub use pack::{PackedKind, PackedTensor, Packing};
pub use plain::{
    add, concat_channels, global_avg_pool, global_avg_pool_backward, relu, relu_backward,
    scale_samples, split_channels, sum_samples,
};
pub use pool::{Pool, PoolKind, PoolSave};
pub use simd::Simd;
