//! The scores. w is the weight of a convolution or linear layer, g the gradient of the loss by it, · element by element.

use std::collections::{BTreeMap, HashSet};

use archai_spec::graph::names;
use archai_spec::ops::{Activation, Layer};
use burn::tensor::Tensor;

use super::matrix::{correlations, eigenvalues, log_abs_det};
use super::subject::Subject;
use super::walk::Norms;
use super::{ProxyError, undefined};
use crate::compute::{Precision, to_host, track};

/// Added where a logarithm or a quotient of something small is taken, in jacov and EPE-NAS.
const SMALL: f64 = 1e-5;

/// The step of the finite difference in the proxy `grasp`, as a part of the weights.
pub const GRASP_STEP: f64 = 0.01;

/// Deviation of the noise that is added to images, in [`zen`].
const ZEN_STEP: f64 = 0.01;

type Score = Result<f64, ProxyError>;

/// Learnt numbers, in millions.
pub fn params(subject: &Subject<'_>) -> Score {
    Ok(subject.graph().cost(false).params as f64 / 1e6)
}

/// Multiply-adds of one image and, as the public scores count, the work of layers without products: 2 for each number of a
/// norm with scale and shift (1 without), 1 for each number of an activation, k² for each number that a k×k pool gives, and 1 for
/// each that a mean over the whole map reads. In millions.
pub fn flops(subject: &Subject<'_>) -> Score {
    let graph = subject.graph();
    let numbers = |value: usize| {
        let shape = graph.values[value].shape;
        (shape.channels * shape.height * shape.width) as f64
    };
    let work = graph.layers.iter().map(|layer| {
        let (read, given) = (
            layer.inputs.first().map_or(0.0, |&i| numbers(i)),
            numbers(layer.output),
        );
        let other = match &layer.layer {
            Layer::Norm { affine, .. } => given * if *affine { 2.0 } else { 1.0 },
            Layer::Relu | Layer::Relu6 | Layer::Activation { .. } => given,
            Layer::MaxPool(window) | Layer::AvgPool { window, .. } => {
                given * (window.kernel * window.kernel) as f64
            }
            Layer::GlobalMean => read,
            _ => 0.0,
        };
        layer.cost.macs as f64 + other
    });
    Ok(work.sum::<f64>() / 1e6)
}

/// Σ_layers ‖w‖₂ (Abdelfattah et al. 2021). With PyTorch's initialisation E w² = 1/(3 fan_in), so a layer gives nearly
/// √(c_out/3).
pub fn l2_norm(subject: &Subject<'_>) -> Score {
    subject
        .weights()
        .map(|(_, param)| Ok(norm(subject.numbers(param)?)))
        .sum()
}

/// log Σ |w · ∂R/∂w|, R being the sum of the outputs for one image of ones, in a network whose weights and biases are replaced
/// by their absolute values and whose norms do nothing (Tanaka et al. 2020, "Pruning neural networks without any data by
/// iteratively conserving synaptic flow"). In 64 bits: R grows with each layer.
pub fn synflow(subject: &Subject<'_>) -> Score {
    let compute = subject.plain().clone().with_precision(Precision::F64);
    let mut walk = subject.walk_with(&compute, Norms::Identity, |tensor| {
        tensor.values.iter().map(|v| v.abs()).collect()
    })?;
    let weights: HashSet<&str> = subject
        .weights()
        .map(|(_, param)| param.name.as_str())
        .collect();
    for (name, tensor) in &mut walk.params {
        if weights.contains(name) {
            *tensor = track(tensor);
        }
    }
    let graph = subject.graph();
    let input = graph.values[0].shape;
    let ones = Tensor::ones(
        [1, input.channels, input.height, input.width],
        compute.options(),
    );
    let flow = walk.run(ones, graph.logits, &mut |seen| seen.output)?.sum();
    let unreached = || undefined("", "no output depends on a weight");
    if !flow.is_tracked() {
        return Err(unreached());
    }
    let grads = flow.backward();
    let mut sum = 0.0;
    for (_, param) in subject.weights() {
        let Some(weight) = walk.params.get(param.name.as_str()) else {
            continue;
        };
        if let Some(grad) = weight.grad(&grads) {
            sum += dot_abs(&to_host(&weight.clone().inner()), &to_host(&grad));
        }
    }
    match sum > 0.0 {
        true => Ok(sum.ln()),
        false => Err(unreached()),
    }
}

