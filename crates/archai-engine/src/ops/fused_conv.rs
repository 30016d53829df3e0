//! A convolution with what surrounds it, as one kernel: \[ReLU,\] depthwise and pointwise, or dense, or a factorised reduce,
//! \[norm\].

use std::sync::{Arc, Mutex, PoisonError};

use archai_kernels::{ConvKind, ConvNorm, FeatureMap, NormKind, Unsupported};

use crate::features::Features;
use crate::fused::{self, kernels};
use crate::op::{Conv, ConvShape, Norm, OpBuilder, Packed, Pass};
use archai_spec::ops::{Layer, LayerList};

/// A kernel for the size of maps that was seen last: networks see one size only, so this is built once.
#[derive(Debug)]
pub(super) struct ForSize<K>(Mutex<Option<(FeatureMap, Arc<K>)>>);

impl<K> Default for ForSize<K> {
    fn default() -> Self {
        ForSize(Mutex::default())
    }
}

impl<K> ForSize<K> {
    /// The kernel for maps of this size; `None` if there is none.
    pub fn get(
        &self,
        map: FeatureMap,
        make: impl FnOnce(FeatureMap) -> Result<K, Unsupported>,
    ) -> Option<Arc<K>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kernel)) = last.as_ref().filter(|(m, _)| *m == map) {
            return Some(kernel.clone());
        }
        let kernel = Arc::new(make(map).ok()?);
        *last = Some((map, kernel.clone()));
        Some(kernel)
    }
}

/// Whether the value of step `at` is read by the next step alone, and that step reads nothing else.
pub(super) fn leads_on(list: &LayerList, at: usize) -> bool {
    let value = list.n_inputs + at;
    let next = list.steps.get(at + 1);
    next.is_some_and(|next| next.inputs == [value]) && n_readers(list, value) == 1
}

fn n_readers(list: &LayerList, value: usize) -> usize {
    let readers = list.steps.iter().flat_map(|s| &s.inputs);
    readers.filter(|&&input| input == value).count() + usize::from(list.output == value)
}

/// Steps of a list that one kernel computes: \[ReLU,\] convolutions, \[norm\].
pub(super) struct ConvRun {
    relu: bool,
    kind: ConvKind,
    convs: Vec<ConvShape>,
    c_out: usize,
    /// Whether the norm learns, if there is one.
    pub norm: Option<bool>,
    pub n_steps: usize,
}

impl ConvRun {
    /// The longest run from step `at` on.
    pub fn find(list: &LayerList, at: usize) -> Option<ConvRun> {
        ConvRun::factorized_reduce(list, at).or_else(|| ConvRun::chain(list, at))
    }

    /// The factorised reduce: a ReLU that two pointwise convolutions of stride 2 read, one without its first row and
    /// column; joined; norm.
    pub fn factorized_reduce(list: &LayerList, at: usize) -> Option<ConvRun> {
        let steps = list.steps.get(at..at + 6)?;
        let value = |i: usize| list.n_inputs + at + i;
        let [relu, first, crop, second, join, norm] = steps else {
            return None;
        };
        let (Layer::Conv(half), Layer::Norm { channels, affine }) = (&first.layer, &norm.layer)
        else {
            return None;
        };
        let is_half = *half == ConvShape::new(half.c_in, half.c_out, 1).with_stride(2);
        let layers = relu.layer == Layer::Relu
            && is_half
            && crop.layer == Layer::Shift
            && second.layer == first.layer
            && join.layer == Layer::Concat
            && *channels == 2 * half.c_out;
        let wires = first.inputs == [value(0)]
            && crop.inputs == [value(0)]
            && second.inputs == [value(2)]
            && join.inputs == [value(1), value(3)]
            && norm.inputs == [value(4)];
        let inner = [2, 1, 1, 1, 1].into_iter().enumerate();
        let alone = inner
            .into_iter()
            .all(|(i, readers)| n_readers(list, value(i)) == readers);
        (layers && wires && alone).then(|| ConvRun {
            relu: true,
            kind: ConvKind::FactorizedReduce,
            convs: vec![*half, *half],
            c_out: *channels,
            norm: Some(*affine),
            n_steps: 6,
        })
    }

    /// Whether the run is all of a list.
    pub fn is_whole(&self, list: &LayerList) -> bool {
        self.n_steps == list.steps.len() && list.output == list.n_inputs + self.n_steps - 1
    }

    /// Whether it goes from and to maps of so many channels.
    pub fn keeps(&self, channels: usize) -> bool {
        self.c_out == channels && self.convs.iter().all(|conv| conv.c_in == channels)
    }

