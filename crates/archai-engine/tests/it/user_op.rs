//! An op of a user's own: plain tensors, registered under a name, then at home in mixed ops, YAML and the cost model.

use std::sync::Arc;

use archai_engine::tensor::{Tensor, activation};
use archai_engine::{
    Compute, EngineError, Features, Init, Model, ModelOptions, Objective, Op, OpBuilder,
    OpRegistry, ParamId, ParamRole, Pass, Precision,
};
use archai_spec::desc::{
    CellPlan, Cost, DescError, EdgeDesc, ModelDesc, ModelDescBuilder, NodeDesc, OpCatalog, OpDesc,
    OpInfo, Shape, build,
};

use crate::support::{batch, settings, tiny_supernet};

/// Swish with one learnt slope per channel: x·sigmoid(βx).
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

fn make(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Box<dyn Op>, EngineError> {
    let beta = b.param(
        "beta",
        vec![desc.ch_in],
        Init::Constant(1.0),
        ParamRole::Weight,
    );
    Ok(Box::new(Swish {
        desc: desc.clone(),
        beta,
    }))
}

struct SwishInfo;

impl OpInfo for SwishInfo {
    fn name(&self) -> &str {
        "swish"
    }
    fn summary(&self) -> &str {
        "x·sigmoid(βx) with one learnt β per channel"
    }
    fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        _: bool,
        _: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        let cost = Cost {
            params: op.ch_in as u64,
            macs: 0,
        };
        Ok((inputs[0], cost))
    }
}

struct Builder;

impl ModelDescBuilder for Builder {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let op = |from| {
            let names = match cell.stride(from) {
                1 => vec!["swish", "skip_connect", "swish", "none"],
                _ => vec!["max_pool_3x3", "none"],
            };
            EdgeDesc::new(
                from,
                OpDesc::mixed(&names, cell.channels, cell.stride(from)),
            )
        };
        Ok((0..cell.n_nodes)
            .map(|n| NodeDesc::new((0..n + 2).map(op)))
            .collect())
    }
}

#[test]
fn a_users_op_is_at_home_everywhere() {
    let mut registry = OpRegistry::builtin();
    registry.register(SwishInfo, Arc::new(make)).unwrap();
    let again = registry.register(SwishInfo, Arc::new(make)).unwrap_err();
    assert!(
        matches!(&again, EngineError::DuplicateOp(name) if name == "swish"),
        "{again}"
    );
    assert!(registry.names().contains(&"swish"));

    let mut s = settings(3, 1, 2, 4);
    s.dataset.size = [8, 8];
    let desc = build(&Builder, &s, None, false, registry.catalog())
        .unwrap()
        .desc;
    let desc =
        ModelDesc::from_yaml(&desc.to_yaml().unwrap(), "net.yaml", registry.catalog()).unwrap();
    let options = ModelOptions {
        compute: Compute::cpu().with_precision(Precision::F64),
        ..ModelOptions::default()
    };
    let model = Model::compile(&desc, &registry, &options).unwrap();
    let cost = desc.cost(registry.catalog()).unwrap();
    assert_eq!(model.weights().n_numbers() as u64, cost.total(false).params);
    let names: Vec<String> = model
        .weights()
        .named()
        .into_iter()
        .map(|t| t.name)
        .collect();
    // Two of one name in a mixed op are told apart.
    for name in [
        "cell0.node0.edge0.swish.beta",
        "cell0.node0.edge0.swish_2.beta",
    ] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    let batch = batch(4, &desc, 1);
    let grads = model.grads(&batch, &Objective::default()).unwrap();
    let of = |name: &str| {
        grads
            .weights
            .named()
            .into_iter()
            .find(|t| t.name == name)
            .unwrap()
            .values
    };
    assert!(of("cell0.node0.edge0.swish.beta").iter().all(|g| *g != 0.0));
    // The gradient reaches every alpha, that of `none` too.
    for (key, g) in grads.arch.to_host() {
        assert!(g.iter().all(|g| *g != 0.0), "{key}: {g:?}");
    }
    // Without the registration nobody knows it.
    let error = Model::compile(&desc, &OpRegistry::builtin(), &options).unwrap_err();
    assert!(error.to_string().contains("unknown op `swish`"), "{error}");
}

#[test]
fn a_kernel_never_stands_in_for_a_replaced_op() {
    // Every supernet cell has a kernel, chosen by the layers of its ops: replaced ops must switch it off, and so must a
    // replaced join.
    let desc = tiny_supernet();
    let logits = |registry: &OpRegistry, compute: Compute| {
        let options = ModelOptions {
            compute,
            seed: 3,
            ..ModelOptions::default()
        };
        let model = Model::compile(&desc, registry, &options).unwrap();
        let grads = model
            .grads(&batch(4, &desc, 1), &Objective::default())
            .unwrap();
        grads.logits.values
    };
    let builtin = logits(&OpRegistry::builtin(), Compute::cpu());
    for name in ["sep_conv_3x3", "none", "concate_channels", "mixed_op"] {
        let mut registry = OpRegistry::builtin();
        registry
            .replace(
                name,
                Arc::new(|desc, _| Ok(Box::new(Constant(desc.clone())))),
            )
            .unwrap();
        let fused = logits(&registry, Compute::cpu());
        let plain = logits(&registry, Compute::cpu().with_plain_ops());
        let far = |a: &[f32], b: &[f32]| {
            let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            differences.fold(0f32, f32::max)
        };
        assert!(far(&fused, &plain) < 1e-3, "{name}: {fused:?} {plain:?}");
        assert!(far(&fused, &builtin) > 1e-2, "{name} was not replaced");
    }
    let mut registry = OpRegistry::builtin();
    let unknown = registry.replace("sep_conv", Arc::new(make)).unwrap_err();
    assert!(unknown.to_string().contains("sep_conv_3x3"), "{unknown}");
}

/// A row of constants in place of whatever was asked for.
#[derive(Debug)]
struct Constant(OpDesc);

impl Op for Constant {
    fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features], _: Option<&Tensor<1>>) -> Features {
        let [n, _, h, w] = inputs[0].shape();
        let (c, s) = (self.0.ch_out, self.0.stride);
        let size = [n, c, h.div_ceil(s), w.div_ceil(s)];
        let per_sample = (0..n).map(|i| i as f64 - 1.0).collect();
        let values: Tensor<4> = pass.compute().tensor(per_sample, [n, 1, 1, 1]);
        Features::from_nchw(values.expand(size))
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn n_alphas(&self) -> usize {
        self.0.children.len()
    }
}
