//! Declaring the parameters of ops while a model is compiled.

use std::collections::HashMap;
use std::sync::Arc;

use archai_spec::desc::{OpCatalog, OpDesc};
use archai_spec::ops::ConvShape;

use super::layers::{Conv, Linear, Norm, Packed};
use super::norms::{NormId, NormSpec};
use super::{Op, OpRegistry};
use crate::compute::Compute;
use crate::error::EngineError;
use crate::params::{Init, ParamId, ParamRole, ParamSpec, Piece};

/// Parameters and norms of a model under construction.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub params: Vec<ParamSpec>,
    pub norms: Vec<NormSpec>,
    /// Whether ops may pack their parameters for kernels.
    pub fused: bool,
    /// A packed parameter that is there already, into which fused ops find their pieces by name.
    pub shared: Option<ParamId>,
}

impl Declared {
    /// Nothing yet.
    pub fn new(compute: &Compute) -> Self {
        Declared {
            fused: compute.exec().is_some(),
            ..Declared::default()
        }
    }

    /// Declares packed parameters. `names` are the full names of the layout's pieces.
    pub fn push_packed(&mut self, layout: &archai_kernels::Packing, names: Vec<String>) -> ParamId {
        let pieces = layout.tensors().iter().zip(names).map(|(piece, name)| {
            use archai_kernels::PackedKind::*;
            let (init, role) = match piece.kind {
                Depthwise | Dense { .. } => {
                    let fan_in = piece.shape[1..].iter().product();
                    (Init::FanIn(fan_in), ParamRole::Weight)
                }
                NormWeight => (Init::Constant(1.0), ParamRole::Norm),
                NormBias => (Init::Constant(0.0), ParamRole::Norm),
            };
            Piece {
                name,
                shape: piece.shape.clone(),
                init,
                role,
            }
        });
        self.params.push(ParamSpec {
            pieces: pieces.collect(),
            packing: Some(Arc::new(layout.clone())),
        });
        ParamId(self.params.len() - 1)
    }
}

/// Declares the parameters of an op while a model is compiled. Layers are numbered in order of use within the op:
/// `conv1`, `conv2`, …, `bn1`, …, `linear1`, ….
pub struct OpBuilder<'a> {
    registry: &'a OpRegistry,
    declared: &'a mut Declared,
    prefix: String,
    affine: bool,
    n_inputs: usize,
    counts: HashMap<&'static str, usize>,
}

impl<'a> OpBuilder<'a> {
    pub(crate) fn new(
        registry: &'a OpRegistry,
        declared: &'a mut Declared,
        prefix: String,
        affine: bool,
        n_inputs: usize,
    ) -> Self {
        OpBuilder {
            registry,
            declared,
            prefix,
            affine,
            n_inputs,
            counts: HashMap::new(),
        }
    }

    /// Whether norms have learnt scales and shifts.
    pub fn affine(&self) -> bool {
        self.affine
    }

