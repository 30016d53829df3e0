//! Parts of a network that are not trained, or that learn at rates of their own: [`Parts`], from the settings of an evaluation.

use std::collections::HashSet;

use archai_spec::desc::ModelDesc;
use archai_spec::graph::names;
use archai_spec::parts::Part;
use archai_spec::settings;
use burn::tensor::Tensor;

use crate::compute::Compute;
use crate::error::EngineError;
use crate::params::{ParamLayout, Spread};

/// Which parts of a network are not trained, and by which factors the others change their learning rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    freeze: Vec<Part>,
    factors: Vec<(Part, f64)>,
}

/// Factors of the learning rate for the numbers of one flat tensor.
#[derive(Clone, Debug)]
pub(crate) enum Rate {
    /// One for all; 0 leaves them as they are.
    All(f64),
    /// One for each.
    Each(Box<Tensor<1>>),
}

/// What of a model is not trained.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// For each flat tensor 0 where its numbers are frozen and 1 where not.
    pub tensors: Vec<Rate>,
    /// Norms that compute with their running statistics, which stay.
    pub norms: HashSet<usize>,
    /// Edges that drop-path leaves alone, as cell, node and edge.
    pub edges: HashSet<[usize; 3]>,
    parts: Vec<Part>,
}

impl Frozen {
    /// Whether a layer belongs to it.
    pub fn covers(&self, layer: &str) -> bool {
        self.parts.iter().any(|part| part.covers(layer))
    }
}

impl Parts {
    /// The parts that `nas.eval.freeze` and `nas.eval.lr_factors` name.
    ///
    /// # Errors
    /// [`EngineError::Setting`]: a text that is no part, a factor that is none.
    pub fn new(eval: &settings::Eval) -> Result<Parts, EngineError> {
        let part = |key: &str, text: &String| {
            text.parse::<Part>()
                .map_err(|problem| EngineError::setting(format!("nas.eval.{key}"), problem))
        };
        let freeze = eval.freeze.iter().map(|text| part("freeze", text));
        let factors = eval.lr_factors.iter().map(|(text, &factor)| {
            match factor.is_finite() && factor > 0.0 {
                true => Ok((part("lr_factors", text)?, factor)),
                false => Err(EngineError::setting(
                    format!("nas.eval.lr_factors.{text}"),
                    format!("{factor} is no factor of a learning rate; expected a number above 0"),
                )),
            }
        });
        Ok(Parts {
            freeze: freeze.collect::<Result<_, _>>()?,
            factors: factors.collect::<Result<_, _>>()?,
        })
    }

    /// Whether all is trained at one rate.
    pub fn is_usual(&self) -> bool {
        self.freeze.is_empty() && self.factors.is_empty()
    }

    /// Checks that every part is one of a network's, and that something is left to train. `learnt` are the names of what is
    /// learnt, `all` also has those of running statistics.
    ///
    /// # Errors
    /// [`EngineError::Setting`]: a part that covers nothing, or parts that freeze everything.
    pub fn check(&self, learnt: &[&str], all: &[&str]) -> Result<(), EngineError> {
        let known = || {
            let mut first: Vec<&str> = Vec::new();
            for name in all {
                let word = name.split('.').next().unwrap_or(name);
                if first.last() != Some(&word) && !first.contains(&word) {
                    first.push(word);
                }
            }
            first.join(", ")
        };
        let factors = self
            .factors
            .iter()
            .map(|(part, _)| ("lr_factors", part, learnt));
        let freeze = self.freeze.iter().map(|part| ("freeze", part, all));
        for (key, part, names) in freeze.chain(factors) {
            if !names.iter().any(|name| part.covers(name)) {
                return Err(EngineError::setting(
                    format!("nas.eval.{key}"),
                    format!(
                        "the network has no part `{part}`; its parts are {}, and what `archai desc lower` lists within them",
                        known()
                    ),
                ));
            }
        }
        match !learnt.is_empty() && learnt.iter().all(|name| self.freezes(name)) {
            true => Err(EngineError::setting(
                "nas.eval.freeze",
                "it freezes every parameter, so that nothing is left to train; leave a part out, the classifier for example",
            )),
            false => Ok(()),
        }
    }

    fn freezes(&self, name: &str) -> bool {
        self.freeze.iter().any(|part| part.covers(name))
    }

    /// The factor of a parameter's learning rate.
    fn factor(&self, name: &str) -> f64 {
        if self.freezes(name) {
            return 0.0;
        }
        let covering = self.factors.iter().filter(|(part, _)| part.covers(name));
        let closest = covering.max_by_key(|(part, _)| part.closeness());
        closest.map_or(1.0, |(_, factor)| *factor)
    }

    /// Factors for all parameters of a model; `None` where all are 1.
    pub(crate) fn rates(&self, layout: &ParamLayout, compute: &Compute) -> Option<Vec<Rate>> {
        (!self.is_usual()).then(|| spread(layout, compute, |name| self.factor(name)))
    }

    /// What of a model is not trained; `None` where all is. `norms` are the names of its norms in their order.
    pub(crate) fn frozen<'n>(
        &self,
        layout: &ParamLayout,
        norms: impl Iterator<Item = &'n str>,
        desc: &ModelDesc,
        compute: &Compute,
    ) -> Option<Frozen> {
        if self.freeze.is_empty() {
            return None;
        }
        let mut edges = HashSet::new();
        for (c, cell) in desc.cells.iter().enumerate() {
            for (n, node) in cell.nodes.iter().enumerate() {
                let all = (0..node.edges.len()).map(|e| [c, n, e]);
                edges.extend(all.filter(|&[c, n, e]| self.freezes(&names::edge(c, n, e))));
            }
        }
        let norms = norms.enumerate().filter(|(_, name)| self.freezes(name));
        Some(Frozen {
            tensors: spread(layout, compute, |name| match self.freezes(name) {
                true => 0.0,
                false => 1.0,
            }),
            norms: norms.map(|(i, _)| i).collect(),
            edges,
            parts: self.freeze.clone(),
        })
    }
}

/// A number for each piece of each parameter.
fn spread(layout: &ParamLayout, compute: &Compute, of: impl Fn(&str) -> f64) -> Vec<Rate> {
    let rate = |spec: &crate::params::ParamSpec| match spec.spread(|piece| of(&piece.name)) {
        Spread::All(number) => Rate::All(number),
        Spread::Each(numbers) => {
            let n = numbers.len();
            Rate::Each(Box::new(compute.tensor(numbers, [n])))
        }
    };
    layout.params.iter().map(rate).collect()
}
