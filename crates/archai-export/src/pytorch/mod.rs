//! PyTorch: the state dict (`model.pt`) and beside it the source of the network (`model.py`), which takes it.
//!
//! The source is made for people to read and to edit. It needs nothing but PyTorch; its modules are called as the
//! parameters are (`cell0.node1.edge0.sep_conv_3x3.conv2`), so that `load_state_dict(strict=True)` takes the file. It comes
//! from the network's layers alone: `scope` cuts them into modules by their names, `classes` finds out which modules
//! are the same but for their numbers, `code` writes each class, and cells that follow each other, as a person would.

mod classes;
mod code;
mod expr;
mod layers;
mod scope;

use std::io::{self, Write};

use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::graph::Graph;
use archai_spec::ops::Layer;
use archai_spec::registry::Named;

use crate::pt::write_model;
use crate::{Exported, Exporter, ModelInfo, Options};
use expr::{WIDTH, is_free, text};
use layers::Facts;

/// Writes PyTorch state dicts, and the sources of their networks.
#[derive(Clone, Copy, Debug)]
pub struct PytorchExporter;

impl Named for PytorchExporter {
    fn name(&self) -> &str {
        "pytorch"
    }
    fn about(&self) -> &str {
        "a PyTorch state dict and the source of its network"
    }
}

impl Exporter for PytorchExporter {
    fn extension(&self) -> &str {
        "pt"
    }
    /// `nas.eval.model_filename` has always named the state dict.
    fn takes_any_name(&self) -> bool {
        true
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        write_model(model, out)
    }
    fn check(&self, desc: &ModelDesc, catalog: &OpCatalog, options: &Options) -> io::Result<()> {
        let graph = lowered(desc, catalog, options)?;
        check_names(&graph)?;
        Facts::new(&graph).check()
    }
    fn companions(&self, stem: &str) -> Vec<String> {
        vec![format!("{stem}.py")]
    }
    fn export_companion(
        &self,
        _name: &str,
        model: &Exported<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let graph = lowered(model.desc, model.catalog, model.options)?;
        out.write_all(source(&graph, model.info)?.as_bytes())
    }
    fn options(&self) -> &[&str] {
        &["half", "training"]
    }
    fn describe(&self, what: &str) -> String {
        format!("{what}, as a PyTorch state dict")
    }
    fn describe_companion(&self, _name: &str, _what: &str) -> String {
        "source of the network in PyTorch, to read and to edit; as a program it classifies pictures"
            .to_string()
    }
    fn usage(&self, file: &str) -> Option<String> {
        let module = file
            .strip_suffix(".py")
            .filter(|module| expr::is_name(module))?;
        Some(format!("from {module} import load; network = load()"))
    }
}

fn unsupported(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, message)
}

fn lowered(desc: &ModelDesc, catalog: &OpCatalog, options: &Options) -> io::Result<Graph> {
    let graph = desc.lower(catalog);
    let graph = graph.map_err(|e| unsupported(format!("PyTorch's source needs layers: {e}")))?;
    Ok(match options.training {
        true => graph,
        false => graph.inference(),
    })
}

/// Refuses parts of a network that have the name of something else in PyTorch.
fn check_names(graph: &Graph) -> io::Result<()> {
    for layer in graph.layers.iter().filter(|layer| !layer.params.is_empty()) {
        let name = &graph.values[layer.output].name;
        if let Some(part) = name.split('.').find(|part| !is_free(part)) {
            return Err(unsupported(format!(
                "PyTorch's modules have something of their own called `{part}`, so that the layer `{name}` cannot be \
                 called so there; give the op another name"
            )));
        }
    }
    Ok(())
}

