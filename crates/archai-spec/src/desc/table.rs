//! What a model consists of, as rows for tables and JSON.

use serde::{Deserialize, Serialize};

use super::{CellType, Cost, DescErrors, ModelDesc, OpCatalog, Shape};

/// A part of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartRow {
    /// `stem 0`, `cell 3`, `aux 13`, `pool` or `logits`.
    pub part: String,
    /// Kind of a cell, null for other parts.
    pub cell_type: Option<CellType>,
    /// The op, or for a cell its number of nodes and edges.
    pub what: String,
    /// Channels of a cell's nodes, or of the part's output.
    pub channels: usize,
    /// Shape of the output.
    pub out: Shape,
    /// Parameters and multiply-adds.
    #[serde(flatten)]
    pub cost: Cost,
}

/// A model part by part, and its totals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelTable {
    /// Parts from the image to the classifier; an auxiliary tower follows its cell.
    pub rows: Vec<PartRow>,
    /// The model without auxiliary towers.
    pub total: Cost,
    /// The model with auxiliary towers, as it is trained.
    pub total_with_aux: Cost,
    /// Architecture parameters.
    pub alphas: u64,
}

impl ModelDesc {
    /// The rows of `archai desc show`.
    ///
    /// # Errors
    /// Those of [`ModelDesc::check`].
    pub fn table(&self, catalog: &OpCatalog) -> Result<ModelTable, DescErrors> {
        let shapes = self.shapes(catalog)?;
        let cost = self.cost(catalog)?;
        let mut rows = Vec::new();
        let mut row = |part: String, cell_type, what: String, channels, out, cost| {
            rows.push(PartRow {
                part,
                cell_type,
                what,
                channels,
                out,
                cost,
            });
        };
        for (i, (stem, cost)) in self.stems.iter().zip(&cost.stems).enumerate() {
            row(
                format!("stem {i}"),
                None,
                stem.op.name.clone(),
                stem.out.channels,
                stem.out,
                *cost,
            );
        }
        for (i, (cell, cost)) in self.cells.iter().zip(&cost.cells).enumerate() {
            let edges: usize = cell.nodes.iter().map(|node| node.edges.len()).sum();
            let what = format!("{} nodes, {edges} edges", cell.nodes.len());
            row(
                format!("cell {i}"),
                Some(cell.cell_type),
                what,
                cell.stems.last().map_or(0, |stem| stem.ch_out),
                cell.out,
                cost.total(),
            );
            if let (Some(tower), Some(cost)) = (&cell.aux_tower, cost.aux) {
                let out = Shape {
                    channels: tower.n_classes,
                    height: 1,
                    width: 1,
                    ..cell.out
                };
                row(
                    format!("aux {i}"),
                    None,
                    "auxiliary tower".into(),
                    tower.n_classes,
                    out,
                    cost,
                );
            }
        }
        row(
            "pool".into(),
            None,
            self.pool.name.clone(),
            shapes.pooled.channels,
            shapes.pooled,
            cost.pool,
        );
        let logits = Shape {
            channels: self.n_classes,
            ..shapes.pooled
        };
        row(
            "logits".into(),
            None,
            self.logits.name.clone(),
            self.n_classes,
            logits,
            cost.logits,
        );
        Ok(ModelTable {
            rows,
            total: cost.total(false),
            total_with_aux: cost.total(true),
            alphas: cost.alphas,
        })
    }
}
