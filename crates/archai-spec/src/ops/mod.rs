//! What ops are made of: the small public vocabulary of [`Layer`]s, the [`LayerList`] to which an op lowers, and the
//! built-in ops, one row each.
//!
//! Shapes, parameters, multiply-adds and memory follow from an op's list. The engine executes it, chooses its kernels by
//! it, and whoever writes a network for another program (ONNX, PyTorch source) reads nothing else. So an op is described
//! in one place, and an op of a user's own is worth as much as a built-in one once it lowers.
//!
//! ```
//! use archai_spec::desc::{OpCatalog, OpDesc, Shape};
//! use archai_spec::ops::Layer;
//! let catalog = OpCatalog::builtin();
//! let list = catalog.lower(&OpDesc::new("convbn_3x3", 8, 16), 1, true)?;
//! assert!(matches!(list.steps[0].layer, Layer::Conv(conv) if conv.kernel == [3, 3]));
//! assert_eq!(list.steps[1].name, "bn1");
//! let (out, cost) = list.measure(&[Shape::new(8, 32, 32)])?;
//! assert_eq!((out.channels, cost.params), (16, 8 * 16 * 9 + 2 * 16));
//! # Ok::<(), archai_spec::desc::DescError>(())
//! ```

mod aux_tower;
mod builtin;
mod function;
mod layer;
mod list;
mod parametric;

pub(crate) use aux_tower::lower_tower;
pub use builtin::{MIXED_OP, MULTI_OP, NOISE, PRIMITIVES, projection};
pub(crate) use builtin::{all, search_params};
pub use function::{Activation, Share};
pub use layer::{ConvShape, Layer, LayerParam, ParamKind, PoolShape};
pub use list::{LayerBuilder, LayerList, LayerStep, Value};
pub use parametric::ACTIVATIONS;
pub(crate) use parametric::parametric;
