//! Drawings are well-formed, name everything and do not overlap.

use archai_spec::desc::{CellType, ModelDesc, draw_dot, draw_svg};

use super::{cifar, network, supernet};

/// The rectangles of vertices: x, y, width, height.
fn boxes(svg: &str) -> Vec<[f64; 4]> {
    let attribute = |tag: &str, name: &str| -> Option<f64> {
        tag.split_once(&format!(" {name}=\""))?
            .1
            .split('"')
            .next()?
            .parse()
            .ok()
    };
    svg.split("<rect")
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .map(|(tag, _)| tag)
        .filter(|tag| tag.contains("stroke="))
        .map(|tag| ["x", "y", "width", "height"].map(|name| attribute(tag, name).unwrap()))
        .collect()
}

fn check(desc: &ModelDesc, name: &str, words: &[&str]) {
    let svg = draw_svg(desc);
    // For looking at the drawings: a directory named here keeps them.
    if let Some(dir) = std::env::var_os("ARCHAI_DRAWINGS") {
        std::fs::write(std::path::Path::new(&dir).join(format!("{name}.svg")), &svg).unwrap();
    }
    for word in words {
        assert!(svg.contains(word), "{name}: {word} is missing");
    }
    assert_eq!(svg, draw_svg(desc), "{name}: a drawing is always the same");
    let boxes = boxes(&svg);
    let edges: usize = [CellType::Regular, CellType::Reduction]
        .into_iter()
        .filter_map(|kind| desc.first_cell(kind))
        .map(|cell| cell.nodes.iter().map(|n| n.edges.len()).sum::<usize>() + cell.nodes.len() + 3)
        .sum();
    assert_eq!(boxes.len(), edges, "{name}: one box per edge and state");
    for (i, a) in boxes.iter().enumerate() {
        for b in &boxes[..i] {
            let apart = a[0] + a[2] <= b[0]
                || b[0] + b[2] <= a[0]
                || a[1] + a[3] <= b[1]
                || b[1] + b[3] <= a[1];
            assert!(apart, "{name}: {a:?} overlaps {b:?}");
        }
    }
    let dot = draw_dot(desc);
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    for word in words.iter().filter(|w| w.contains("conv")) {
        assert!(dot.contains(word), "{name}: {word} is missing in DOT");
    }
}

#[test]
fn drawings() {
    let v2 = network(&super::DARTS_V2.parse().unwrap(), &cifar(20, 2, 4, 36));
    let words = [
        "dil_conv_3x3",
        "sep_conv_3x3",
        "max_pool_3x3 /2",
        "regular cell (cells 0–5, 7–12, 14–19)",
        "reduction cell (cells 6, 13)",
    ];
    check(&v2, "darts_v2", &words);
    check(
        &supernet(&cifar(3, 1, 2, 16)),
        "toy_supernet",
        &["mixed(8)", "reduction cell (cell 1)"],
    );
    check(&supernet(&cifar(8, 2, 4, 16)), "supernet", &["mixed(8)"]);
    let amoeba = network(&super::AMOEBANET.parse().unwrap(), &cifar(20, 2, 5, 36));
    check(&amoeba, "amoebanet", &["conv_7x1_1x7", "sep_conv_7x7"]);
}

#[test]
fn a_name_with_markup_is_escaped() {
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(5, 2, 4, 8));
    desc.cells[0].nodes[0].edges[0].op.name = "<b>\"&".into();
    let svg = draw_svg(&desc);
    assert!(svg.contains("&lt;b&gt;&quot;&amp;") && !svg.contains("<b>"));
}