/// log |det K|, K_ij being how many ReLUs images i and j switch alike: on if the input is above zero (Mellor et al. 2021,
/// "Neural Architecture Search without Training"). ReLU6, hard swish, SiLU and GELU count as ReLUs; sigmoids, which gates
/// have, do not.
pub fn nwot(subject: &Subject<'_>) -> Score {
    let batch = subject.batch()?;
    let n = batch.shape[0];
    let (mut alike, mut any) = (vec![0u64; n * n], false);
    let walk = subject.walk(subject.plain(), Norms::Batch)?;
    let images = subject.images(batch);
    walk.run(images, subject.graph().logits, &mut |seen| {
        if switches(&seen.layer.layer) {
            any = true;
            count_alike(&to_host(seen.input), n, &mut alike);
        }
        seen.output
    })?;
    if !any {
        return Err(undefined(
            "",
            "the network has no ReLU, nor an activation like one",
        ));
    }
    let value = log_abs_det(alike.into_iter().map(|count| count as f64).collect(), n);
    match value.is_finite() {
        true => Ok(value),
        false => Err(undefined(
            "",
            "two images of the batch switch all ReLUs alike, so that the determinant is 0",
        )),
    }
}

fn switches(layer: &Layer) -> bool {
    match layer {
        Layer::Relu | Layer::Relu6 => true,
        Layer::Activation { function } => match function {
            Activation::HardSwish | Activation::Silu | Activation::Gelu => true,
            Activation::Sigmoid | Activation::HardSigmoid => false,
        },
        _ => false,
    }
}

/// Adds for each pair of rows in how many places both or neither are above zero.
fn count_alike(values: &[f64], n: usize, alike: &mut [u64]) {
    let each = values.len() / n;
    let codes: Vec<Vec<u64>> = (values.chunks_exact(each))
        .map(|row| {
            let word = |part: &[f64]| {
                let bits = part
                    .iter()
                    .enumerate()
                    .map(|(i, v)| u64::from(*v > 0.0) << i);
                bits.fold(0, |word, bit| word | bit)
            };
            row.chunks(64).map(word).collect()
        })
        .collect();
    for i in 0..n {
        for j in 0..n {
            let pairs = codes[i].iter().zip(&codes[j]);
            let unlike: u64 = pairs.map(|(a, b)| u64::from((a ^ b).count_ones())).sum();
            alike[i * n + j] += each as u64 - unlike;
        }
    }
}

/// −Σ (log(v + ε) + 1/(v + ε)) over the eigenvalues v of the correlation matrix of the J_i, J_i being the gradient of the sum of
/// all outputs by the pixels of image i (Mellor et al. 2020, the first version of "Neural Architecture Search without
/// Training"). ε = 1e-5.
pub fn jacov(subject: &Subject<'_>) -> Score {
    let rows: Vec<&[f64]> = subject.image_grads()?.iter().map(Vec::as_slice).collect();
    let values = eigenvalues(correlations(&rows), rows.len());
    let sum: f64 = values
        .iter()
        .map(|v| (v + SMALL).ln() + 1.0 / (v + SMALL))
        .sum();
    Ok(-sum)
}

/// Per class s_c = Σ log(|r| + ε) over the correlations r of all pairs of J_i of the class (J_i as in [`jacov`]), an image
/// and itself included. The score is Σ_c |s_c| for up to 100 classes; for more, s_c is divided by the class's number of images,
/// and the score is Σ over all pairs of classes of |s_c − s_d|, divided by the number of classes in the batch (Lopes et al. 2021,
/// "EPE-NAS: Efficient Performance Estimation Without Training"). ε = 1e-5.
pub fn epe_nas(subject: &Subject<'_>) -> Score {
    let batch = subject.batch()?;
    let rows = subject.image_grads()?;
    let mut classes: BTreeMap<i64, Vec<&[f64]>> = BTreeMap::new();
    for (label, row) in batch.labels.iter().zip(rows) {
        classes.entry(*label).or_default().push(row);
    }
    let many = subject.desc().n_classes > 100;
    let scores: Vec<f64> = classes
        .values()
        .map(|rows| {
            let sum: f64 = correlations(rows)
                .iter()
                .map(|r| (r.abs() + SMALL).ln())
                .sum();
            if many { sum / rows.len() as f64 } else { sum }
        })
        .collect();
    if !many {
        return Ok(scores.iter().map(|s| s.abs()).sum());
    }
    let pairs = scores
        .iter()
        .flat_map(|a| scores.iter().map(move |b| (a - b).abs()));
    Ok(pairs.sum::<f64>() / scores.len() as f64)
}

/// Σ_layers ‖g‖₂ (Abdelfattah et al. 2021).
pub fn grad_norm(subject: &Subject<'_>) -> Score {
    let layers = subject.weight_grads(0)?;
    Ok(layers.iter().map(|layer| norm(&layer.grad)).sum())
}

/// Σ |w · g| (Lee et al. 2019, "SNIP: Single-shot Network Pruning based on Connection Sensitivity").
pub fn snip(subject: &Subject<'_>) -> Score {
    let layers = subject.weight_grads(0)?;
    Ok(layers
        .iter()
        .map(|layer| dot_abs(&layer.weight, &layer.grad))
        .sum())
}

