//! A model for tests and examples whose answers are known without a training.

use std::io;
use std::path::Path;

use archai_spec::desc::{ModelDesc, OpCatalog};

use crate::safetensors::SafetensorsExporter;
use crate::{Exporter, ModelFile, ModelInfo, NamedTensor, Options, Provenance};

/// A network that tells pictures apart by their mean brightness, from the darkest class to the brightest: with two classes
/// what is darker than half the range is the first one, with three classes there are borders at a quarter and at three
/// quarters. `shape` is channels, height and width of its pictures. It is exact only if pictures are prepared as its header
/// says.
///
/// ```
/// let model = archai_export::testing::brightness(&["night", "day"], [3, 8, 8]);
/// assert_eq!(model.info.class_names, ["night", "day"]);
/// model.graph(&archai_spec::desc::OpCatalog::builtin())?;
/// # Ok::<(), archai_export::ModelFileError>(())
/// ```
///
/// # Panics
/// If there are fewer than two classes, or the shape is none that a network can have.
pub fn brightness(class_names: &[&str], shape: [usize; 3]) -> ModelFile {
    let (n, [c, h, w]) = (class_names.len(), shape);
    assert!(n >= 2, "two classes at least");
    let yaml = format!(
        "\
version: 1
input: {{channels: {c}, height: {h}, width: {w}}}
n_classes: {n}
affine: true
max_final_edges: 1
stems:
- {{input: image, op: {{name: stem_conv3x3, ch_in: {c}, ch_out: 1}}, out: {{channels: 1, height: {h}, width: {w}}}}}
stem_outputs: [0, 0]
cells:
- cell_type: regular
  alphas_from: 0
  stems: [{{name: skip_connect, ch_in: 1, ch_out: 1}}, {{name: skip_connect, ch_in: 1, ch_out: 1}}]
  nodes:
  - edges:
    - {{inputs: [1], op: {{name: skip_connect, ch_in: 1, ch_out: 1}}}}
  post_op: {{name: concate_channels, ch_in: 1, ch_out: 1}}
  concat: [2]
  out: {{channels: 1, height: {h}, width: {w}}}
pool: {{name: pool_adaptive_avg2d, ch_in: 1, ch_out: 1}}
logits: {{name: linear, ch_in: 1, ch_out: {n}}}
"
    );
    let catalog = OpCatalog::builtin();
    let desc = ModelDesc::from_yaml(&yaml, "brightness", &catalog).expect("a valid description");
    let (mean, std) = (0.5, 0.25);
    // The norm takes the normalisation back, so that what comes out is the brightness from 0 to 1; the weights of the
    // convolution lie in the middle of its window, so that no border matters.
    let mut window = [0.0; 9];
    window[4] = 1.0 / c as f64;
    // Of the parabolas -(brightness - centre)² the highest is that of the nearest centre; what they share is left out.
    let centres = (0..n).map(|i| i as f64 / (n - 1) as f64);
    let scale = 100.0;
    let graph = desc
        .lower(&catalog)
        .expect("it is made of layers")
        .inference();
    let params = graph.layers.iter().flat_map(|layer| &layer.params);
    let state = params.map(|param| NamedTensor {
        name: param.name.clone(),
        shape: param.shape.clone(),
        values: match param.name.as_str() {
            "stem.conv1.weight" => window.repeat(c),
            "stem.bn1.weight" => vec![std],
            "stem.bn1.bias" => vec![mean],
            "stem.bn1.running_mean" => vec![0.0],
            // Nothing of what a norm adds to the variance is left.
            "stem.bn1.running_var" => vec![1.0 - 1e-5],
            "classifier.linear1.weight" => centres.clone().map(|m| 2.0 * scale * m).collect(),
            "classifier.linear1.bias" => centres.clone().map(|m| -scale * m * m).collect(),
            other => panic!("nothing is known of `{other}`"),
        },
    });
    ModelFile {
        state: state.collect(),
        info: ModelInfo {
            class_names: class_names.iter().map(|name| (*name).to_string()).collect(),
            n_classes: n,
            channels: c,
            size: [h, w],
            mean: vec![mean as f32; c],
            std: vec![std as f32; c],
            transforms: vec!["normalise".to_string()],
            pictures: Default::default(),
            provenance: Provenance {
                source: "made by hand".to_string(),
                ..Provenance::default()
            },
        },
        desc,
    }
}

/// The bytes of a model's file.
///
/// # Errors
/// As [`Exporter::export`].
pub fn bytes(model: &ModelFile) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (catalog, options) = (OpCatalog::builtin(), Options::default());
    SafetensorsExporter.export(&model.exported(&catalog, &options), &mut bytes)?;
    Ok(bytes)
}

/// Writes the file of [`brightness`].
///
/// # Errors
/// A file that cannot be written.
pub fn write_brightness(path: &Path, class_names: &[&str], shape: [usize; 3]) -> io::Result<()> {
    std::fs::write(path, bytes(&brightness(class_names, shape))?)
}
