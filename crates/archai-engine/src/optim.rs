//! Optimizers as arithmetic on values: an [`Optimizer`] takes numbers and gradients and returns new numbers. It serves the
//! weights ([`ParamVec`]) and the architecture parameters ([`ArchParams`]) alike, and [`Optimizer::direction`] says where
//! the next step would go without taking it, which is what a bilevel method's look-ahead needs.

use archai_spec::settings;
use burn::tensor::{Tensor, TensorData};

use crate::{
    arch::ArchParams,
    compute::Compute,
    error::EngineError,
    params::{NamedTensor, ParamRole, ParamVec, Roles},
    parts::Rate,
};

/// A list of flat tensors with names and roles: what an optimizer moves.
pub trait Vector: Clone {
    /// The tensors, in their fixed order.
    fn tensors(&self) -> &[Tensor<1>];
    /// What the numbers of tensor `i` are for.
    fn roles(&self, i: usize) -> Roles;
    /// The same names with other numbers; `tensors` has as many tensors of the same lengths.
    fn with_tensors(&self, tensors: Vec<Tensor<1>>) -> Self;
    /// The numbers by name, as files hold them.
    fn named(&self) -> Vec<NamedTensor>;
    /// The same names with the numbers of `tensors`. Errors name what is missing, unknown or of another shape.
    fn with_named(&self, tensors: &[NamedTensor], compute: &Compute) -> Result<Self, EngineError>;
}

impl Vector for ParamVec {
    fn tensors(&self) -> &[Tensor<1>] {
        ParamVec::tensors(self)
    }
    fn roles(&self, i: usize) -> Roles {
        self.spec(i).roles()
    }
    fn with_tensors(&self, tensors: Vec<Tensor<1>>) -> Self {
        ParamVec {
            layout: self.layout.clone(),
            tensors,
        }
    }
    fn named(&self) -> Vec<NamedTensor> {
        ParamVec::named(self)
    }
    fn with_named(&self, tensors: &[NamedTensor], compute: &Compute) -> Result<Self, EngineError> {
        ParamVec::from_named(&self.layout, tensors, compute)
    }
}

impl Vector for ArchParams {
    fn tensors(&self) -> &[Tensor<1>] {
        self.values()
    }
    fn roles(&self, _i: usize) -> Roles {
        Roles::All(ParamRole::Weight)
    }
    fn with_tensors(&self, tensors: Vec<Tensor<1>>) -> Self {
        let mut tensors = tensors.into_iter();
        // Both lists have the same length by contract, so the fallback is never taken.
        self.map(|old| tensors.next().unwrap_or_else(|| old.clone()))
    }
    fn named(&self) -> Vec<NamedTensor> {
        ArchParams::named(self)
    }
    fn with_named(&self, tensors: &[NamedTensor], compute: &Compute) -> Result<Self, EngineError> {
        let mut values = Vec::with_capacity(self.keys().len());
        for expected in ArchParams::named(self) {
            let found = tensors
                .iter()
                .find(|t| t.name == expected.name)
                .ok_or_else(|| {
                    EngineError::Shape(format!("the saved state has no tensor `{}`", expected.name))
                })?;
            if found.values.len() != expected.values.len() {
                return Err(EngineError::Shape(format!(
                    "the saved tensor `{}` has {} numbers, expected {}",
                    expected.name,
                    found.values.len(),
                    expected.values.len()
                )));
            }
            values.push(found.values.clone());
        }
        if tensors.len() != values.len() {
            return Err(EngineError::Shape(format!(
                "the saved state has {} tensors, expected {}",
                tensors.len(),
                values.len()
            )));
        }
        Ok(self.with_values(values, compute))
    }
}

/// What happens to a gradient before it moves a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// m ← μ·m + g′; direction m, or g′ + μ·m with Nesterov.
    Sgd { momentum: f64, nesterov: bool },
    /// Adam (Kingma and Ba, 2015, algorithm 1).
    Adam { betas: [f64; 2], eps: f64 },
    /// AdamW (Loshchilov and Hutter, 2019, algorithm 2): Adam of g alone, plus λ·w.
    AdamW { betas: [f64; 2], eps: f64 },
    /// v ← α·v + (1 − α)·g′²; g′ / (√v + ε), or with the variance v − mean² in the place of v; then momentum as SGD has it.
    RmsProp {
        alpha: f64,
        eps: f64,
        momentum: f64,
        centered: bool,
    },
}

