//! The cost model: parameters and multiply-adds from a description alone.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::{AuxTowerDesc, DescError, DescErrorKind, DescErrors, ModelDesc, OpCatalog, Shape};

/// Cost of an op for one image. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Learnt numbers; running statistics and architecture parameters are not counted.
    pub params: u64,
    /// Multiply-adds of convolutions and linear layers in one forward pass.
    pub macs: u64,
}

impl Cost {
    /// Product of sizes, saturating.
    pub fn product(factors: &[usize]) -> u64 {
        factors
            .iter()
            .fold(1, |product: u64, &f| product.saturating_mul(f as u64))
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.params = self.params.saturating_add(other.params);
        self.macs = self.macs.saturating_add(other.macs);
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |mut total, cost| {
            total += cost;
            total
        })
    }
}

/// Cost of a cell, part by part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellCost {
    /// The cell's stems.
    pub stems: Vec<Cost>,
    /// One cost per edge of each node.
    pub nodes: Vec<Vec<Cost>>,
    /// The post op.
    pub post_op: Cost,
    /// The auxiliary tower on the cell's output, if there is one. Not in [`CellCost::total`].
    pub aux: Option<Cost>,
}

impl CellCost {
    /// The cell without its auxiliary tower.
    pub fn total(&self) -> Cost {
        self.stems
            .iter()
            .chain(self.nodes.iter().flatten())
            .chain([&self.post_op])
            .copied()
            .sum()
    }
}

/// Cost of a model, part by part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelCost {
    /// The model's stems.
    pub stems: Vec<Cost>,
    /// The cells.
    pub cells: Vec<CellCost>,
    /// The pool.
    pub pool: Cost,
    /// The classifier.
    pub logits: Cost,
    /// Number of architecture parameters, shared ones counted once.
    pub alphas: u64,
}

impl ModelCost {
    /// The whole model; auxiliary towers exist in training only and are counted on request.
    pub fn total(&self, with_aux: bool) -> Cost {
        let cells = self.cells.iter().map(CellCost::total);
        let main: Cost = self
            .stems
            .iter()
            .copied()
            .chain(cells)
            .chain([self.pool, self.logits])
            .sum();
        [
            main,
            if with_aux {
                self.aux()
            } else {
                Cost::default()
            },
        ]
        .into_iter()
        .sum()
    }
    /// All auxiliary towers.
    pub fn aux(&self) -> Cost {
        self.cells.iter().filter_map(|cell| cell.aux).sum()
    }
}

impl AuxTowerDesc {
    /// Cost of the tower on a cell output of this shape. Its norms are always affine.
    ///
    /// # Errors
    /// The channels differ, or the pool does not leave at least 2×2 cells for the second convolution.
    pub fn cost(&self, input: Shape) -> Result<Cost, DescError> {
        let error = |text| Err(DescError::new(DescErrorKind::Shape, text));
        if input.channels != self.ch_in {
            return error(format!(
                "the tower expects {} channels (`ch_in`), but the cell gives {input}",
                self.ch_in
            ));
        }
        // A window that does not fit leaves nothing.
        let pooled = self.pool().measure(&[input]);
        let (height, width) = pooled.map_or((0, 0), |(shape, _)| (shape.height, shape.width));
        if height < 2 || width < 2 {
            return error(format!(
                "the tower's {0}×{0} pool of stride {1} turns {input} into {height}×{width}, but its second convolution needs \
                 at least 2×2; choose another `stride`, which settings call `aux_tower_stride` (8×8 takes 3, 7×7 takes 2), a \
                 smaller `window`, or no tower (`aux_weight: 0`)",
                self.window, self.stride
            ));
        }
        Ok(self.lower(input, true)?.measure(&[input])?.1)
    }
}

impl ModelDesc {
    /// Parameters and multiply-adds of every part, for one image, without building tensors.
    ///
    /// # Errors
    /// Those of [`ModelDesc::check`].
    ///
    /// ```no_run
    /// # use archai_spec::desc::{ModelDesc, OpCatalog};
    /// # fn f(desc: ModelDesc) -> Result<(), Box<dyn std::error::Error>> {
    /// let cost = desc.cost(&OpCatalog::builtin())?;
    /// assert!(cost.total(false).params <= cost.total(true).params);
    /// # Ok(()) }
    /// ```
    pub fn cost(&self, catalog: &OpCatalog) -> Result<ModelCost, DescErrors> {
        let shapes = self.shapes(catalog)?;
        let cost = |op, inputs: &[Shape]| catalog.cost(op, inputs, self.affine);
        let mut total = ModelCost::default();
        for (stem, input) in self.stems.iter().zip(&shapes.stem_inputs) {
            total.stems.push(cost(&stem.op, &[*input])?);
        }
        for (cell, at) in self.cells.iter().zip(&shapes.cells) {
            let mut nodes = Vec::new();
            for node in &cell.nodes {
                let edges = node
                    .edges
                    .iter()
                    .map(|e| cost(&e.op, &at.pick(&e.inputs)))
                    .collect::<Result<_, _>>()?;
                nodes.push(edges);
            }
            total.cells.push(CellCost {
                stems: (cell.stems.iter().zip(&at.inputs))
                    .map(|(stem, input)| cost(stem, &[*input]))
                    .collect::<Result<_, _>>()?,
                nodes,
                post_op: cost(&cell.post_op, &at.pick(&cell.concat))?,
                aux: cell
                    .aux_tower
                    .as_ref()
                    .map(|tower| tower.cost(at.out))
                    .transpose()?,
            });
        }
        total.pool = cost(&self.pool, &[shapes.features])?;
        total.logits = cost(&self.logits, &[shapes.pooled])?;
        total.alphas = self.arch_keys().iter().map(|key| key.n_alphas as u64).sum();
        Ok(total)
    }
}