/// The source of a network in PyTorch. What is of use in training alone is in it if it is in the graph: without, pass
/// [`Graph::inference`].
///
/// # Errors
/// Of kind `Unsupported`: a choice among candidates that is not made yet, a pool whose padding PyTorch does not take, or a
/// name that PyTorch uses for something else.
pub fn source(graph: &Graph, info: &ModelInfo) -> io::Result<String> {
    let facts = Facts::new(graph);
    facts.check()?;
    check_names(graph)?;
    let scopes = scope::cut(graph);
    let classes = classes::sort(&facts, &scopes);
    let has_drop_path = graph.layers.iter().any(|l| l.layer == Layer::DropPath);
    let mut out = String::new();
    head(&mut out, graph, info, has_drop_path);
    let mut parts = String::new();
    for class in &classes.classes {
        code::class(&mut parts, &facts, &scopes, class);
    }
    let mut network = String::new();
    code::network_setup(&mut network, &facts, &scopes, &classes.network);
    if parts.contains("Names(") || network.contains("Names(") {
        out.push_str(NAMES);
    }
    if has_drop_path {
        out.push_str(DROP_PATH);
    }
    out.push_str(&parts);
    out.push_str("\n\nclass Network(nn.Module):\n");
    code::docstring(&mut out, 4, &network_doc(graph));
    out.push_str("\n    def __init__(self):\n        super().__init__()\n");
    out.push_str(&network);
    out.push_str("\n    def forward(self, images):\n");
    code::network_forward(&mut out, &facts, &scopes, &classes.network);
    if has_drop_path {
        out.push_str(SET_DROP_PATH);
    }
    out.push_str(&tail(info));
    Ok(out)
}

const NAMES: &str = r#"

class Names(nn.Module):
    """Holds modules under names, so that parameters are called as in the file."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
"#;

const DROP_PATH: &str = r#"

class DropPath(nn.Module):
    """Drops an image's map with probability `p`, which `Network.set_drop_path` sets."""

    p = 0.0

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= self.p
        return x * keep / (1 - self.p)
"#;

const SET_DROP_PATH: &str = "
    def set_drop_path(self, p):
        for module in self.modules():
            if isinstance(module, DropPath):
                module.p = p
";

fn network_doc(graph: &Graph) -> String {
    match graph.aux.len() {
        0 => "Normalised images `[N, CHANNELS, HEIGHT, WIDTH]` to logits `[N, N_CLASSES]`.".to_string(),
        _ => "Normalised images `[N, CHANNELS, HEIGHT, WIDTH]` to logits `[N, N_CLASSES]`; in training to a tuple of \
              these and the logits of the auxiliary tower, whose loss is added with a small weight (0.4 in DARTS)."
            .to_string(),
    }
}

/// `1234567` → `1.23 M`.
fn millions(n: u64) -> String {
    match n {
        0..100_000 => n.to_string(),
        _ => format!("{:.2} M", n as f64 / 1e6),
    }
}

/// What is known of a network's origin, as the first sentences of its source.
fn origin(graph: &Graph, info: &ModelInfo) -> String {
    let p = &info.provenance;
    let [height, width] = info.size;
    let cost = graph.cost(false);
    let mut text = "A network".to_string();
    if !p.algorithm.is_empty() {
        text.push_str(&format!(" found by {}", p.algorithm));
    }
    match p.dataset.as_str() {
        "" => text.push_str(" trained by archai"),
        dataset => text.push_str(&format!(", trained by archai on {dataset}")),
    }
    if let Some(epochs) = p.epochs {
        let noun = if epochs == 1 { "epoch" } else { "epochs" };
        text.push_str(&format!(" for {epochs} {noun}"));
    }
    text.push_str(&format!(
        ": {} classes, images of {} x {height} x {width}, {} parameters, {} multiply-adds.",
        info.n_classes,
        info.channels,
        millions(cost.params),
        millions(cost.macs)
    ));
    if let Some(top1) = p.accuracy.get("test_top1") {
        text.push_str(&format!(
            " Accuracy on the test data: {:.2} %.",
            100.0 * top1
        ));
    }
    text
}

fn head(out: &mut String, graph: &Graph, info: &ModelInfo, has_drop_path: bool) {
    let [height, width] = info.size;
    let mut usage = format!(
        "
The weights lie beside this file, under its name with the extension .pt. In a program:

    network = load()
    logits = network(images)  # float32 [N, {}, {height}, {width}], normalised by MEAN and STD

As a program, with Pillow installed, it classifies pictures: python FILE.py PICTURE...
",
        info.channels
    );
    if has_drop_path {
        usage.push_str(
            "To go on training, set the probability of drop-path: network.set_drop_path(0.2).\n",
        );
    }
    code::docstring_open(out, &origin(graph, info));
    out.push_str(&usage);
    out.push_str("\"\"\"\n\nimport sys\nfrom pathlib import Path\n\n");
    out.push_str("import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n");
    classes(out, info);
    let numbers = |values: &[f32]| {
        let texts: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        format!("[{}]", texts.join(", "))
    };
    out.push_str(&format!(
        "N_CLASSES = len(CLASSES)

# Each channel of an image holds numbers from 0 to 1, of which MEAN is subtracted before
# they are divided by STD.
CHANNELS, HEIGHT, WIDTH = {}, {height}, {width}
MEAN = {}
STD = {}
",
        info.channels,
        numbers(&info.mean),
        numbers(&info.std),
    ));
}