/// What an optimizer remembers between steps.
#[derive(Clone, Debug)]
enum Memory<V> {
    /// Before the first step.
    Nothing,
    /// SGD with momentum.
    Momentum(V),
    /// Adam: first and second moment.
    Moments(V, V),
    /// RMSProp.
    Squares(Squares<V>),
}

/// What RMSProp remembers.
#[derive(Clone, Debug)]
struct Squares<V> {
    /// Running mean of the squares.
    square: V,
    /// Running mean, where it is centred.
    mean: Option<V>,
    /// Momentum, where there is any.
    momentum: Option<V>,
}

/// SGD with momentum, Adam, AdamW or RMSProp, with the formulas and defaults of PyTorch. In all but AdamW, λ·w is added to the
/// gradient ("coupled" decay), after any clipping that the caller did; SGD's momentum has no dampening.
#[derive(Clone, Debug)]
pub struct Optimizer<V> {
    rule: Rule,
    decay: f64,
    decay_norm: f64,
    steps: u64,
    memory: Memory<V>,
    /// Factors of the learning rate by tensor, where they are not all 1.
    rates: Option<Vec<Rate>>,
}

impl<V: Vector> Optimizer<V> {
    /// From settings. A key that belongs to the other kind of optimizer is an error.
    pub fn new(settings: &settings::Optimizer) -> Result<Self, EngineError> {
        let setting = |problem: String| EngineError::setting("optimizer", problem);
        let kind = settings.kind;
        if let Some((key, _)) = settings.foreign().first() {
            return Err(setting(format!(
                "`{key}` does not belong to type `{}`; remove it or set it to null",
                kind.name()
            )));
        }
        let betas = settings.betas.unwrap_or([0.9, 0.999]);
        if betas.iter().any(|b| !(0.0..1.0).contains(b)) {
            return Err(setting(format!(
                "`betas` must lie in [0, 1), found {betas:?}"
            )));
        }
        let eps = settings.eps.unwrap_or(1e-8);
        let momentum = settings.momentum.unwrap_or(0.0);
        let rule = match kind {
            settings::OptimizerKind::Sgd => {
                let nesterov = settings.nesterov.unwrap_or(false);
                if nesterov && momentum == 0.0 {
                    return Err(setting(
                        "`nesterov: true` needs a `momentum` above 0".to_string(),
                    ));
                }
                Rule::Sgd { momentum, nesterov }
            }
            settings::OptimizerKind::Adam => Rule::Adam { betas, eps },
            settings::OptimizerKind::AdamW => Rule::AdamW { betas, eps },
            settings::OptimizerKind::RmsProp => {
                let alpha = settings.alpha.unwrap_or(0.99);
                if !(0.0..1.0).contains(&alpha) {
                    return Err(setting(format!(
                        "`alpha` must lie in [0, 1), found {alpha}"
                    )));
                }
                Rule::RmsProp {
                    alpha,
                    eps,
                    momentum,
                    centered: settings.centered.unwrap_or(false),
                }
            }
        };
        Ok(Optimizer {
            rule,
            decay: settings.decay,
            decay_norm: settings.decay_bn.unwrap_or(settings.decay),
            steps: 0,
            memory: Memory::Nothing,
            rates: None,
        })
    }

    /// The same with a factor of the learning rate for each tensor, as many as there are.
    pub(crate) fn with_rates(self, rates: Option<Vec<Rate>>) -> Self {
        Optimizer { rates, ..self }
    }

    /// Takes a step: `numbers − lr·direction`, where the learning rate of some tensors may have a factor.
    pub fn step(&mut self, numbers: &V, grads: &V, lr: f64) -> V {
        let (direction, memory) = self.advance(numbers, grads);
        self.memory = memory;
        self.steps += 1;
        let usual = |w: &Tensor<1>, d: &Tensor<1>| w.clone() - d.clone() * lr;
        let Some(rates) = &self.rates else {
            return zip(numbers, &direction, usual);
        };
        let mut rates = rates.iter();
        zip(numbers, &direction, |w, d| match rates.next() {
            None | Some(Rate::All(1.0)) => usual(w, d),
            Some(Rate::All(0.0)) => w.clone(),
            Some(Rate::All(factor)) => w.clone() - d.clone() * (lr * factor),
            Some(Rate::Each(factors)) => w.clone() - d.clone() * (*factors.clone() * lr),
        })
    }

