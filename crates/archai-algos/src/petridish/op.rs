//! The op that a grown cell tries out: all primitives on all states, weighted, felt by the backward pass alone.

use archai_engine::{
    EngineError, Features, Finalized, Op, OpBuilder, OpRegistry, Pass, ops::weighted_sum,
    tensor::Tensor,
};
use archai_spec::desc::{
    Arity, ChildDesc, Cost, DescError, DescErrorKind, OpCatalog, OpDesc, OpInfo, PRIMITIVES,
    ParamInfo, ParamType, ParamValue, Shape,
};
use archai_spec::ops::MULTI_OP;
use archai_spec::settings::ModelDescSettings;

/// Name of the op in descriptions.
pub const PETRIDISH_OP: &str = "petridish_op";

/// Parameter of the op: how many (input, primitive) pairs remain.
const KEEP: &str = "keep";
const KEEP_DEFAULT: usize = 3;

/// The candidates of a growth: the ops that the settings name, or those of DARTS.
///
/// `none` is no candidate: weights are not normalised here, so zeros would neither compete with the others nor get a
/// gradient.
pub fn candidates(search: &ModelDescSettings, catalog: &OpCatalog) -> Vec<String> {
    let all = match &search.primitives {
        Some(names) => names.clone(),
        None => PRIMITIVES.map(str::to_string).to_vec(),
    };
    all.into_iter()
        .filter(|name| !catalog.is_zero(name))
        .collect()
}

/// The op over one input per stride in `strides`: every candidate on every input, `keep` of which will remain.
pub fn petridish_op(
    candidates: &[String],
    channels: usize,
    strides: &[usize],
    keep: usize,
) -> OpDesc {
    let mut op = OpDesc::new(PETRIDISH_OP, channels, channels)
        .with_param(KEEP, ParamValue::Int(keep as i64));
    for (input, &stride) in strides.iter().enumerate() {
        let on_input = OpDesc::mixed(candidates, channels, stride).children;
        op.children.extend(
            on_input
                .into_iter()
                .map(|child| ChildDesc { input, ..child }),
        );
    }
    op
}

/// Makes the op known.
pub(super) fn register(registry: &mut OpRegistry) -> Result<(), EngineError> {
    registry.register(
        Info,
        std::sync::Arc::new(|desc, builder| Ok(Box::new(PetridishOp::new(desc, builder)?))),
    )
}

/// s − stop_gradient(s) for s = Σᵢ Σₖ αᵢₖ·opₖ(stop_gradient(xᵢ)): zero going forward, so that a network computes what it
/// computed before; going backward α and the candidates learn what they would have to add (Hu et al. 2019:
/// stop-gradient and stop-forward).
#[derive(Debug)]
struct PetridishOp {
    desc: OpDesc,
    children: Vec<(usize, Box<dyn Op>)>,
}

impl PetridishOp {
    fn new(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Self, EngineError> {
        let children = desc.children.iter().map(|child| {
            let name = format!("input{}.{}", child.input, child.op.name);
            Ok((child.input, b.child_named(&name, &child.op)?))
        });
        Ok(PetridishOp {
            desc: desc.clone(),
            children: children.collect::<Result<_, EngineError>>()?,
        })
    }
}

impl Op for PetridishOp {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        arch: Option<&Tensor<1>>,
    ) -> Features {
        if !pass.is_training() {
            // Nothing flows back from an evaluation.
            let (input, op) = &self.children[0];
            let [n, _, h, w] = inputs[*input].shape();
            let stride = op.desc().stride;
            let shape = [n, self.desc.ch_out, h.div_ceil(stride), w.div_ceil(stride)];
            return Features::from_nchw(Tensor::zeros(shape, pass.compute().options()));
        }
        let weights = arch.expect("the op is given one weight per candidate");
        // Once per input, so that its candidates share what they derive from it.
        let inputs: Vec<Features> = inputs.iter().map(Features::detached).collect();
        let candidates = self.children.iter().enumerate();
        let outs: Vec<(usize, Features)> = candidates
            .filter(|(_, (_, op))| !op.is_zero())
            .map(|(k, (input, op))| {
                let input = std::slice::from_ref(&inputs[*input]);
                (k, op.forward(pass, input, None))
            })
            .collect();
        weighted_sum(pass, &outs, weights).forward_stopped()
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }

    fn n_alphas(&self) -> usize {
        self.children.len()
    }
}

fn keep(desc: &OpDesc) -> usize {
    match desc.params.get(KEEP) {
        Some(ParamValue::Int(n)) => usize::try_from(*n).unwrap_or(KEEP_DEFAULT),
        _ => KEEP_DEFAULT,
    }
}

/// What the op means for shapes and costs. It is not made of layers: a layer says what goes forward, and forward this op is zero,
/// so layers without its candidates would be true and show nothing of it. It exists during a search alone; what remains of it, a
/// `multi_op`, is made of layers.
struct Info;

impl OpInfo for Info {
    fn name(&self) -> &str {
        PETRIDISH_OP
    }
    fn summary(&self) -> &str {
        "weighted sum of its children on its inputs, felt by the backward pass alone: zero going forward"
    }
    fn arity(&self) -> Arity {
        Arity::Any
    }
    fn params(&self) -> &[ParamInfo] {
        &[ParamInfo {
            name: KEEP,
            ty: ParamType::Int,
            summary: "how many children remain in the found network (default 3)",
        }]
    }
    fn has_children(&self) -> bool {
        true
    }
    /// There is nothing to drop, and its gradient is what the op is for.
    fn can_drop_path(&self, _op: &OpDesc) -> bool {
        false
    }
    /// The candidates of the largest |α|, of equals the earlier ones, as a `multi_op`. Zeros do not count.
    fn finalize(
        &self,
        op: &OpDesc,
        weights: &[f64],
        catalog: &OpCatalog,
    ) -> Result<Finalized, DescError> {
        let is_real = |k: &usize| !catalog.is_zero(&op.children[*k].op.name);
        let mut order: Vec<usize> = (0..op.children.len()).filter(is_real).collect();
        order.sort_by(|&a, &b| weights[b].abs().total_cmp(&weights[a].abs()));
        order.truncate(keep(op));
        order.sort_unstable();
        let mut desc = OpDesc::new(MULTI_OP, op.ch_in, op.ch_out);
        desc.affine = op.affine;
        for k in order {
            let ChildDesc { input, op } = &op.children[k];
            desc.children.push(ChildDesc {
                input: *input,
                op: catalog.finalize(op, &[])?.desc,
            });
        }
        Ok(Finalized { desc, rank: None })
    }
    fn check(&self, op: &OpDesc, catalog: &OpCatalog) -> Result<(), DescError> {
        let error = |text: String| {
            let text = format!("`{}` {text}", op.name);
            Err(DescError::new(DescErrorKind::Param, text))
        };
        if let Some(ParamValue::Int(n)) = op.params.get(KEEP)
            && *n < 1
        {
            return error(format!("has `{KEEP}: {n}`; expected at least 1"));
        }
        if op
            .children
            .iter()
            .all(|child| catalog.is_zero(&child.op.name))
        {
            return error("has no child but zeros; give it ops to choose from".to_string());
        }
        match op.children.iter().find(|child| child.op.is_mixed()) {
            Some(child) => error(format!(
                "cannot have the mixed op `{}` inside",
                child.op.name
            )),
            None => Ok(()),
        }
    }
    fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
        catalog: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        catalog.measure_choice(op, inputs, affine)
    }
}