    fn chain(list: &LayerList, at: usize) -> Option<ConvRun> {
        let n = (at..).take_while(|&i| leads_on(list, i)).count() + 1;
        let layers: Vec<&Layer> = list.steps[at..at + n].iter().map(|s| &s.layer).collect();
        let relu = matches!(layers[0], Layer::Relu);
        let rest = &layers[usize::from(relu)..];
        let (kind, convs) = kernel_for(rest)?;
        let norm = match rest.get(convs.len()) {
            Some(Layer::Norm { affine, .. }) => Some(*affine),
            _ => None,
        };
        Some(ConvRun {
            relu,
            kind,
            c_out: convs.last()?.c_out,
            n_steps: usize::from(relu) + convs.len() + usize::from(norm.is_some()),
            norm,
            convs,
        })
    }
}

/// The kernel for the convolutions at the front of `layers`.
fn kernel_for(layers: &[&Layer]) -> Option<(ConvKind, Vec<ConvShape>)> {
    let Some(Layer::Conv(first)) = layers.first() else {
        return None;
    };
    let [k, _] = first.kernel;
    if first.bias {
        return None;
    }
    // A depthwise convolution of one channel is a dense one as well. It must be separable at every place, because ops that
    // share a parameter agree on its arrangement.
    if let Some(Layer::Conv(second)) = layers.get(1) {
        let depthwise = ConvShape::depthwise(first.c_in, k)
            .with_stride(first.stride[0])
            .with_dilation(first.dilation);
        let pointwise = ConvShape::new(first.c_in, second.c_out, 1);
        if (k, first.groups) != (1, 1) && *first == depthwise && *second == pointwise {
            let kind = ConvKind::Separable {
                kernel: k,
                dilation: first.dilation,
                stride: first.stride[0],
            };
            return Some((kind, vec![*first, *second]));
        }
    }
    if first.groups != 1 || first.dilation != 1 {
        return None;
    }
    let kind = if *first == ConvShape::new(first.c_in, first.c_out, 1) {
        ConvKind::Pointwise
    } else {
        let pair = |[rows, columns]: [usize; 2]| (rows, columns);
        ConvKind::Dense {
            kernel: pair(first.kernel),
            stride: pair(first.stride),
            padding: pair(first.padding),
        }
    };
    Some((kind, vec![*first]))
}

/// The kernel's side of a stretch of layers.
#[derive(Debug)]
pub(super) struct FusedConv {
    relu: bool,
    kind: ConvKind,
    norm_kind: NormKind,
    c_out: usize,
    param: Packed,
    norm: Option<Norm>,
    kernel: ForSize<ConvNorm>,
}

/// Maps on which every kernel exists that exists at all: only the layout of parameters is asked of it.
const ANY_SIZE: usize = 16;

impl FusedConv {
    /// Declares the parameters of a run's convolutions and norm. The handles read the same parameters one by one. `None` if
    /// the model is not built for kernels or there is none for this.
    pub fn declare(
        b: &mut OpBuilder<'_>,
        run: &ConvRun,
    ) -> Option<(FusedConv, Vec<Conv>, Option<Norm>)> {
        if !b.fused() {
            return None;
        }
        let (relu, kind, c_out) = (run.relu, run.kind, run.c_out);
        let norm_kind = match run.norm {
            None => NormKind::None,
            Some(false) => NormKind::Plain,
            Some(true) => NormKind::Affine,
        };
        let map = FeatureMap::new(run.convs[0].c_in, ANY_SIZE, ANY_SIZE);
        let like = ConvNorm::new(map, c_out, kind, relu, norm_kind).ok()?;
        let with_norm = run.norm.map(|_| c_out);
        let (param, handles, norm) = b.packed(like.params(), &run.convs, with_norm);
        let fused = FusedConv {
            relu,
            kind,
            norm_kind,
            c_out,
            param,
            norm: norm.clone(),
            kernel: ForSize::default(),
        };
        Some((fused, handles, norm))
    }

    /// The output; `None` where layers must be executed one by one: for gradients in evaluation mode, and for sizes without
    /// a kernel.
    pub fn forward(&self, pass: &mut Pass<'_>, x: &Features) -> Option<Features> {
        let exec = pass.exec()?;
        let op = self.kernel.get(x.map(), |map| {
            ConvNorm::new(map, self.c_out, self.kind, self.relu, self.norm_kind)
        })?;
        let params = pass.packed(&self.param);
        let norm = self.norm.as_ref();
        let given = match norm.map_or(pass.is_training(), |norm| pass.uses_batch(norm)) {
            true => None,
            false if x.is_tracked() || params.is_tracked() => return None,
            false => Some(norm.map(|n| (*pass.running(n)).clone())),
        };
        let map = op.output();
        let inputs = vec![x.input(exec), params.into_dispatch()];
        let (y, stats) = fused::call(kernels::Conv { exec, op, given }, inputs);
        let y = Features::from_blocked(y, map);
        if let (Some(norm), [stats]) = (&self.norm, stats.as_slice()) {
            pass.record(norm, stats, y.shape()[0] * map.pixels());
        }
        Some(y)
    }
}