/// Σ w · g (Mozer and Smolensky 1988, "Skeletonization", as Abdelfattah et al. 2021 take it).
pub fn plain(subject: &Subject<'_>) -> Score {
    let layers = subject.weight_grads(0)?;
    Ok(layers
        .iter()
        .map(|layer| dot(&layer.weight, &layer.grad))
        .sum())
}

/// −Σ w · (H g), H being the second derivatives of the loss by the weights (Wang et al. 2020, "Picking Winning Tickets Before
/// Training by Preserving Gradient Flow").
///
/// H is symmetric, so that this is −Σ g · (H w), and H w is a central difference of gradients along the weights themselves,
/// (g(w + h w) − g(w − h w)) / 2h with h = [`GRASP_STEP`]; its error is of the order h². A step along g would cross the kinks of
/// ReLUs; one along w changes the size of maps alone, which norms take back.
pub fn grasp(subject: &Subject<'_>) -> Score {
    let layers = subject.weight_grads(0)?;
    let weights: Vec<Vec<f64>> = layers.iter().map(|layer| layer.weight.clone()).collect();
    let ahead = subject.moved_grads(&weights, GRASP_STEP)?;
    let behind = subject.moved_grads(&weights, -GRASP_STEP)?;
    let mut sum = 0.0;
    for ((at, ahead), behind) in layers.iter().zip(&ahead).zip(&behind) {
        let numbers = at.grad.iter().zip(&ahead.grad).zip(&behind.grad);
        sum += numbers.map(|((g, a), b)| g * (a - b)).sum::<f64>();
    }
    Ok(-sum / (2.0 * GRASP_STEP))
}

/// Σ_layers Σ_channels ½ · mean over images of (Σ over pixels of a · ∂L/∂a)², times the channel's weights, a being the output of a
/// convolution or linear layer (Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning"; Turner et
/// al. 2020, "BlockSwap"; times the weights as Abdelfattah et al. 2021 have it).
pub fn fisher(subject: &Subject<'_>) -> Score {
    use crate::model::{Objective, Targets, cross_entropy};
    let (batch, compute) = (subject.batch()?, subject.plain());
    let graph = subject.graph();
    check_labels(subject)?;
    let walk = subject.walk(compute, Norms::Batch)?;
    // The gradient by an output is that by zeros that are added to it.
    let mut outputs: Vec<(f64, Tensor<4>, Tensor<4>)> = Vec::new();
    let logits = walk.run(subject.images(batch), graph.logits, &mut |seen| {
        let per_channel = match &seen.layer.layer {
            Layer::Conv(c) => c.c_in / c.groups.max(1) * c.kernel[0] * c.kernel[1],
            Layer::Linear { n_in, .. } => *n_in,
            _ => return seen.output,
        };
        let zeros = track(&Tensor::<4>::zeros(seen.output.dims(), compute.options()));
        outputs.push((
            per_channel as f64,
            seen.output.clone().inner(),
            zeros.clone(),
        ));
        seen.output + zeros
    })?;
    let [n, classes, _, _] = logits.dims();
    let targets = Targets::new(batch, 0..n, classes, &Objective::default().loss);
    let loss = cross_entropy(logits.reshape([n, classes]), &targets, compute);
    if !loss.is_tracked() {
        return Err(undefined("", "the loss depends on no layer"));
    }
    let grads = loss.backward();
    let mut sum = 0.0;
    for (weights, output, zeros) in outputs {
        let Some(grad) = zeros.grad(&grads) else {
            continue;
        };
        let [n, c, h, w] = output.dims();
        let by_channel = to_host(&(output * grad).reshape([n, c, h * w]).sum_dim(2));
        sum += weights * 0.5 * dot(&by_channel, &by_channel) / n as f64;
    }
    Ok(sum)
}

fn check_labels(subject: &Subject<'_>) -> Result<(), ProxyError> {
    let classes = subject.desc().n_classes;
    let labels = &subject.batch()?.labels;
    match labels
        .iter()
        .find(|l| usize::try_from(**l).map_or(true, |l| l >= classes))
    {
        Some(l) => Err(crate::EngineError::Batch(format!(
            "label {l} does not fit the network's {classes} classes; take data of as many classes"
        ))
        .into()),
        None => Ok(()),
    }
}

