//! The cells that a search found, and those that it would have found after each epoch.

use archai_lab::Lab;
use archai_spec::desc::draw::{
    self, Picture, Place, Strengths, dark_op_rules, ink_rules, ink_values,
};
use archai_spec::desc::{CellType, ModelDesc, OpCatalog};
use archai_spec::finalize::{EdgeWeights, Supernet};
use maud::{Markup, PreEscaped, html};

use crate::alphas::Relaxed;
use crate::log::Training;
use crate::words::ops_in_words;

/// Bytes that all drawings of a page may take together.
const MOST_BYTES: usize = 420_000;
/// Under which name the drawings over epochs share what does not change.
const FRAME: &str = "cell-frame";

/// The supernet after an epoch.
struct Frame {
    picture: Picture,
    /// What would be kept, in words.
    words: String,
    epoch: u64,
}

/// The rules of drawings on a dark page, whether its reader or the reader's system wants it dark. On paper all is light.
pub fn style() -> String {
    let dark = |root: &str| format!("{root}{{{}}}{}", ink_values(true), dark_op_rules(root));
    format!(
        ":root{{{}}}{}@media screen and (prefers-color-scheme:dark){{{}}}@media screen{{{}}}",
        ink_values(false),
        ink_rules(),
        dark(":root:not([data-theme=light])"),
        dark(":root[data-theme=dark]")
    )
}

/// What a network's cells consist of, in words.
pub fn in_words(desc: &ModelDesc) -> String {
    let groups = desc.distinct_cells();
    let cells = groups.iter().filter_map(|group| {
        let cell = desc.cells.get(group.first())?;
        let kind = match cell.cell_type {
            CellType::Regular => "regular cell",
            CellType::Reduction => "reduction cell",
        };
        Some(format!("{kind}: {}", ops_in_words(cell)))
    });
    cells.collect::<Vec<_>>().join("; ")
}

/// The drawing of a network's cells.
pub fn found(desc: &ModelDesc, catalog: &OpCatalog) -> Markup {
    drawing(&draw::cells(desc, catalog).svg(Place::Page))
}

/// A drawing, which describes itself in words.
fn drawing(svg: &str) -> Markup {
    // A wide one is scrolled on a narrow screen, with the keyboard, too.
    html! { div.drawing tabindex="0" { (PreEscaped(svg)) } }
}

/// The supernet's cells after each epoch behind a slider, lines as thick as weights, with what would be kept by the rule of
/// DARTS; none where epochs have no architecture parameters.
pub fn over_epochs(training: &Training, supernet: &ModelDesc, lab: &Lab) -> Option<Markup> {
    let relaxed = Relaxed::of(training);
    let supernet = Supernet::new(supernet, lab.components().ops.catalog());
    let epochs = (training.epochs.iter()).filter(|(_, epoch)| !epoch.alphas.is_empty());
    let epochs: Vec<(u64, EdgeWeights)> = epochs
        .map(|(number, epoch)| {
            let weights = epoch
                .alphas
                .iter()
                .map(|(key, alphas)| (*key, relaxed.weights(alphas)));
            (number + 1, weights.collect())
        })
        .collect();
    let most = draw::largest(supernet, epochs.iter().map(|(_, weights)| weights));
    let mut frames: Vec<Frame> = Vec::new();
    let mut changes = 0;
    let mut last = None;
    for (epoch, weights) in &epochs {
        let kept = supernet.finalize(weights).ok()?;
        let strengths = Strengths { weights, most };
        frames.push(Frame {
            picture: draw::search(supernet, strengths).ok()?,
            words: in_words(&kept),
            epoch: *epoch,
        });
        changes += usize::from(last.is_some_and(|last| last != kept));
        last = Some(kept);
    }
    let size = frames.last()?.picture.in_frame(FRAME).len();
    let kept = spread(frames.len(), (MOST_BYTES / size.max(1)).max(2));
    let shown: Vec<&Frame> = kept.iter().filter_map(|i| frames.get(*i)).collect();
    let last = shown.len().saturating_sub(1);
    Some(html! {
        p {
            "The supernet after each epoch: every edge with its strongest ops, as thick as their weights. Labels name what the search would have found then by the rule of DARTS: on each edge the op of the largest weight, at each node the strongest edges; edges that would have been left out are faint. "
            @match (epochs.len(), changes) {
                (1, _) => {}
                (_, 0) => "The choice did not change in any logged epoch.",
                (_, 1) => "The choice changed once.",
                (_, n) => { "The choice changed " (n) " times." },
            }
            @if shown.len() < frames.len() {
                " So that the page stays small, " (shown.len()) " of the " (frames.len()) " epochs are drawn, evenly spread."
            }
        }
        @if let Some(frame) = shown.last() { (PreEscaped(frame.picture.frame(FRAME))) }
        div data-frames[shown.len() > 1] {
            @if shown.len() > 1 {
                div.slider hidden {
                    label for="epochs" { "Epoch" }
                    input #epochs type="range" min="0" max=(last) value=(last) step="1";
                    output for="epochs" {}
                }
            }
            @for frame in &shown {
                figure.frame data-name={ "after epoch " (frame.epoch) } {
                    figcaption { "after epoch " (frame.epoch) ": " (frame.words) }
                    (drawing(&frame.picture.in_frame(FRAME)))
                }
            }
        }
    })
}

/// At most `most` of `n` indices, evenly spread, the first and the last among them.
fn spread(n: usize, most: usize) -> Vec<usize> {
    if n <= most {
        return (0..n).collect();
    }
    let mut kept: Vec<usize> = (0..most).map(|i| i * (n - 1) / (most - 1).max(1)).collect();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_ends_are_kept() {
        assert_eq!(super::spread(3, 5), [0, 1, 2]);
        assert_eq!(super::spread(50, 4), [0, 16, 32, 49]);
        assert!(super::spread(0, 2).is_empty());
    }
}
