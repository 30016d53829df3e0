//! The plain loops: NCHW in double precision. A layer's forward pass returns its backward pass as a closure, so that
//! layers compose.

use archai_kernels::{Exec, FeatureMap, from_nchw, to_nchw};
use std::collections::BTreeMap;

/// A tensor, NCHW.
#[derive(Clone, Debug, PartialEq)]
pub struct T {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub d: Vec<f64>,
}

impl T {
    pub fn zeros(n: usize, c: usize, h: usize, w: usize) -> T {
        T {
            n,
            c,
            h,
            w,
            d: vec![0.0; n * c * h * w],
        }
    }

    /// Values that single precision holds exactly.
    pub fn random(rng: &mut Rng, n: usize, c: usize, h: usize, w: usize) -> T {
        T {
            n,
            c,
            h,
            w,
            d: rng.vec(n * c * h * w),
        }
    }

    pub fn like(&self) -> T {
        T::zeros(self.n, self.c, self.h, self.w)
    }

    pub fn map(&self) -> FeatureMap {
        FeatureMap::new(self.c, self.h, self.w)
    }

    pub fn at(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        ((n * self.c + c) * self.h + y) * self.w + x
    }

    pub fn blocked(&self) -> Vec<f32> {
        from_nchw(
            &Exec::portable(),
            self.map(),
            &self.d.iter().map(|&v| v as f32).collect::<Vec<_>>(),
        )
    }

    pub fn add(&mut self, scale: f64, other: &T) {
        for (a, b) in self.d.iter_mut().zip(&other.d) {
            *a += scale * b;
        }
    }

    fn channel(&self, c: usize) -> impl Iterator<Item = usize> + '_ {
        let p = self.h * self.w;
        (0..self.n).flat_map(move |n| (n * self.c + c) * p..(n * self.c + c + 1) * p)
    }
}

/// Splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<X: Copy>(&mut self, of: &[X]) -> X {
        of[self.below(of.len())]
    }

    /// In (−1, 1).
    pub fn unit(&mut self) -> f64 {
        f64::from(((self.next() >> 40) as f32 / (1 << 24) as f32) * 2.0 - 1.0)
    }

    pub fn vec(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.unit()).collect()
    }
}

pub type Grads = BTreeMap<String, Vec<f64>>;
pub type Back = Box<dyn Fn(&T) -> (T, Grads)>;

#[derive(Clone, Copy)]
pub struct ConvShape {
    pub co: usize,
    pub k: (usize, usize),
    pub s: (usize, usize),
    pub p: (usize, usize),
    pub d: usize,
    pub groups: usize,
}

impl ConvShape {
    fn out(&self, x: &T) -> (usize, usize) {
        let o = |n: usize, k: usize, s: usize, p: usize| (n + 2 * p - self.d * (k - 1) - 1) / s + 1;
        (
            o(x.h, self.k.0, self.s.0, self.p.0),
            o(x.w, self.k.1, self.s.1, self.p.1),
        )
    }

