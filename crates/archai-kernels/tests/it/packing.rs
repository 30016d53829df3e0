//! Packed parameters and their names.

use archai_kernels::{
    CellEdge, ConvKind, ConvNorm, FeatureMap, FusedCell, NormKind, Packing, Primitive,
};

fn round_trip(layout: &Packing) {
    let mut next = 0.0;
    let flat = layout.pack(|tensor| {
        (0..tensor.len())
            .map(|_| {
                next += 1.0;
                next
            })
            .collect()
    });
    assert_eq!(flat.len(), layout.len());
    assert_eq!(
        flat.iter().filter(|v| **v != 0.0).count(),
        next as usize,
        "pieces overlap"
    );
    let mut expected = 0.0;
    for (tensor, values) in layout.unpack(&flat) {
        assert_eq!(tensor.shape.iter().product::<usize>(), values.len());
        for v in values {
            expected += 1.0;
            assert_eq!(v, expected, "{}", tensor.name);
        }
    }
}

#[test]
fn ops() {
    for c in [3, 8, 12, 36] {
        for co in [2, 8, 18, 40] {
            for kind in [
                ConvKind::Separable {
                    kernel: 5,
                    dilation: 2,
                    stride: 1,
                },
                ConvKind::Pointwise,
                ConvKind::dense(3, 1),
                ConvKind::Dense {
                    kernel: (1, 7),
                    stride: (1, 1),
                    padding: (0, 3),
                },
                ConvKind::FactorizedReduce,
            ] {
                round_trip(
                    ConvNorm::new(FeatureMap::new(c, 8, 8), co, kind, true, NormKind::Affine)
                        .unwrap()
                        .params(),
                );
            }
        }
    }
}

#[test]
fn cells() {
    let primitives = vec![
        Primitive::Skip,
        Primitive::Sep { kernel: 3 },
        Primitive::Dil { kernel: 5 },
        Primitive::MaxPool { norm: true },
    ];
    let edges = [(0, 0), (1, 0), (2, 1)]
        .map(|(from, node)| CellEdge {
            from,
            node,
            primitives: primitives.clone(),
        })
        .to_vec();
    let cell = FusedCell::new(FeatureMap::new(12, 8, 8), 2, true, edges).unwrap();
    round_trip(cell.params());
    let names: Vec<&str> = cell
        .params()
        .tensors()
        .iter()
        .map(|p| &p.name[..])
        .collect();
    for name in [
        "node0.edge0.skip_connect.conv1.weight",
        "node0.edge1.sep_conv_3x3.conv4.weight",
        "node1.edge2.dil_conv_5x5.conv2.weight",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    assert!(
        !names.iter().any(|n| n.starts_with("node1.edge2.skip")),
        "an identity has no parameters"
    );
    let norms: Vec<&str> = cell.norms().iter().map(|n| &n.name[..]).collect();
    assert!(
        norms.contains(&"node0.edge0.skip_connect.bn1")
            && norms.contains(&"node1.edge2.sep_conv_3x3.bn2"),
        "{norms:?}"
    );
    assert_eq!(norms.len(), 5 + 5 + 4);
}