/// The names of the classes: a list if it is short, else a text.
fn classes(out: &mut String, info: &ModelInfo) {
    let names = &info.class_names;
    if names.is_empty() {
        out.push_str(&format!(
            "# The names of the classes are not known.\nCLASSES = [str(i) for i in range({})]\n",
            info.n_classes
        ));
        return;
    }
    let texts: Vec<String> = names.iter().map(|name| text(name)).collect();
    let line = format!("CLASSES = [{}]\n", texts.join(", "));
    if line.chars().count() <= WIDTH + 1 {
        out.push_str(&line);
        return;
    }
    let separators = [", ", "; ", " | ", "\n"];
    let separator = separators
        .iter()
        .find(|s| names.iter().all(|n| !n.contains(**s)));
    if let Some(separator) = separator {
        let line = format!(
            "CLASSES = {}.split({})\n",
            text(&names.join(separator)),
            text(separator)
        );
        if line.chars().count() <= WIDTH + 1 {
            out.push_str(&line);
            return;
        }
    }
    let too_long = names
        .iter()
        .any(|name| text(name).chars().count() > WIDTH - 10);
    let Some(separator) = separator.filter(|_| names.len() > 12 && !too_long) else {
        out.push_str("CLASSES = [\n");
        texts
            .iter()
            .for_each(|t| out.push_str(&format!("    {t},\n")));
        out.push_str("]\n");
        return;
    };
    out.push_str("CLASSES = (\n");
    let mut line = String::new();
    for (i, name) in names.iter().enumerate() {
        let word = match i + 1 == names.len() {
            true => name.clone(),
            false => format!("{name}{separator}"),
        };
        let longer = format!("{line}{word}");
        if !line.is_empty() && 4 + text(&longer).chars().count() > WIDTH {
            out.push_str(&format!("    {}\n", text(&line)));
            line = word;
        } else {
            line = longer;
        }
    }
    out.push_str(&format!("    {}\n", text(&line)));
    out.push_str(&format!(").split({})\n", text(separator)));
}

/// Reading of weights and pictures.
fn tail(info: &ModelInfo) -> String {
    let colours = match info.channels {
        1 => {
            "    grey = np.asarray(picture.convert(\"RGB\"), dtype=int).sum(2)
    picture = Image.fromarray(((grey + 1) // 3).astype(np.uint8))\n"
        }
        _ => "    picture = picture.convert(\"RGB\")\n",
    };
    format!(
        r#"

def load(weights=Path(__file__).with_suffix(".pt")):
    """The trained network; `load().train()` goes on learning."""
    network = Network()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def prepare(picture):
    """A picture (of Pillow) as the network takes it: `[CHANNELS, HEIGHT, WIDTH]`.

    Sides that are too long are shrunk, those that are too short get black borders.
    """
    import numpy as np
    from PIL import Image

{colours}    size = (min(WIDTH, picture.width), min(HEIGHT, picture.height))
    picture = picture.resize(size, Image.BILINEAR)
    canvas = Image.new(picture.mode, (WIDTH, HEIGHT))
    canvas.paste(picture, ((WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    pixels = torch.from_numpy(np.array(canvas)).reshape(HEIGHT, WIDTH, CHANNELS)
    pixels = pixels.permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return (pixels - mean[:, None, None]) / std[:, None, None]


def main(paths):
    from PIL import Image

    if not paths:
        raise SystemExit(f"usage: {{sys.argv[0]}} PICTURE...")
    network = load()
    for path in paths:
        with torch.no_grad(), Image.open(path) as picture:
            chances = network(prepare(picture)[None]).softmax(1)[0]
        best = zip(*chances.topk(min(5, N_CLASSES)))
        print(path, *(f"{{CLASSES[i]}} {{chance:.1%}}" for chance, i in best), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
"#
    )
}
