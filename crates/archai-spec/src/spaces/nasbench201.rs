//! The space of NAS-Bench-201 (Dong and Yang, 2020): one cell of six edges with one of five ops each, everywhere.

use crate::desc::nasbench201::{Cell201, N_CELLS, NasBench201Builder};
use crate::desc::{CellType, DescError, ModelDesc, ModelDescBuilder};
use crate::finalize::{NodeRule, Supernet};
use crate::registry::Named;
use crate::rng::Key;

use super::{Count, Space, cells};

/// The space's name.
pub const NASBENCH201: &str = "nasbench201";

/// The 15,625 cells of NAS-Bench-201. Searches by a supernet, and random draws, choose among the four ops that are not
/// `none`; mutations reach `none` as well.
#[derive(Clone, Copy, Debug, Default)]
pub struct NasBench201Space;

impl Named for NasBench201Space {
    fn name(&self) -> &str {
        NASBENCH201
    }
    fn about(&self) -> &str {
        "cells of NAS-Bench-201: four nodes, six edges, five ops"
    }
}

impl NasBench201Space {
    /// The network of a cell at the supernet's size.
    fn network(supernet: Supernet<'_>, cell: Cell201) -> Result<ModelDesc, DescError> {
        supernet.each_node(|c, n| {
            let desc = &supernet.desc.cells[c];
            match desc.cell_type {
                CellType::Reduction => supernet.node_of_choices(c, n, &[]),
                CellType::Regular => Ok(cell.nodes(desc.out.channels).swap_remove(n)),
            }
        })
    }
}

impl Space for NasBench201Space {
    fn builder(&self) -> &dyn ModelDescBuilder {
        &NasBench201Builder
    }

    fn rule(&self) -> NodeRule {
        NodeRule::OneOpPerEdge
    }

    fn config(&self) -> Option<&str> {
        Some(include_str!("../../../../confs/spaces/nasbench201.yaml"))
    }

    fn toy_config(&self) -> Option<&str> {
        Some(include_str!(
            "../../../../confs/spaces/nasbench201_toy.yaml"
        ))
    }

    /// The op of one edge changes: one of the 24 neighbours, each as likely.
    fn mutate(
        &self,
        supernet: Supernet<'_>,
        desc: &ModelDesc,
        key: &Key,
    ) -> Result<ModelDesc, DescError> {
        self.contains(supernet, desc)?;
        let mut near = Cell201::from_desc(desc)?.neighbours();
        let drawn = key.rng().uniform_u32_below(near.len() as u32) as usize;
        NasBench201Space::network(supernet, near.swap_remove(drawn))
    }

    /// [`Cell201::unique_string`].
    fn canonical(&self, supernet: Supernet<'_>, desc: &ModelDesc) -> Result<String, DescError> {
        self.contains(supernet, desc)?;
        Ok(Cell201::from_desc(desc)?.unique_string())
    }

    fn count(&self, _: Supernet<'_>) -> Result<Count, DescError> {
        Ok(Count::of(N_CELLS as u128))
    }

    /// Every regular cell is one and the same cell of the space; a missing edge is `none`.
    fn contains(&self, supernet: Supernet<'_>, desc: &ModelDesc) -> Result<(), DescError> {
        let cell = Cell201::from_desc(desc)?;
        // Regular cells are compared as cells, since `none` may be written or left out; all else must be the supernet's.
        let mut expected = NasBench201Space::network(supernet, cell)?;
        for (expected, given) in expected.cells.iter_mut().zip(&desc.cells) {
            if given.cell_type == CellType::Regular && expected.cell_type == CellType::Regular {
                expected.nodes.clone_from(&given.nodes);
            }
        }
        cells::same_frame(&expected, desc)
    }
}
