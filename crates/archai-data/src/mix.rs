//! Training images that are mixed with each other, and their classes with them.

use archai_spec::settings::Mix;

use crate::batch::{Batch, Mixed};
use crate::rng::{Key, Rng};

/// Mixes the images of a batch with those of the same batch in reverse order, as `mix` asks for. `key` belongs to this batch
/// alone. A batch of one image stays as it is; so does the middle one of an odd number.
pub(crate) fn mix(batch: &mut Batch, mix: &Mix, key: Key) {
    let mut rng = key.rng();
    let is_mixed = rng.uniform_f64() < mix.prob;
    let is_cutmix = match (mix.mixup > 0.0, mix.cutmix > 0.0) {
        (true, true) => rng.uniform_f64() < mix.switch_prob,
        (_, is_cutmix) => is_cutmix,
    };
    let alpha = if is_cutmix { mix.cutmix } else { mix.mixup };
    let n = batch.labels.len();
    if !is_mixed || alpha <= 0.0 || n < 2 {
        return;
    }
    let drawn = rng.beta(alpha, alpha);
    let share = match is_cutmix {
        true => cut(batch, drawn, &mut rng),
        false => average(batch, drawn),
    };
    let others: Vec<i64> = batch.labels.iter().rev().copied().collect();
    // The class that an image shows most of is its label.
    let (labels, others, share) = match share >= 0.5 {
        true => (batch.labels.clone(), others, share),
        false => (others, batch.labels.clone(), 1.0 - share),
    };
    batch.labels = labels;
    batch.mixed = Some(Mixed {
        others,
        shares: vec![share; n],
    });
}

/// Each image becomes λ of itself and 1 − λ of its partner; gives λ.
fn average(batch: &mut Batch, share: f64) -> f64 {
    let (own, other) = (share as f32, (1.0 - share) as f32);
    for_pairs(batch, |a, b| {
        for (a, b) in a.iter_mut().zip(b) {
            (*a, *b) = (own * *a + other * *b, own * *b + other * *a);
        }
    });
    share
}

/// A rectangle around a random pixel, clipped at the borders, changes places with its partner's; gives the share of an image
/// that is its own.
fn cut(batch: &mut Batch, share: f64, rng: &mut Rng) -> f64 {
    let [_, _, height, width] = batch.shape;
    let ratio = (1.0 - share).sqrt();
    let mut range = |side: usize| {
        let length = (side as f64 * ratio) as usize;
        let centre = rng.uniform_u32_below(side as u32) as usize;
        centre.saturating_sub(length / 2)..(centre + length / 2).min(side)
    };
    let (rows, columns) = (range(height), range(width));
    for_pairs(batch, |a, b| {
        let planes = a
            .chunks_exact_mut(height * width)
            .zip(b.chunks_exact_mut(height * width));
        for (a, b) in planes {
            for row in rows.clone() {
                let pixels = row * width + columns.start..row * width + columns.end;
                a[pixels.clone()].swap_with_slice(&mut b[pixels]);
            }
        }
    });
    1.0 - (rows.len() * columns.len()) as f64 / (height * width) as f64
}

/// Visits each image with its partner: the first with the last, and so on to the middle.
fn for_pairs(batch: &mut Batch, mut visit: impl FnMut(&mut [f32], &mut [f32])) {
    let n = batch.labels.len();
    let size = batch.shape[1..].iter().product();
    let (front, back) = batch.images.split_at_mut(n.div_ceil(2) * size);
    for (a, b) in front
        .chunks_exact_mut(size)
        .zip(back.chunks_exact_mut(size).rev())
    {
        visit(a, b);
    }
}
