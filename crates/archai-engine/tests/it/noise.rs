//! The op `noise`.

use archai_data::Batch;
use archai_data::rng::Key;
use archai_engine::ops::SingleOp;
use archai_engine::{Compute, Mode, Model, Objective, OpRegistry, Regular, Want};
use archai_spec::desc::{ModelDesc, OpCatalog, OpDesc};

use crate::support::{batch, compile, genotype, network, settings};

/// A found network one of whose edges is noise.
fn with_noise() -> ModelDesc {
    let mut settings = settings(3, 1, 2, 4);
    settings.dataset.size = [8, 8];
    let mut desc = network(&genotype(), &settings);
    let edge = &mut desc.cells[0].nodes[1].edges[0].op;
    *edge = OpDesc::new("noise", edge.ch_in, edge.ch_out);
    desc
}

fn part(batch: &Batch, images: std::ops::Range<usize>) -> Batch {
    let [_, c, h, w] = batch.shape;
    let size = c * h * w;
    Batch::new(
        batch.images[images.start * size..images.end * size].to_vec(),
        batch.labels[images.clone()].to_vec(),
        [images.len(), c, h, w],
    )
}

#[test]
fn an_image_gives_the_same_output_whatever_else_is_in_the_batch() {
    let desc = with_noise();
    let model = compile(&desc, &Compute::cpu());
    let all = batch(4, &desc, 1);
    let logits = |b: &Batch| model.predict(b.images.clone(), b.shape).unwrap().values;
    let whole = logits(&all);
    let classes = whole.len() / 4;
    for image in 0..4 {
        let alone = logits(&part(&all, image..image + 1));
        for (a, b) in alone.iter().zip(&whole[image * classes..]) {
            assert!((a - b).abs() < 1e-5, "image {image}: {alone:?} {whole:?}");
        }
    }
    // Without the noise it is another network.
    let mut zeros = desc.clone();
    zeros.cells[0].nodes[1].edges[0].op.name = "none".into();
    let plain = compile(&zeros, &Compute::cpu());
    assert_ne!(
        whole,
        plain.predict(all.images.clone(), all.shape).unwrap().values
    );
}

#[test]
fn each_step_draws_noise_of_its_own_and_the_same_again() {
    let desc = with_noise();
    let all = batch(4, &desc, 1);
    let logits = |draw: u64| {
        let mut model = compile(&desc, &Compute::cpu());
        let regular = Regular {
            drop_path_prob: 0.0,
            draw: Key::new(draw),
        };
        let want = Want {
            weights: true,
            arch: false,
        };
        let grads = model.train_pass(&all, &Objective::default(), &regular, want);
        grads.unwrap().logits.values
    };
    assert_eq!(logits(1), logits(1));
    assert_ne!(logits(1), logits(2));
    // Without a key, the passes of a finite difference see the same noise.
    let model: Model = compile(&desc, &Compute::cpu());
    let passes = [0, 1].map(|_| {
        model
            .grads(&all, &Objective::default())
            .unwrap()
            .logits
            .values
    });
    assert_eq!(passes[0], passes[1]);
}

#[test]
fn its_numbers_have_mean_0_and_variance_1_and_the_shape_of_the_stride() {
    let ops = OpRegistry::builtin();
    let shape = [8, 6, 9, 12];
    let zeros = vec![0.0; shape.iter().product()];
    for stride in [1, 2] {
        let desc = OpDesc::new("noise", 6, 6).with_stride(stride);
        let mut op = SingleOp::new(&desc, 1, true, &ops, &Compute::cpu(), 0).unwrap();
        let x = Compute::cpu().tensor::<4>(zeros.clone(), shape);
        let y = op.forward(&[x], None, Mode::Training);
        assert_eq!(y.dims(), [8, 6, 9_usize.div_ceil(stride), 12 / stride]);
        let values: Vec<f64> = y.to_data().iter::<f64>().collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        assert!(
            mean.abs() < 0.08 && (variance - 1.0).abs() < 0.12,
            "{mean} {variance}"
        );
    }
}

#[test]
fn it_is_counted_and_cannot_be_exported() {
    let desc = with_noise();
    let catalog = OpCatalog::builtin();
    let mut zeros = desc.clone();
    zeros.cells[0].nodes[1].edges[0].op.name = "none".into();
    let cost = |d: &ModelDesc| d.cost(&catalog).unwrap().total(true);
    assert_eq!(cost(&desc), cost(&zeros));
    let errors = desc.lower(&catalog).unwrap_err().to_string();
    assert!(
        errors.contains("cell 0") && errors.contains("`noise` gives random numbers"),
        "{errors}"
    );
}
