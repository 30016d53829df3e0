//! Drawings of cells: those of a network, and those of a supernet at a moment of its search, in which lines are as thick as
//! the weights of the ops. As SVG ([`draw_svg`]), as shapes for other programs ([`cells`], [`search`]) and as DOT
//! ([`draw_dot`]).
//!
//! Cells of as many nodes and inputs have one layout, whatever joins the nodes: drawings of one search lie over each other.

mod cells;
mod colours;
mod dot;
mod layout;
mod picture;
mod text;

pub use cells::{Strengths, cells, largest, search};
pub use colours::{OpColours, Rgb};
pub use dot::draw_dot;
pub use picture::{
    Ink, Line, Mark, Part, Picture, Place, SUB_DROP, SUB_SIZE, Shape, Step, dark_op_rules,
    ink_rules, ink_values,
};

use super::{ModelDesc, OpCatalog};

/// Draws all cells that differ, each once, with a legend of the ops that occur: an SVG file that is right on light and on
/// dark grounds.
pub fn draw_svg(desc: &ModelDesc) -> String {
    cells(desc, &OpCatalog::builtin()).svg(Place::File)
}