    /// Calls `f(x index, w index, y index)` for each multiplication.
    fn each(&self, x: &T, mut f: impl FnMut(usize, usize, usize)) {
        let (ho, wo) = self.out(x);
        let (cig, cog) = (x.c / self.groups, self.co / self.groups);
        for n in 0..x.n {
            for o in 0..self.co {
                for i in 0..cig {
                    let c = o / cog * cig + i;
                    for ky in 0..self.k.0 {
                        for kx in 0..self.k.1 {
                            let wi = ((o * cig + i) * self.k.0 + ky) * self.k.1 + kx;
                            for y in 0..ho {
                                let iy = y * self.s.0 + ky * self.d;
                                if iy < self.p.0 || iy - self.p.0 >= x.h {
                                    continue;
                                }
                                for xx in 0..wo {
                                    let ix = xx * self.s.1 + kx * self.d;
                                    if ix < self.p.1 || ix - self.p.1 >= x.w {
                                        continue;
                                    }
                                    let yi = ((n * self.co + o) * ho + y) * wo + xx;
                                    f(x.at(n, c, iy - self.p.0, ix - self.p.1), wi, yi);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub fn conv(name: &str, x: &T, w: &[f64], shape: ConvShape) -> (T, Back) {
    let (ho, wo) = shape.out(x);
    let mut y = T::zeros(x.n, shape.co, ho, wo);
    shape.each(x, |xi, wi, yi| y.d[yi] += x.d[xi] * w[wi]);
    let (x, w, name) = (x.clone(), w.to_vec(), name.to_string());
    let back = move |g: &T| {
        let (mut dx, mut dw) = (x.like(), vec![0.0; w.len()]);
        shape.each(&x, |xi, wi, yi| {
            dx.d[xi] += g.d[yi] * w[wi];
            dw[wi] += g.d[yi] * x.d[xi];
        });
        (dx, Grads::from([(name.clone(), dw)]))
    };
    (y, Box::new(back))
}

pub fn relu(x: &T) -> (T, Back) {
    let mut y = x.clone();
    y.d.iter_mut().for_each(|v| *v = v.max(0.0));
    let x = x.clone();
    let back = move |g: &T| {
        let mut dx = g.clone();
        dx.d.iter_mut()
            .zip(&x.d)
            .for_each(|(g, x)| *g = if *x > 0.0 { *g } else { 0.0 });
        (dx, Grads::new())
    };
    (y, Box::new(back))
}

/// Training mode; also mean and biased variance.
pub fn batch_norm(
    name: &str,
    x: &T,
    affine: Option<(&[f64], &[f64])>,
) -> (T, Back, Vec<f64>, Vec<f64>) {
    let m = (x.n * x.h * x.w) as f64;
    let mut hat = x.clone();
    let (mut means, mut vars, mut rstds) = (vec![], vec![], vec![]);
    for c in 0..x.c {
        let mean = x.channel(c).map(|i| x.d[i]).sum::<f64>() / m;
        let var = x.channel(c).map(|i| (x.d[i] - mean).powi(2)).sum::<f64>() / m;
        let rstd = 1.0 / (var + 1e-5).sqrt();
        x.channel(c).for_each(|i| hat.d[i] = (x.d[i] - mean) * rstd);
        means.push(mean);
        vars.push(var);
        rstds.push(rstd);
    }
    let gamma: Vec<f64> = affine.map_or(vec![1.0; x.c], |a| a.0.to_vec());
    let mut y = hat.clone();
    for (c, gamma) in gamma.iter().enumerate() {
        x.channel(c)
            .for_each(|i| y.d[i] = hat.d[i] * gamma + affine.map_or(0.0, |a| a.1[c]));
    }
    let (name, is_affine) = (name.to_string(), affine.is_some());
    let back = move |g: &T| {
        let mut dx = hat.like();
        let (mut dg, mut db) = (vec![], vec![]);
        for c in 0..hat.c {
            let sum = hat.channel(c).map(|i| g.d[i]).sum::<f64>();
            let dot = hat.channel(c).map(|i| g.d[i] * hat.d[i]).sum::<f64>();
            hat.channel(c).for_each(|i| {
                dx.d[i] = gamma[c] * rstds[c] * (g.d[i] - sum / m - hat.d[i] * dot / m)
            });
            dg.push(dot);
            db.push(sum);
        }
        let mut grads = Grads::new();
        if is_affine {
            grads.insert(format!("{name}.weight"), dg);
            grads.insert(format!("{name}.bias"), db);
        }
        (dx, grads)
    };
    (y, Box::new(back), means, vars)
}

pub fn pool(x: &T, max: bool, k: usize, s: usize, p: usize) -> (T, Back) {
    let out = |n: usize| (n + 2 * p - k) / s + 1;
    let mut y = T::zeros(x.n, x.c, out(x.h), out(x.w));
    let mut shares: Vec<(usize, usize, f64)> = vec![];
    for n in 0..x.n {
        for c in 0..x.c {
            for oy in 0..y.h {
                for ox in 0..y.w {
                    let mut cells = vec![];
                    for iy in (oy * s).saturating_sub(p)..(oy * s + k - p).min(x.h) {
                        for ix in (ox * s).saturating_sub(p)..(ox * s + k - p).min(x.w) {
                            cells.push(x.at(n, c, iy, ix));
                        }
                    }
                    let o = y.at(n, c, oy, ox);
                    if max {
                        let mut best = cells[0];
                        cells
                            .iter()
                            .for_each(|&i| best = if x.d[i] > x.d[best] { i } else { best });
                        y.d[o] = x.d[best];
                        shares.push((o, best, 1.0));
                    } else {
                        let share = 1.0 / cells.len() as f64;
                        y.d[o] = cells.iter().map(|&i| x.d[i] * share).sum();
                        shares.extend(cells.iter().map(|&i| (o, i, share)));
                    }
                }
            }
        }
    }
    let x = x.like();
    let back = move |g: &T| {
        let mut dx = x.clone();
        shares
            .iter()
            .for_each(|&(o, i, share)| dx.d[i] += share * g.d[o]);
        (dx, Grads::new())
    };
    (y, Box::new(back))
}

/// Rows and columns from `by` on.
pub fn crop(x: &T, by: usize) -> (T, Back) {
    crop_filled(x, by, 0, 0)
}

/// The same with rows and columns of zeros after the last ones.
fn crop_filled(x: &T, by: usize, below: usize, beside: usize) -> (T, Back) {
    let mut y = T::zeros(x.n, x.c, x.h - by + below, x.w - by + beside);
    let each = move |x: &T, y: &T, f: &mut dyn FnMut(usize, usize)| {
        for n in 0..y.n {
            for c in 0..y.c {
                for yy in 0..x.h - by {
                    for xx in 0..x.w - by {
                        f(x.at(n, c, yy + by, xx + by), y.at(n, c, yy, xx));
                    }
                }
            }
        }
    };
    let shape = y.like();
    each(x, &shape, &mut |i, o| y.d[o] = x.d[i]);
    let x = x.like();
    let back = move |g: &T| {
        let mut dx = x.clone();
        each(&x, g, &mut |i, o| dx.d[i] += g.d[o]);
        (dx, Grads::new())
    };
    (y, Box::new(back))
}

pub fn concat(parts: &[&T]) -> T {
    let c = parts.iter().map(|p| p.c).sum();
    let mut y = T::zeros(parts[0].n, c, parts[0].h, parts[0].w);
    let plane = y.h * y.w;
    for n in 0..y.n {
        let mut first = 0;
        for p in parts {
            y.d[(n * c + first) * plane..][..p.c * plane]
                .copy_from_slice(&p.d[n * p.c * plane..][..p.c * plane]);
            first += p.c;
        }
    }
    y
}

pub fn split(x: &T, channels: &[usize]) -> Vec<T> {
    let plane = x.h * x.w;
    let mut first = 0;
    channels
        .iter()
        .map(|&c| {
            let mut p = T::zeros(x.n, c, x.h, x.w);
            for n in 0..x.n {
                p.d[n * c * plane..][..c * plane]
                    .copy_from_slice(&x.d[(n * x.c + first) * plane..][..c * plane]);
            }
            first += c;
            p
        })
        .collect()
}

/// Runs `second` behind `first`.
pub fn chain(first: (T, Back), second: impl FnOnce(&T) -> (T, Back)) -> (T, Back) {
    let (y, back1) = first;
    let (z, back2) = second(&y);
    let back = move |g: &T| {
        let (g, mut grads) = back2(g);
        let (dx, more) = back1(&g);
        grads.extend(more);
        (dx, grads)
    };
    (z, Box::new(back))
}

/// A factorised reduce without ReLU and norm.
pub fn reduce(x: &T, co: usize, w1: (&str, &[f64]), w2: (&str, &[f64])) -> (T, Back) {
    let shape = |co| ConvShape {
        co,
        k: (1, 1),
        s: (2, 2),
        p: (0, 0),
        d: 1,
        groups: 1,
    };
    let half = co / 2;
    let (y1, b1) = conv(w1.0, x, w1.1, shape(half));
    let shifted = crop_filled(x, 1, x.h % 2, x.w % 2);
    let (y2, b2) = chain(shifted, |x| conv(w2.0, x, w2.1, shape(co - half)));
    let back = move |g: &T| {
        let parts = split(g, &[half, co - half]);
        let (mut dx, mut grads) = b1(&parts[0]);
        let (dx2, more) = b2(&parts[1]);
        dx.add(1.0, &dx2);
        grads.extend(more);
        (dx, grads)
    };
    (concat(&[&y1, &y2]), Box::new(back))
}

/// Holds `got` (blocked) against the truth, relative to the largest true value; padding must be zero.
#[track_caller]
pub fn check_map(what: &str, got: &[f32], truth: &T, tolerance: f64) {
    check(
        what,
        &to_nchw(&Exec::portable(), truth.map(), got),
        &truth.d,
        tolerance,
    );
    let again = from_nchw(
        &Exec::portable(),
        truth.map(),
        &to_nchw(&Exec::portable(), truth.map(), got),
    );
    assert!(
        got.iter().zip(&again).all(|(a, b)| a == b),
        "{what}: padding is not zero"
    );
}

#[track_caller]
pub fn check(what: &str, got: &[f32], truth: &[f64], tolerance: f64) {
    assert_eq!(got.len(), truth.len(), "{what}: length");
    let largest = truth.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in got.iter().zip(truth).enumerate() {
        let error = (f64::from(*a) - b).abs() / largest;
        assert!(
            error <= tolerance,
            "{what}[{i}]: {a} instead of {b} (relative to {largest}: {error:.2e})"
        );
    }
}
