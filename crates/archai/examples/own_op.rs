//! Two ops of your own in a search: one that is made of known layers, and one with arithmetic of its own.
//! `cargo run --release --example own_op -- run --algos own_ops`

use std::sync::Arc;

use archai::engine::tensor::{Tensor, activation};
use archai::engine::{Features, Init, OpBuilder, ParamId, ParamRole, Pass};
use archai::spec::desc::{Cost, DescErrorKind, OpCatalog, OpInfo, Shape};
use archai::spec::ops::{ConvShape, LayerBuilder, Value};
use archai::{
    Algorithm, CellPlan, DescError, EdgeDesc, EngineError, ExperimentRunner, Lab, LabError,
    ModelDescBuilder, NoSettings, NodeDesc, Op, OpDesc, Step, TrainerHooks, settings,
};

/// Half of the channels by a 1×1 convolution, the other half by one cheap filter on each of them (Han et al., "GhostNet",
/// 2020). It is a list of layers, from which shapes, costs, kernels, drawings and exports follow.
struct GhostConv;

impl OpInfo for GhostConv {
    fn name(&self) -> &str {
        "ghost_conv_3x3"
    }

    fn summary(&self) -> &str {
        "ReLU, 1×1 convolution to half of the channels, 3×3 depthwise for the other half, norms"
    }

    fn is_primitive(&self) -> bool {
        true
    }

    fn check(&self, op: &OpDesc, _: &OpCatalog) -> Result<(), DescError> {
        if op.ch_out.is_multiple_of(2) {
            return Ok(());
        }
        Err(DescError::new(
            DescErrorKind::Param,
            format!(
                "`ghost_conv_3x3` has `ch_out: {}`; expected an even number",
                op.ch_out
            ),
        ))
    }

    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let half = op.ch_out / 2;
        let x = b.relu(inputs[0]);
        let x = b.conv(x, ConvShape::new(op.ch_in, half, 1).with_stride(op.stride));
        let primary = b.norm(x, half);
        let x = b.conv(primary, ConvShape::depthwise(half, 3));
        let ghosts = b.norm(x, half);
        Ok(b.concat(&[primary, ghosts]))
    }
}

/// Swish with a learnt slope per channel, x·sigmoid(βx): no list of layers says that, so the op says what it means for shapes
/// and costs, and computes with tensors.
struct SwishInfo;

impl OpInfo for SwishInfo {
    fn name(&self) -> &str {
        "swish"
    }

    fn summary(&self) -> &str {
        "x·sigmoid(βx) with one learnt β per channel"
    }

    fn is_primitive(&self) -> bool {
        true
    }

    fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        _affine: bool,
        _: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        let params = op.ch_in as u64;
        Ok((inputs[0], Cost { params, macs: 0 }))
    }
}

/// The op in a network: structure and the handle of its parameter, whose numbers come with each pass.
#[derive(Debug)]
struct Swish {
    desc: OpDesc,
    beta: ParamId,
}

impl Op for Swish {
    fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features], _: Option<&Tensor<1>>) -> Features {
        let x = inputs[0].nchw();
        let beta: Tensor<1> = pass.param(self.beta, 0);
        let slope = beta.reshape([1, self.desc.ch_in, 1, 1]);
        Features::from_nchw(x.clone() * activation::sigmoid(x * slope))
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}

fn make_swish(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Box<dyn Op>, EngineError> {
    let (shape, init) = (vec![desc.ch_in], Init::Constant(1.0));
    let beta = b.param("beta", shape, init, ParamRole::Weight);
    let desc = desc.clone();
    Ok(Box::new(Swish { desc, beta }))
}

/// A space that offers both beside ops that everybody knows. Swish keeps the size, so it is no choice where the size is halved.
struct OwnSpace;

impl ModelDescBuilder for OwnSpace {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let edge = |from: usize| {
            let stride = cell.stride(from);
            let mut ops = vec!["ghost_conv_3x3", "skip_connect", "none"];
            if stride == 1 {
                ops.insert(0, "swish");
            }
            EdgeDesc::new(from, OpDesc::mixed(&ops, cell.channels, stride))
        };
        let node = |i: usize| NodeDesc::new((0..i + 2).map(edge));
        Ok((0..cell.n_nodes).map(node).collect())
    }
}

/// First-order DARTS in this space.
struct OwnOps;

struct Bilevel;

impl TrainerHooks for Bilevel {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let valid = step.next_valid()?;
        let (_loss, grads) = step.model.arch_grads(&valid, &step.objective())?;
        step.move_arch(&grads)
    }
}

impl ExperimentRunner for OwnOps {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(OwnSpace)
    }

    fn trainer_hooks(
        &self,
        _search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(Bilevel)])
    }
}

/// Its settings. Formats that are made of layers cannot hold what is computed by `swish`.
const SETTINGS: &str = "\
__include__: archai:algos/common.yaml
nas:
  eval:
    export: [safetensors]
";

/// Everything that comes with archai, the two ops, and an algorithm that searches among them.
pub fn lab() -> Result<Lab, LabError> {
    let own_ops = Algorithm::new(
        "own_ops",
        "DARTS among ops of one's own",
        |_: NoSettings| OwnOps,
    )
    .yaml(SETTINGS);
    Ok(Lab::builtin()
        .with_layers(GhostConv)?
        .with_op(SwishInfo, Arc::new(make_swish))?
        .with_algorithm(own_ops))
}

fn main() -> std::process::ExitCode {
    match lab() {
        Ok(lab) => archai::cli::run(lab),
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