/// log mean over images of Σ |f(x) − f(x + 0.01 z)|, f being the features before the last pool, x and z noise from N(0, 1), plus
/// Σ over norms of log √(mean over channels of σ²), σ² the variances of the batch x in front of the norm; weights are from
/// N(0, 1), biases 0, scales 1 and shifts 0 (Lin et al. 2021, "Zen-NAS: A Zero-Shot NAS for High-Performance Image
/// Recognition"). The batch has as many images as the first batch of data, or 32.
pub fn zen(subject: &Subject<'_>) -> Score {
    let graph = subject.graph();
    let compute = subject.plain();
    let key = subject.key().with("zen");
    let weights: HashSet<&str> = subject
        .weights()
        .map(|(_, param)| param.name.as_str())
        .collect();
    let scales: HashSet<&str> = (graph.layers.iter())
        .filter(|layer| matches!(layer.layer, Layer::Norm { .. }))
        .flat_map(|layer| layer.params.first())
        .map(|param| param.name.as_str())
        .collect();
    let walk = subject.walk_with(compute, Norms::Batch, |tensor| {
        let n = tensor.values.len();
        if weights.contains(tensor.name.as_str()) {
            let mut rng = key.with(tensor.name.as_str()).rng();
            return (0..n).map(|_| rng.normal()).collect();
        }
        vec![f64::from(u8::from(scales.contains(tensor.name.as_str()))); n]
    })?;
    let n = subject.batches().first().map_or(32, |batch| batch.shape[0]);
    let input = graph.values[0].shape;
    let shape = [n, input.channels, input.height, input.width];
    let noise = |purpose: &str| -> Vec<f64> {
        let mut rng = key.with(purpose).rng();
        (0..shape.iter().product()).map(|_| rng.normal()).collect()
    };
    let (x, z) = (noise("images"), noise("difference"));
    let near = x.iter().zip(&z).map(|(x, z)| x + ZEN_STEP * z).collect();
    let features = last_features(subject);
    let mut spread = 0.0;
    let at = walk.run(compute.tensor(x, shape), features, &mut |seen| {
        if let Layer::Norm { .. } = seen.layer.layer {
            spread += mean_variance(seen.input).sqrt().ln();
        }
        seen.output
    })?;
    let beside = walk.run(compute.tensor(near, shape), features, &mut |seen| {
        seen.output
    })?;
    let difference: f64 = to_host(&(at - beside)).iter().map(|d| d.abs()).sum();
    Ok((difference / n as f64).ln() + spread)
}

/// The value that the pool reads, or the classifier where there is no pool.
fn last_features(subject: &Subject<'_>) -> usize {
    let graph = subject.graph();
    let below = |part: &'static str| {
        move |value: usize| {
            let rest = graph.values[value].name.strip_prefix(part);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        }
    };
    let first = |part: &'static str| {
        let is_below = below(part);
        let layer = graph.layers.iter().find(|layer| is_below(layer.output))?;
        layer.inputs.first().copied()
    };
    let found = first(names::POOL).or_else(|| first(names::CLASSIFIER));
    found.unwrap_or(graph.logits)
}

/// The mean over channels of the variance over images and pixels.
fn mean_variance(x: &Tensor<4>) -> f64 {
    let [n, c, h, w] = x.dims();
    let values = to_host(x);
    let count = (n * h * w) as f64;
    let variance = |channel: usize| {
        let maps = (0..n).map(|image| &values[(image * c + channel) * h * w..][..h * w]);
        let mean = maps.clone().flatten().sum::<f64>() / count;
        maps.flatten().map(|v| (v - mean).powi(2)).sum::<f64>() / count
    };
    (0..c).map(variance).sum::<f64>() / c as f64
}

/// Σ_layers log Σ_w mean|g| / deviation of g, both over the batches (Li et al. 2023, "ZiCo: Zero-shot NAS via Inverse
/// Coefficient of Variation on Gradients"); the deviation is that of the population, weights whose gradient does not vary are
/// left out, and so are layers without others.
pub fn zico(subject: &Subject<'_>) -> Score {
    let n = subject.batches().len();
    if n < 2 {
        return Err(undefined(
            "",
            format!("it compares the gradients of at least two batches, and there are {n}"),
        ));
    }
    let all: Vec<_> = (0..n)
        .map(|batch| subject.weight_grads(batch))
        .collect::<Result<_, _>>()?;
    let layers = all.first().map_or(0, |layers| layers.len());
    let count = n as f64;
    let mut score = 0.0;
    for layer in 0..layers {
        let numbers = all[0][layer].grad.len();
        let ratio = |i: usize| {
            let of = |batch: &&[_]| -> f64 {
                let layer: &super::subject::WeightGrad = &batch[layer];
                layer.grad[i]
            };
            let mean = all.iter().map(of).sum::<f64>() / count;
            let size = all.iter().map(|batch| of(batch).abs()).sum::<f64>() / count;
            let variance = all
                .iter()
                .map(|batch| (of(batch) - mean).powi(2))
                .sum::<f64>()
                / count;
            if variance > 0.0 {
                size / variance.sqrt()
            } else {
                0.0
            }
        };
        let sum: f64 = (0..numbers).map(ratio).sum();
        if sum > 0.0 {
            score += sum.ln();
        }
    }
    Ok(score)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn dot_abs(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x * y).abs()).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