    /// Where the next step would go, per unit of learning rate, without taking it: for SGD with momentum
    /// μ·m + g + λ·w, the look-ahead of DARTS (Liu et al., 2019, section 2.3).
    pub fn direction(&self, numbers: &V, grads: &V) -> V {
        self.advance(numbers, grads).0
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn advance(&self, numbers: &V, grads: &V) -> (V, Memory<V>) {
        match self.rule {
            Rule::Sgd { momentum: 0.0, .. } => (self.decayed(numbers, grads), Memory::Nothing),
            Rule::Sgd { momentum, nesterov } => {
                let decayed = self.decayed(numbers, grads);
                let buffer = match &self.memory {
                    Memory::Momentum(m) => {
                        zip(m, &decayed, |m, g| m.clone() * momentum + g.clone())
                    }
                    _ => decayed.clone(),
                };
                let direction = if nesterov {
                    zip(&decayed, &buffer, |g, m| g.clone() + m.clone() * momentum)
                } else {
                    buffer.clone()
                };
                (direction, Memory::Momentum(buffer))
            }
            Rule::Adam { betas, eps } => self.adam(&self.decayed(numbers, grads), betas, eps),
            Rule::AdamW { betas, eps } => {
                let (direction, memory) = self.adam(grads, betas, eps);
                (self.decayed(numbers, &direction), memory)
            }
            Rule::RmsProp {
                alpha,
                eps,
                momentum,
                centered,
            } => {
                let g = self.decayed(numbers, grads);
                let past = match &self.memory {
                    Memory::Squares(past) => Some(past),
                    _ => None,
                };
                let square = match past {
                    Some(past) => zip(&past.square, &g, |v, g| {
                        v.clone() * alpha + g.clone() * g.clone() * (1.0 - alpha)
                    }),
                    None => map(&g, |g| g.clone() * g.clone() * (1.0 - alpha)),
                };
                let mean = centered.then(|| match past.and_then(|past| past.mean.as_ref()) {
                    Some(mean) => zip(mean, &g, |m, g| {
                        m.clone() * alpha + g.clone() * (1.0 - alpha)
                    }),
                    None => map(&g, |g| g.clone() * (1.0 - alpha)),
                });
                let spread = match &mean {
                    // Rounding may leave a variance just below 0.
                    Some(mean) => zip(&square, mean, |v, m| {
                        (v.clone() - m.clone() * m.clone()).clamp_min(0.0)
                    }),
                    None => square.clone(),
                };
                let scaled = zip(&g, &spread, |g, v| g.clone() / (v.clone().sqrt() + eps));
                let buffer =
                    (momentum != 0.0).then(|| match past.and_then(|past| past.momentum.as_ref()) {
                        Some(m) => zip(m, &scaled, |m, s| m.clone() * momentum + s.clone()),
                        None => scaled.clone(),
                    });
                let direction = buffer.clone().unwrap_or(scaled);
                let memory = Squares {
                    square,
                    mean,
                    momentum: buffer,
                };
                (direction, Memory::Squares(memory))
            }
        }
    }

    /// Adam's direction for a gradient, decayed or not.
    fn adam(&self, g: &V, [b1, b2]: [f64; 2], eps: f64) -> (V, Memory<V>) {
        let square = |g: &Tensor<1>| g.clone() * g.clone();
        let (m, v) = match &self.memory {
            Memory::Moments(m, v) => (
                zip(m, g, |m, g| m.clone() * b1 + g.clone() * (1.0 - b1)),
                zip(v, g, |v, g| v.clone() * b2 + square(g) * (1.0 - b2)),
            ),
            _ => (
                map(g, |g| g.clone() * (1.0 - b1)),
                map(g, |g| square(g) * (1.0 - b2)),
            ),
        };
        let t = self.steps as f64 + 1.0;
        let (c1, c2) = (1.0 - b1.powf(t), (1.0 - b2.powf(t)).sqrt());
        // eps stands outside the root, as in the paper.
        let direction = zip(&m, &v, |m, v| {
            (m.clone() / c1) / (v.clone().sqrt() / c2 + eps)
        });
        (direction, Memory::Moments(m, v))
    }

    /// g + λ·w of all tensors.
    fn decayed(&self, numbers: &V, grads: &V) -> V {
        let tensors = numbers.tensors().iter().zip(grads.tensors());
        let tensors = tensors.enumerate();
        numbers.with_tensors(
            tensors
                .map(|(i, (w, g))| self.decayed_one(numbers, i, w, g))
                .collect(),
        )
    }

    /// g + λ·w, where λ may differ between norms and all others.
    fn decayed_one(&self, numbers: &V, i: usize, w: &Tensor<1>, g: &Tensor<1>) -> Tensor<1> {
        let with = |decay: f64| match decay {
            0.0 => g.clone(),
            _ => g.clone() + w.clone() * decay,
        };
        if self.decay == self.decay_norm {
            return with(self.decay);
        }
        match numbers.roles(i) {
            Roles::All(ParamRole::Weight) => with(self.decay),
            Roles::All(ParamRole::Norm) => with(self.decay_norm),
            Roles::IsNorm(is_norm) => {
                let decays = is_norm
                    .into_iter()
                    .map(|norm| if norm { self.decay_norm } else { self.decay } as f32)
                    .collect::<Vec<f32>>();
                let n = decays.len();
                let decays: Tensor<1> =
                    Tensor::from_data(TensorData::new(decays, [n]), &w.device());
                g.clone() + w.clone() * decays.cast(w.dtype())
            }
        }
    }

    /// What the optimizer remembers, by name: `steps`, and `momentum/…`, or `moment1/…` and `moment2/…`, or `square/…` and where
    /// they are needed `mean/…` and `momentum/…`.
    pub fn state(&self) -> Vec<NamedTensor> {
        let mut all = vec![NamedTensor {
            name: "steps".to_string(),
            shape: vec![1],
            values: vec![self.steps as f64],
        }];
        let mut add = |prefix: &str, v: &V| {
            all.extend(v.named().into_iter().map(|t| NamedTensor {
                name: format!("{prefix}/{}", t.name),
                ..t
            }));
        };
        match &self.memory {
            Memory::Nothing => {}
            Memory::Momentum(m) => add("momentum", m),
            Memory::Moments(m, v) => {
                add("moment1", m);
                add("moment2", v);
            }
            Memory::Squares(squares) => {
                add("square", &squares.square);
                if let Some(mean) = &squares.mean {
                    add("mean", mean);
                }
                if let Some(momentum) = &squares.momentum {
                    add("momentum", momentum);
                }
            }
        }
        all
    }

    /// Restores what [`Optimizer::state`] gave. `like` gives names and shapes. Errors name the tensor that is missing,
    /// unknown or of another shape.
    pub fn set_state(
        &mut self,
        state: &[NamedTensor],
        like: &V,
        compute: &Compute,
    ) -> Result<(), EngineError> {
        let steps = state
            .iter()
            .find(|t| t.name == "steps" && t.values.len() == 1);
        let steps = steps.ok_or_else(|| {
            EngineError::Checkpoint("the saved optimizer state has no number `steps`".to_string())
        })?;
        let part = |prefix: &str| -> Vec<NamedTensor> {
            (state.iter())
                .filter_map(|t| {
                    let name = t.name.strip_prefix(prefix)?.strip_prefix('/')?.to_string();
                    Some(NamedTensor { name, ..t.clone() })
                })
                .collect()
        };
        let load = |prefix: &str| like.with_named(&part(prefix), compute);
        let moves = steps.values[0] > 0.0;
        self.memory = match self.rule {
            Rule::Sgd { momentum, .. } if moves && momentum != 0.0 => {
                Memory::Momentum(load("momentum")?)
            }
            Rule::Adam { .. } | Rule::AdamW { .. } if moves => {
                Memory::Moments(load("moment1")?, load("moment2")?)
            }
            Rule::RmsProp {
                momentum, centered, ..
            } if moves => Memory::Squares(Squares {
                square: load("square")?,
                mean: centered.then(|| load("mean")).transpose()?,
                momentum: (momentum != 0.0).then(|| load("momentum")).transpose()?,
            }),
            _ if state.len() > 1 => {
                return Err(EngineError::Checkpoint(
                    "the saved optimizer state belongs to another kind of optimizer".to_string(),
                ));
            }
            _ => Memory::Nothing,
        };
        self.steps = steps.values[0] as u64;
        Ok(())
    }
}

/// The factor that brings a gradient of global L2 norm `norm` down to `limit`: min(1, limit/(norm + 1e-6)); 1 where
/// `limit` is 0.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit > 0.0 {
        (limit / (norm + 1e-6)).min(1.0)
    } else {
        1.0
    }
}

fn map<V: Vector>(a: &V, f: impl FnMut(&Tensor<1>) -> Tensor<1>) -> V {
    a.with_tensors(a.tensors().iter().map(f).collect())
}

fn zip<V: Vector>(a: &V, b: &V, mut f: impl FnMut(&Tensor<1>, &Tensor<1>) -> Tensor<1>) -> V {
    a.with_tensors(
        a.tensors()
            .iter()
            .zip(b.tensors())
            .map(|(a, b)| f(a, b))
            .collect(),
    )
}