    /// How many states the op will read.
    pub fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    /// What op names mean.
    pub fn catalog(&self) -> &'a OpCatalog {
        self.registry.catalog()
    }

    /// A convolution without or with bias, started as PyTorch does.
    pub fn conv(&mut self, shape: ConvShape) -> Conv {
        let name = self.number("conv");
        let fan_in = shape.c_in / shape.groups * shape.kernel[0] * shape.kernel[1];
        let weight = vec![
            shape.c_out,
            shape.c_in / shape.groups,
            shape.kernel[0],
            shape.kernel[1],
        ];
        let role = ParamRole::Weight;
        let mut pieces = vec![self.piece(&name, "weight", weight, Init::FanIn(fan_in), role)];
        if shape.bias {
            pieces.push(self.piece(&name, "bias", vec![shape.c_out], Init::FanIn(fan_in), role));
        }
        Conv {
            param: self.push(pieces),
            piece: 0,
            shape,
        }
    }

    /// Whether ops may pack their parameters for kernels.
    pub(crate) fn fused(&self) -> bool {
        self.declared.fused
    }

    /// Convolutions and a norm whose parameters lie in a kernel's layout, in this order.
    pub(crate) fn packed(
        &mut self,
        layout: &archai_kernels::Packing,
        convs: &[ConvShape],
        norm: Option<usize>,
    ) -> (Packed, Vec<Conv>, Option<Norm>) {
        let conv_names: Vec<String> = convs.iter().map(|_| self.number("conv")).collect();
        let norm_name = norm.map(|_| self.number("bn"));
        let mut names: Vec<String> = conv_names
            .iter()
            .map(|name| self.path(&format!("{name}.weight")))
            .collect();
        let is_affine = layout.tensors().len() > convs.len();
        if let Some(name) = norm_name.as_ref().filter(|_| is_affine) {
            names.extend(["weight", "bias"].map(|what| self.path(&format!("{name}.{what}"))));
        }
        assert_eq!(names.len(), layout.tensors().len(), "pieces of a fused op");
        let (packed, first) = match self.declared.shared {
            None => {
                let id = self.declared.push_packed(layout, names);
                (Packed { id, part: None }, 0)
            }
            Some(id) => {
                let shared = &self.declared.params[id.0];
                let first = shared.pieces.iter().position(|p| p.name == names[0]);
                let first = first.expect("a shared parameter holds all pieces of its ops");
                let packing = shared
                    .packing
                    .as_ref()
                    .expect("shared parameters are packed");
                let start = packing.tensors()[first].offset;
                // Offsets apart, the run is the op's own layout.
                for (i, own) in layout.tensors().iter().enumerate() {
                    let (piece, place) = (&shared.pieces[first + i], &packing.tensors()[first + i]);
                    assert!(
                        piece.name == names[i]
                            && place.offset == start + own.offset
                            && place.kind == own.kind
                            && place.shape == own.shape,
                        "`{}` lies differently in the shared parameter",
                        names[i]
                    );
                }
                let part = Some(start..start + layout.len());
                (Packed { id, part }, first)
            }
        };
        let handles = convs.iter().enumerate().map(|(i, &shape)| Conv {
            param: packed.id,
            piece: first + i,
            shape,
        });
        let handles = handles.collect();
        let norm = norm_name.zip(norm).map(|(name, channels)| Norm {
            id: self.declare_norm(&name, channels),
            affine: is_affine.then_some((packed.id, first + convs.len())),
        });
        (packed, handles, norm)
    }

    fn declare_norm(&mut self, name: &str, channels: usize) -> NormId {
        let name = self.path(name);
        self.declared.norms.push(NormSpec { name, channels });
        NormId(self.declared.norms.len() - 1)
    }

    /// A batch norm, with learnt scale and shift if [`OpBuilder::affine`].
    pub fn norm(&mut self, channels: usize) -> Norm {
        self.norm_with(channels, self.affine)
    }

    /// A batch norm with or without learnt scale and shift, whatever the model's choice.
    pub fn norm_with(&mut self, channels: usize, affine: bool) -> Norm {
        let name = self.number("bn");
        let affine = affine.then(|| {
            let role = ParamRole::Norm;
            let pieces = vec![
                self.piece(&name, "weight", vec![channels], Init::Constant(1.0), role),
                self.piece(&name, "bias", vec![channels], Init::Constant(0.0), role),
            ];
            (self.push(pieces), 0)
        });
        Norm {
            id: self.declare_norm(&name, channels),
            affine,
        }
    }

    /// A linear layer with bias.
    pub fn linear(&mut self, n_in: usize, n_out: usize) -> Linear {
        self.linear_with(n_in, n_out, true)
    }

    /// A linear layer with or without bias.
    pub(crate) fn linear_with(&mut self, n_in: usize, n_out: usize, bias: bool) -> Linear {
        let name = self.number("linear");
        let (role, init) = (ParamRole::Weight, Init::FanIn(n_in));
        let mut pieces = vec![self.piece(&name, "weight", vec![n_out, n_in], init, role)];
        if bias {
            pieces.push(self.piece(&name, "bias", vec![n_out], init, role));
        }
        Linear {
            param: self.push(pieces),
            bias,
        }
    }

    /// Any other parameter.
    pub fn param(&mut self, name: &str, shape: Vec<usize>, init: Init, role: ParamRole) -> ParamId {
        let piece = Piece {
            name: self.path(name),
            shape,
            init,
            role,
        };
        self.push(vec![piece])
    }

    /// An op inside this one that continues its numbering.
    ///
    /// # Errors
    /// As the child's factory.
    pub fn child(&mut self, desc: &OpDesc) -> Result<Box<dyn Op>, EngineError> {
        let outer = (self.affine, self.n_inputs);
        self.affine = desc.affine.unwrap_or(self.affine);
        self.n_inputs = 1;
        let op = self.registry.make(desc, self);
        (self.affine, self.n_inputs) = outer;
        op
    }

    /// An op inside this one whose parameters stand below a name of its own.
    ///
    /// # Errors
    /// As the child's factory.
    pub fn child_named(&mut self, name: &str, desc: &OpDesc) -> Result<Box<dyn Op>, EngineError> {
        let prefix = self.path(name);
        let affine = desc.affine.unwrap_or(self.affine);
        let mut inner = OpBuilder::new(self.registry, self.declared, prefix, affine, 1);
        inner.registry.make(desc, &mut inner)
    }

    /// The op's own full name.
    pub(crate) fn name(&self) -> &str {
        &self.prefix
    }

    /// The full name of a layer without parameters, numbered like the others of its kind.
    pub(crate) fn layer_name(&mut self, kind: &'static str) -> String {
        let name = self.number(kind);
        self.path(&name)
    }

    /// A name below this op's own.
    fn path(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        }
    }

    fn number(&mut self, kind: &'static str) -> String {
        let n = self.counts.entry(kind).or_insert(0);
        *n += 1;
        format!("{kind}{n}")
    }

    fn piece(
        &self,
        layer: &str,
        what: &str,
        shape: Vec<usize>,
        init: Init,
        role: ParamRole,
    ) -> Piece {
        Piece {
            name: self.path(&format!("{layer}.{what}")),
            shape,
            init,
            role,
        }
    }

    fn push(&mut self, pieces: Vec<Piece>) -> ParamId {
        let packing = None;
        self.declared.params.push(ParamSpec { pieces, packing });
        ParamId(self.declared.params.len() - 1)
    }
}
