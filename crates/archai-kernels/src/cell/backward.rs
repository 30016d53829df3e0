//! The backward pass of a cell: from the last state to the first, with the gradients of the nodes added up on the way.

use super::group::{BackwardSums, GroupBackward, Start, Target};
use super::incoming::{self, Incoming, NodeSamples};
use super::{CellGrads, CellSave, CellWant, FusedCell};
use crate::buffer::{Samples, SamplesMut, SharedSamples, overwritten};
use crate::exec::{Exec, Turn};
use crate::micro::place::Place;
use crate::plain::split_channels;

impl FusedCell {
    /// Gradients of a training pass. `out` and `save` are what [`FusedCell::forward`] returned; `g` is the gradient of
    /// `out`, passed by value since the nodes' gradients are added up in it.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a buffer or a size of its own"
    )]
    pub fn backward(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        out: &[f32],
        save: &CellSave,
        mut g: Vec<f32>,
        want: CellWant,
    ) -> CellGrads {
        let n = self.check(inputs, mixing, params);
        self.output().check("output", out, n);
        self.output().check("gradient", &g, n);
        let input_len = self.input.sample_len();
        let states = self.states(inputs, out, save);
        let mut separate = self.separate_gradients(exec, n, &g);
        let joined = SharedSamples::whole(&mut g, self.output().sample_len());
        let (targets, starts) = self.targets(joined, &mut separate);
        let grads: Vec<NodeSamples<'_>> = targets
            .iter()
            .enumerate()
            .map(|(i, target)| {
                let at = self.in_output(i).unwrap_or(Place::Blocks);
                // SAFETY: a node's gradient is read only when it is complete and no longer written: when the groups of
                // all states from the node's on have had their turn.
                NodeSamples::new(unsafe { target.read() }, at)
            })
            .collect();
        // SAFETY: if they are wanted, every sample is written by the groups of states 0 and 1.
        let mut dinputs = want
            .inputs
            .then(|| unsafe { [overwritten(n * input_len), overwritten(n * input_len)] });
        let mut sums = BackwardSums {
            mixing: vec![0.0; self.mixing_len],
            params: vec![0.0; if want.params { self.layout.len() } else { 0 }],
            edges: vec![Vec::new(); self.edges.len()],
        };
        let incoming: Vec<Incoming<'_>> = (0..self.nodes)
            .map(|node| Incoming::new(node, self.node, &self.groups, &save.groups, &states, want))
            .collect();
        let mut turn = Turn::new(exec);
        // What no other node reads has its gradient already.
        let complete: Vec<(&Incoming<'_>, NodeSamples<'_>)> = (0..self.nodes)
            .filter(|&i| !self.is_read(i))
            .map(|i| (&incoming[i], grads[i]))
            .collect();
        incoming::sum(turn.next(), n, &complete, &save.factors, &mut sums.edges);
        for (state, group) in self.groups.iter().enumerate().rev() {
            let (target, of_target) = match (state.checked_sub(2), &mut dinputs) {
                (Some(_), _) if group.edges.is_empty() => continue,
                (Some(node), _) => {
                    // SAFETY: the group reads the gradients of later nodes only, and the sums over this one are formed
                    // from what it has just written.
                    let to = unsafe { targets[node].write() };
                    let start = starts[node];
                    (Some(Target { to, start }), Some(&incoming[node]))
                }
                (None, Some(d)) => {
                    let to = SamplesMut::whole(&mut d[state], input_len);
                    let start = Start::Nothing;
                    (Some(Target { to, start }), None)
                }
                (None, None) => (None, None),
            };
            let pass = GroupBackward {
                exec,
                n,
                group,
                save: &save.groups[state],
                factors: &save.factors,
                affine: &self.affine,
                moments: &save.moments,
                x: states[state],
                grads: &grads,
                mixing,
                params,
                want,
            };
            pass.run(&mut turn, target, of_target, &mut sums);
        }
        CellGrads {
            inputs: dinputs,
            mixing: want.mixing.then_some(sums.mixing),
            params: want.params.then_some(sums.params),
        }
    }

    /// The inputs and the nodes.
    fn states<'a>(
        &self,
        inputs: [&'a [f32]; 2],
        out: &'a [f32],
        save: &'a CellSave,
    ) -> Vec<Samples<'a>> {
        let (len, whole) = (self.node.sample_len(), self.output().sample_len());
        let inputs = inputs
            .iter()
            .map(|s| Samples::whole(s, self.input.sample_len()));
        let nodes = (0..self.nodes).map(|i| match self.in_output(i) {
            Some(_) => Samples::new(out, self.start(i), whole, len),
            None => Samples::whole(&save.nodes[i], len),
        });
        inputs.chain(nodes).collect()
    }

    /// Tensors for the gradients of the nodes whose channels cannot be worked on in the output's gradient `g`; empty
    /// ones for the others.
    fn separate_gradients(&self, exec: &Exec, n: usize, g: &[f32]) -> Vec<Vec<f32>> {
        if self.place(0).is_none() {
            return split_channels(exec, &vec![self.node; self.nodes], g);
        }
        (0..self.nodes)
            .map(|i| match self.in_output(i) {
                Some(_) => Vec::new(),
                // SAFETY: every sample is written by the node's group before anybody reads it.
                None => unsafe { overwritten(n * self.node.sample_len()) },
            })
            .collect()
    }

    /// Where the nodes' gradients are added up, in the output's gradient `joined` or in a tensor of `separate`, and
    /// what they begin with.
    fn targets<'a>(
        &self,
        joined: SharedSamples<'a>,
        separate: &'a mut [Vec<f32>],
    ) -> (Vec<SharedSamples<'a>>, Vec<Start<'a>>) {
        let len = self.node.sample_len();
        let target = |(i, own): (usize, &'a mut Vec<f32>)| {
            let part = joined.part(self.start(i), len);
            match (self.in_output(i), self.place(i)) {
                (Some(_), _) => (part, Start::There),
                (None, Some(at)) => {
                    // SAFETY: that part of the output's gradient is not written.
                    let part = unsafe { part.read() };
                    let start = Start::At(NodeSamples::new(part, at));
                    (SharedSamples::whole(own, len), start)
                }
                (None, None) => (SharedSamples::whole(own, len), Start::There),
            }
        };
        separate.iter_mut().enumerate().map(target).unzip()
    }
}
