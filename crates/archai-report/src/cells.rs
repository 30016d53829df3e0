//! The cells that a search found, and those that it would have found after each epoch.

use archai_lab::Lab;
use archai_spec::desc::{CellType, ModelDesc, draw_svg};
use archai_spec::finalize::{EdgeWeights, Supernet};
use maud::{Markup, html};

use crate::alphas::Relaxed;
use crate::chart::drawing;
use crate::log::Training;
use crate::words::ops_in_words;

/// Bytes that all drawings of a page may take together.
const MOST_BYTES: usize = 420_000;

/// A drawing, and of which epochs it is.
struct Frame {
    svg: String,
    words: String,
    first: u64,
    last: u64,
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

/// The drawing of what was found, alone.
pub fn found(desc: &ModelDesc) -> Markup {
    drawing(&draw_svg(desc), "found", &in_words(desc))
}

/// The best cells after each epoch by the rule of DARTS, behind a slider; none where epochs have no architecture parameters
/// or there is but one.
pub fn over_epochs(
    training: &Training,
    supernet: &ModelDesc,
    found: Option<&ModelDesc>,
    lab: &Lab,
) -> Option<Markup> {
    let relaxed = Relaxed::of(training);
    let catalog = lab.components().ops.catalog();
    let supernet = Supernet::new(supernet, catalog);
    let mut frames: Vec<Frame> = Vec::new();
    for (number, epoch) in training
        .epochs
        .iter()
        .filter(|(_, epoch)| !epoch.alphas.is_empty())
    {
        let weights: EdgeWeights = (epoch.alphas.iter())
            .map(|(key, alphas)| (*key, relaxed.weights(alphas)))
            .collect();
        let desc = supernet.finalize(&weights).ok()?;
        let svg = draw_svg(&desc);
        match frames.last_mut() {
            Some(frame) if frame.svg == svg => frame.last = number + 1,
            _ => frames.push(Frame {
                svg,
                words: in_words(&desc),
                first: number + 1,
                last: number + 1,
            }),
        }
    }
    if frames.is_empty() {
        return None;
    }
    let changes = frames.len() - 1;
    if let ([frame], Some(found)) = (frames.as_slice(), found)
        && frame.svg == draw_svg(found)
    {
        return Some(html! {
            p { "The best cells by the rule of DARTS were these " (epochs(frame)) "; they did not change in any logged epoch." }
        });
    }
    let size = frames
        .iter()
        .map(|frame| frame.svg.len())
        .max()
        .unwrap_or(1);
    let most = (MOST_BYTES / size.max(1)).max(2);
    let kept = spread(frames.len(), most);
    let shown: Vec<&Frame> = kept.iter().filter_map(|i| frames.get(*i)).collect();
    let last = shown.len().saturating_sub(1);
    Some(html! {
        p {
            "What the search would have found after each epoch, chosen by the rule of DARTS: on each edge the op of the largest weight, at each node the strongest edges. "
            @match changes {
                0 => "The choice did not change in any logged epoch.",
                1 => "The choice changed once.",
                n => { "The choice changed " (n) " times." },
            }
            @if shown.len() < frames.len() {
                " So that the page stays small, " (shown.len()) " of the " (frames.len()) " different choices are drawn, evenly spread."
            }
        }
        div data-frames[shown.len() > 1] {
            @if shown.len() > 1 {
                div.slider hidden {
                    label for="epochs" { "Epoch" }
                    input #epochs type="range" min="0" max=(last) value=(last) step="1";
                    output for="epochs" {}
                }
            }
            @for (i, frame) in shown.iter().enumerate() {
                figure.frame data-name=(epochs(frame)) {
                    figcaption { (epochs(frame)) ": " (frame.words) }
                    (drawing(&frame.svg, &format!("e{i}"), &frame.words))
                }
            }
        }
    })
}

fn epochs(frame: &Frame) -> String {
    match frame.first == frame.last {
        true => format!("after epoch {}", frame.first),
        false => format!("after epochs {} to {}", frame.first, frame.last),
    }
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
