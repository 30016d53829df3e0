//! From settings to a description: a skeleton ([`build`]) and the stages that it calls ([`ModelDescBuilder`]), each
//! with a default. An algorithm overrides the stages in which it differs, mostly [`ModelDescBuilder::nodes`] alone.
//!
//! The factor by which a state is smaller than the image is computed from the ops, never guessed from channels.

use super::check::{cell_out, last, push};
use super::{
    AuxTowerDesc, CellDesc, CellType, DescError, DescErrorKind, DescErrors, EdgeDesc,
    FORMAT_VERSION, MAX_SIZE, ModelDesc, NodeDesc, OpCatalog, OpDesc, PRIMITIVES, Shape, StemDesc,
    StemInput,
};
use crate::settings::{Eval, ModelDescSettings, StemWiring, TemplateUse};

/// Most cells, and nodes of a cell, that settings may ask for; larger numbers are typing errors.
const MAX_CELLS: usize = 10_000;
const MAX_NODES: usize = 100;
/// Most ops that all cells may have together, choices among ops counted one by one: a hundred times the largest supernet.
const MAX_OPS: usize = 500_000;

fn count_ops(op: &OpDesc) -> usize {
    1 + op.children.iter().map(|c| count_ops(&c.op)).sum::<usize>()
}

/// What is fixed before the first stage that needs it: settings, template, and the plan of reductions and channels.
#[derive(Clone, Debug)]
pub struct ModelPlan<'a> {
    /// Settings of the model.
    pub settings: &'a ModelDescSettings,
    /// What op names mean.
    pub catalog: &'a OpCatalog,
    /// A found description whose cells are scaled, if there is one.
    pub template: Option<&'a ModelDesc>,
    /// The image.
    pub input: Shape,
    /// Indices of the reduction cells.
    pub reductions: Vec<usize>,
    /// Channels of the nodes of each cell.
    pub node_channels: Vec<usize>,
}

impl ModelPlan<'_> {
    /// Kind of cell `index`.
    pub fn cell_type(&self, index: usize) -> CellType {
        if self.reductions.contains(&index) {
            CellType::Reduction
        } else {
            CellType::Regular
        }
    }
    /// The ops that a mixed edge chooses among: those of the settings, or the space's own.
    pub fn primitives(&self, own: &[&str]) -> Vec<String> {
        let own = || own.iter().map(|name| (*name).to_owned()).collect();
        self.settings.primitives.clone().unwrap_or_else(own)
    }
    /// The cell whose architecture parameters cell `index` uses: the first one of its kind.
    pub fn alphas_from(&self, index: usize) -> usize {
        (0..index)
            .find(|&i| self.cell_type(i) == self.cell_type(index))
            .unwrap_or(index)
    }
    /// The template's cell of the kind of cell `index`.
    ///
    /// # Errors
    /// There is a template, but it has no such cell, or several that differ.
    pub fn template_cell(&self, index: usize) -> Result<Option<&CellDesc>, DescError> {
        let Some(template) = self.template else {
            return Ok(None);
        };
        let kind = self.cell_type(index);
        let common = template.common_cell(kind).map_err(|e| e.at("template"))?;
        common.map(Some).ok_or_else(|| {
            DescError::new(
                DescErrorKind::Template,
                format!(
                    "the template has no {kind} cell, but the network to build has one at index {index} (n_cells {}, n_reductions \
                     {}); search with at least one {kind} cell, or set `n_reductions` so that none is needed",
                    self.settings.n_cells, self.settings.n_reductions
                ),
            )
            .at(format!("cell {index}"))
        })
    }
}

/// What is known of a cell when its nodes are asked for.
#[derive(Clone, Debug)]
pub struct CellPlan<'a> {
    /// The model around it.
    pub model: &'a ModelPlan<'a>,
    /// Index within the model.
    pub index: usize,
    /// Kind.
    pub cell_type: CellType,
    /// Channels of every state of the cell.
    pub channels: usize,
    /// Nodes that the settings ask for.
    pub n_nodes: usize,
    /// The first states: the cell's inputs after its stems.
    pub inputs: Vec<Shape>,
}

impl CellPlan<'_> {
    /// Stride of an edge that reads state `from`: the inputs of a reduction cell are halved, nodes are halved already.
    pub fn stride(&self, from: usize) -> usize {
        if self.cell_type == CellType::Reduction && from < self.inputs.len() {
            2
        } else {
            1
        }
    }
    /// An edge with a single op of the cell's channels and the right stride.
    pub fn edge(&self, op: &str, from: usize) -> EdgeDesc {
        EdgeDesc::new(
            from,
            OpDesc::new(op, self.channels, self.channels).with_stride(self.stride(from)),
        )
    }
}

/// The stems of a model, and which of them gives which input of the first cell.
#[derive(Clone, Debug, PartialEq)]
pub struct StemsDesc {
    /// Stems.
    pub stems: Vec<StemDesc>,
    /// For each input of the first cell, the index of its stem.
    pub outputs: Vec<usize>,
}

/// A built description, and what the user should know of how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// The description. It passes [`ModelDesc::check`].
    pub desc: ModelDesc,
    /// Sentences, for example that the template's number of nodes won over the settings'.
    pub notes: Vec<String>,
}

/// The stages of building a description. Every stage has a default that builds Archai's macro structure with nodes that
/// have no edges yet.
///
/// ```
/// use archai_spec::desc::{CellPlan, DescError, ModelDescBuilder, NodeDesc};
/// /// A chain: each node reads the state before it through a separable convolution.
/// struct Chain;
/// impl ModelDescBuilder for Chain {
///     fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
///         Ok((0..cell.n_nodes).map(|n| NodeDesc::new([cell.edge("sep_conv_3x3", n + 1)])).collect())
///     }
/// }
/// ```
pub trait ModelDescBuilder: Send + Sync {
    /// Whether its edges choose among the ops of the settings ([`ModelPlan::primitives`]). By default they do not, and
    /// settings that name some are an error.
    fn takes_primitives(&self) -> bool {
        false
    }

    /// Indices of the reduction cells: `n_cells·(i+1) / (n_reductions+1)`, rounded down, for i = 0 … n_reductions−1.
    ///
    /// # Errors
    /// Fewer than `2·n_reductions + 1` cells.
    fn reduction_indices(&self, settings: &ModelDescSettings) -> Result<Vec<usize>, DescError> {
        let (cells, reductions) = (settings.n_cells, settings.n_reductions);
        if cells < reductions.saturating_mul(2).saturating_add(1) {
            return Err(DescError::new(
                DescErrorKind::Structure,
                format!(
                    "{reductions} reduction cells need at least {} cells (`n_cells`), but there are {cells}; \
                     raise `n_cells` or lower `n_reductions`",
                    reductions.saturating_mul(2).saturating_add(1)
                ),
            ));
        }
        Ok((0..reductions)
            .map(|i| cells * (i + 1) / (reductions + 1))
            .collect())
    }

    /// Channels of the nodes of each cell: `init_node_ch`, doubled by every reduction cell.
    ///
    /// # Errors
    /// The builder's own.
    fn node_channels(
        &self,
        settings: &ModelDescSettings,
        reductions: &[usize],
    ) -> Result<Vec<usize>, DescError> {
        let mut channels = settings.model_stems.init_node_ch;
        Ok((0..settings.n_cells)
            .map(|i| {
                if reductions.contains(&i) {
                    channels = channels.saturating_mul(2);
                }
                channels
            })
            .collect())
    }

    /// From the image to the inputs of the first cell: two, as `model_stems.wiring` says.
    ///
    /// # Errors
    /// Unknown ops, sizes that they cannot take, a shared stem with two different ops.
    fn model_stems(&self, model: &ModelPlan<'_>) -> Result<StemsDesc, DescError> {
        let settings = &model.settings.model_stems;
        let channels = settings
            .init_node_ch
            .saturating_mul(settings.stem_multiplier);
        let stem = |i: usize, input: StemInput, shape: Shape| {
            let op = OpDesc::new(&settings.ops[i], shape.channels, channels)
                .with_affine(settings.affine);
            let out = model
                .catalog
                .check(&op)
                .and_then(|()| model.catalog.out_shape(&op, &[shape]));
            Ok::<_, DescError>(StemDesc {
                input,
                op,
                out: out.map_err(|e| e.at(format!("stem {i}")))?,
            })
        };
        let first = stem(0, StemInput::Image, model.input)?;
        let (stems, outputs) = match settings.wiring {
            StemWiring::Independent => (
                vec![first, stem(1, StemInput::Image, model.input)?],
                vec![0, 1],
            ),
            StemWiring::Chained => {
                let second = stem(1, StemInput::Stem(0), first.out)?;
                (vec![first, second], vec![0, 1])
            }
            StemWiring::Shared if settings.ops[0] != settings.ops[1] => {
                return Err(DescError::new(
                    DescErrorKind::Structure,
                    format!(
                        "a shared stem (`model_stems.wiring: shared`) has one op, but `model_stems.ops` names `{}` and `{}`; \
                         make them equal, or choose `independent` or `chained`",
                        settings.ops[0], settings.ops[1]
                    ),
                ));
            }
            StemWiring::Shared => (vec![first], vec![0, 0]),
        };
        Ok(StemsDesc { stems, outputs })
    }

    /// The template's cell that cell `index` scales; none where [`ModelDescBuilder::nodes`] makes it. Default: the template's
    /// cell of the kind.
    ///
    /// # Errors
    /// The template has no such cell, several that differ, or one that the builder cannot use.
    fn template_cell<'a>(
        &self,
        model: &'a ModelPlan<'_>,
        index: usize,
    ) -> Result<Option<&'a CellDesc>, DescError> {
        model.template_cell(index)
    }

    /// All cells; `inputs` are those of the first one.
    ///
    /// # Errors
    /// Those of [`ModelDescBuilder::cell`].
    fn cells(&self, model: &ModelPlan<'_>, inputs: &[Shape]) -> Result<Vec<CellDesc>, DescErrors> {
        let mut outputs = inputs.to_vec();
        let mut cells = Vec::with_capacity(model.settings.n_cells);
        let mut ops = 0;
        for index in 0..model.settings.n_cells {
            let cell = self.cell(model, index, &outputs)?;
            let edges = cell.nodes.iter().flat_map(|node| &node.edges);
            ops += edges.map(|edge| count_ops(&edge.op)).sum::<usize>();
            if ops > MAX_OPS {
                let message = format!(
                    "the model has more than {MAX_OPS} ops; lower `n_cells` or `cell.n_nodes`, or give cells with fewer edges"
                );
                return Err(DescError::new(DescErrorKind::Structure, message)
                    .at(format!("cell {index}"))
                    .into());
            }
            push(&mut outputs, cell.out);
            cells.push(cell);
        }
        Ok(cells)
    }

    /// One cell: its stems, nodes (scaled from the template if there is one), post op and auxiliary tower. `inputs` are the
    /// last outputs, of which it reads as many as it has stems.
    ///
    /// # Errors
    /// What the stages report; shapes that do not fit.
    fn cell(
        &self,
        model: &ModelPlan<'_>,
        index: usize,
        inputs: &[Shape],
    ) -> Result<CellDesc, DescErrors> {
        let at = |e: DescError| e.at(format!("cell {index}"));
        let stems = self.cell_stems(model, index, inputs).map_err(at)?;
        if stems.is_empty() || stems.len() > inputs.len() {
            let message = format!(
                "the builder gives {} stem(s) for {} input(s); a cell has one for each input that it reads, and reads at \
                 least one",
                stems.len(),
                inputs.len()
            );
            return Err(at(DescError::new(DescErrorKind::Structure, message)).into());
        }
        let inputs = last(inputs, stems.len());
        let mut states = Vec::with_capacity(stems.len());
        for (s, (stem, input)) in stems.iter().zip(inputs).enumerate() {
            let out = model
                .catalog
                .check(stem)
                .and_then(|()| model.catalog.out_shape(stem, &[*input]));
            states.push(out.map_err(|e| e.at(format!("cell {index}, stem {s}")))?);
        }
        let plan = CellPlan {
            model,
            index,
            cell_type: model.cell_type(index),
            channels: model.node_channels[index],
            n_nodes: model.settings.cell.n_nodes,
            inputs: states,
        };
        let (nodes, concat) = match self.template_cell(model, index)? {
            Some(template) => (
                scaled_nodes(template, plan.channels).map_err(at)?,
                template.concat.clone(),
            ),
            None => {
                let nodes = self.nodes(&plan).map_err(at)?;
                let concat = self.cell_concat(&plan, nodes.len());
                (nodes, concat)
            }
        };
        let mut cell = CellDesc {
            cell_type: plan.cell_type,
            alphas_from: model.alphas_from(index),
            stems,
            nodes,
            post_op: self.cell_post_op(&plan, &concat).map_err(at)?,
            concat,
            // Until it is known.
            out: model.input,
            aux_tower: None,
        };
        cell.out = cell_out(model.catalog, index, &cell, inputs)?;
        cell.aux_tower = self.aux_tower(model, index, cell.out).map_err(at)?;
        Ok(cell)
    }

    /// Brings all inputs of a cell to its channels and to the size of the smallest one: `prepr_reduce` where an input is twice
    /// as large, else `prepr_normal`. One op for each of `inputs` that the cell reads, the last ones.
    ///
    /// # Errors
    /// An input is more than twice as large as another.
    fn cell_stems(
        &self,
        model: &ModelPlan<'_>,
        index: usize,
        inputs: &[Shape],
    ) -> Result<Vec<OpDesc>, DescError> {
        let smallest = inputs.iter().map(|input| input.scale).max().unwrap_or(1);
        let stem = |input: &Shape| {
            let name = match smallest.checked_div(input.scale) {
                Some(1) => "prepr_normal",
                Some(2) => "prepr_reduce",
                _ => {
                    return Err(DescError::new(
                        DescErrorKind::Shape,
                        format!(
                            "its inputs are {}; one may be at most twice as large as the other",
                            inputs
                                .iter()
                                .map(Shape::to_string)
                                .collect::<Vec<_>>()
                                .join(" and ")
                        ),
                    ));
                }
            };
            Ok(OpDesc::new(
                name,
                input.channels,
                model.node_channels[index],
            ))
        };
        inputs.iter().map(stem).collect()
    }

    /// The nodes of a cell. Not called where a template gives them. Default: `n_nodes` nodes without edges.
    ///
    /// # Errors
    /// The builder's own.
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        Ok(vec![NodeDesc::default(); cell.n_nodes])
    }

    /// The states that make a cell's output. Not called where a template gives them. Default: all nodes.
    fn cell_concat(&self, cell: &CellPlan<'_>, n_nodes: usize) -> Vec<usize> {
        let first = cell.inputs.len();
        (first..first + n_nodes).collect()
    }

    /// Joins the states of `concat`: `cell.cell_post_op` of the settings. `concate_channels` gives all channels, any other op
    /// the cell's.
    ///
    /// # Errors
    /// The builder's own.
    fn cell_post_op(&self, cell: &CellPlan<'_>, concat: &[usize]) -> Result<OpDesc, DescError> {
        let name = cell.model.settings.cell.cell_post_op.as_str();
        let out = if name == "concate_channels" {
            cell.channels.saturating_mul(concat.len())
        } else {
            cell.channels
        };
        Ok(OpDesc::new(name, cell.channels, out))
    }

    /// The auxiliary classifier on the output `out` of cell `index`. Default: after cell `2·n_cells / 3` where `aux_weight`
    /// is not 0, fitted to the size of its maps. [`build`] refuses an `aux_weight` for which no cell gets a tower.
    ///
    /// # Errors
    /// Maps of one pixel.
    fn aux_tower(
        &self,
        model: &ModelPlan<'_>,
        index: usize,
        out: Shape,
    ) -> Result<Option<AuxTowerDesc>, DescError> {
        let s = model.settings;
        let wanted = s.aux_weight != 0.0 && index == 2 * s.n_cells / 3;
        let (stride, second_norm) = (s.aux_tower_stride, s.aux_tower_second_norm);
        let tower = || AuxTowerDesc::on(out, s.dataset.n_classes, stride, second_norm);
        wanted.then(tower).transpose()
    }

    /// Between the last cell and the classifier: `model_post_op`.
    ///
    /// # Errors
    /// The builder's own.
    fn model_pool(&self, model: &ModelPlan<'_>, out: Shape) -> Result<OpDesc, DescError> {
        Ok(OpDesc::new(
            &model.settings.model_post_op,
            out.channels,
            out.channels,
        ))
    }

    /// The classifier on the pooled features: `linear`.
    ///
    /// # Errors
    /// The builder's own.
    fn logits(&self, model: &ModelPlan<'_>, pooled: Shape) -> Result<OpDesc, DescError> {
        Ok(OpDesc::new(
            "linear",
            pooled.channels,
            model.settings.dataset.n_classes,
        ))
    }

    /// What the user should know of how the description came about. Default: that cells have another number of nodes than
    /// the settings say.
    fn notes(&self, model: &ModelPlan<'_>, desc: &ModelDesc) -> Vec<String> {
        let wanted = model.settings.cell.n_nodes;
        let decides = match model.template {
            Some(_) => "found network, the template that is scaled,",
            None => "builder",
        };
        let counts: Vec<(String, usize)> = [CellType::Regular, CellType::Reduction]
            .into_iter()
            .filter_map(|kind| Some((format!("{kind} cells"), desc.first_cell(kind)?.nodes.len())))
            .collect();
        // What is true of all is said once.
        let counts = match &counts[..] {
            [(_, one), (_, other)] if one == other => vec![("the cells".to_string(), *one)],
            _ => counts,
        };
        let others = counts.into_iter().filter(|(_, n)| *n != wanted);
        others
            .map(|(which, n)| {
                format!(
                    "{which} have {n} nodes; the settings' `cell.n_nodes: {wanted}` is not used because the {decides} decides"
                )
            })
            .collect()
    }
}

/// The builder with all defaults; with a template it scales.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultModelDescBuilder;
impl ModelDescBuilder for DefaultModelDescBuilder {}

/// The supernet of DARTS (Liu, Simonyan, Yang 2019): every node reads every earlier state through a mixed op.
#[derive(Clone, Copy, Debug, Default)]
pub struct DartsModelDescBuilder;
impl ModelDescBuilder for DartsModelDescBuilder {
    fn takes_primitives(&self) -> bool {
        true
    }

    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let primitives = cell.model.primitives(&PRIMITIVES);
        let edge = |from| {
            EdgeDesc::new(
                from,
                OpDesc::mixed(&primitives, cell.channels, cell.stride(from)),
            )
        };
        Ok((0..cell.n_nodes)
            .map(|node| NodeDesc::new((0..node + cell.inputs.len()).map(edge)))
            .collect())
    }
}

/// Checks the ops that the settings of a search name as `primitives`: they exist, stand once, and one of them can remain.
///
/// # Errors
/// The first that is wrong, with its place in the list.
pub fn check_primitives(
    settings: &ModelDescSettings,
    builder: &dyn ModelDescBuilder,
    catalog: &OpCatalog,
) -> Result<(), DescError> {
    let Some(names) = &settings.primitives else {
        return Ok(());
    };
    let wrong = |message: String| DescError::new(DescErrorKind::Structure, message);
    if !builder.takes_primitives() {
        let message = "this space has ops of its own, which a setting cannot change; leave it out";
        return Err(wrong(message.to_owned()).at("primitives"));
    }
    for (i, name) in names.iter().enumerate() {
        let at = |error: DescError| error.at(format!("primitives.{i}"));
        catalog.get(name).map_err(at)?;
        if names[..i].contains(name) {
            return Err(at(wrong(format!(
                "`{name}` stands twice; name each op once"
            ))));
        }
    }
    if names.iter().all(|name| catalog.is_zero(name)) {
        let message =
            format!("nothing of {names:?} can remain; name an op that computes something");
        return Err(wrong(message).at("primitives"));
    }
    Ok(())
}

/// Builds a description. With a `template`, the regular and the reduction cell of the template give nodes, ops and
/// concatenated states, and the settings give the rest; ops get fresh channels. `affine`: norms have learnt
/// scales and shifts (evaluation), or none (search).
///
/// # Errors
/// What the stages report, then what [`ModelDesc::check`] finds.
pub fn build(
    builder: &dyn ModelDescBuilder,
    settings: &ModelDescSettings,
    template: Option<&ModelDesc>,
    affine: bool,
    catalog: &OpCatalog,
) -> Result<Built, DescErrors> {
    for (name, n, max) in [
        ("n_cells", settings.n_cells, MAX_CELLS),
        ("cell.n_nodes", settings.cell.n_nodes, MAX_NODES),
    ] {
        if n == 0 || n > max {
            let message = format!("`{name}` is {n}; expected 1 to {max}");
            return Err(DescError::new(DescErrorKind::Structure, message).into());
        }
    }
    if settings
        .dataset
        .size
        .iter()
        .any(|&n| n == 0 || n > MAX_SIZE)
    {
        let message = format!(
            "`dataset.size` is {:?}; expected 1 to {MAX_SIZE} each",
            settings.dataset.size
        );
        return Err(DescError::new(DescErrorKind::Structure, message).into());
    }
    // A template has its ops already.
    if template.is_none() {
        check_primitives(settings, builder, catalog)?;
    }
    let reductions = builder.reduction_indices(settings)?;
    let node_channels = builder.node_channels(settings, &reductions)?;
    if node_channels.len() != settings.n_cells {
        return Err(DescError::new(
            DescErrorKind::Structure,
            format!(
                "the builder gives channels for {} cells, but there are {}",
                node_channels.len(),
                settings.n_cells
            ),
        )
        .into());
    }
    let [height, width] = settings.dataset.size;
    let input = Shape::new(settings.dataset.channels, height, width);
    let model = ModelPlan {
        settings,
        catalog,
        template,
        input,
        reductions,
        node_channels,
    };
    let StemsDesc { stems, outputs } = builder.model_stems(&model)?;
    let mut inputs = Vec::with_capacity(outputs.len());
    for &i in &outputs {
        let stem = stems.get(i).ok_or_else(|| {
            DescError::new(
                DescErrorKind::Reference,
                format!("the builder names stem {i}, but makes {}", stems.len()),
            )
        })?;
        inputs.push(stem.out);
    }
    let cells = builder.cells(&model, &inputs)?;
    let stem = inputs.last().copied().unwrap_or(input);
    let features = cells.last().map_or(stem, |cell| cell.out);
    let pool = builder.model_pool(&model, features)?;
    let pooled = catalog
        .check(&pool)
        .and_then(|()| catalog.out_shape(&pool, &[features]))
        .map_err(|e| e.at("pool"))?;
    let logits = builder.logits(&model, pooled)?;
    let desc = ModelDesc {
        version: FORMAT_VERSION,
        input,
        n_classes: settings.dataset.n_classes,
        affine,
        max_final_edges: settings.max_final_edges,
        stems,
        stem_outputs: outputs,
        cells,
        pool,
        logits,
    };
    desc.check(catalog)?;
    if settings.aux_weight != 0.0 && desc.cells.iter().all(|cell| cell.aux_tower.is_none()) {
        let message = format!(
            "`aux_weight` is {}, but this network gets no auxiliary tower, because its builder makes none; set `aux_weight` \
             to 0",
            settings.aux_weight
        );
        return Err(DescError::new(DescErrorKind::Structure, message).into());
    }
    let mut notes = builder.notes(&model, &desc);
    notes.extend(tower_notes(settings, &desc));
    notes.extend(template.map_or_else(Vec::new, |template| post_op_notes(template, &desc)));
    Ok(Built { desc, notes })
}

/// The network that an evaluation trains: `template` scaled to `eval.model_desc`, or as it is, as `eval.template` says.
///
/// # Errors
/// As [`build`]. A description that is trained as it is must be a whole network (no choice is left) for the images and classes
/// of the data set, and `eval.trainer.aux_weight` must be 0 exactly where it has no auxiliary tower.
pub fn evaluated(
    builder: &dyn ModelDescBuilder,
    eval: &Eval,
    template: &ModelDesc,
    catalog: &OpCatalog,
) -> Result<Built, DescErrors> {
    match eval.template {
        TemplateUse::Scale => build(builder, &eval.model_desc, Some(template), true, catalog),
        TemplateUse::AsIs => {
            template.check(catalog)?;
            check_as_is(eval, template)?;
            Ok(Built {
                desc: template.clone(),
                notes: Vec::new(),
            })
        }
        TemplateUse::Adapt => {
            let data = &eval.model_desc.dataset;
            let [height, width] = data.size;
            let image = Shape::new(data.channels, height, width);
            let built = adapted(template, image, data.n_classes, catalog)?;
            check_as_is(eval, &built.desc)?;
            Ok(built)
        }
    }
}

/// A network for other images and classes: every cell stays as it is, and shapes follow from the image. Stems that read an
/// image of another number of channels, a classifier of another size and auxiliary towers are made anew, and the notes say so.
///
/// # Errors
/// The description is none; images that its reductions or its pool cannot take.
pub fn adapted(
    desc: &ModelDesc,
    image: Shape,
    n_classes: usize,
    catalog: &OpCatalog,
) -> Result<Built, DescErrors> {
    desc.check(catalog)?;
    let (mut new, mut notes) = (desc.clone(), Vec::new());
    new.input = image;
    new.n_classes = n_classes;
    for (i, stem) in desc.stems.iter().enumerate() {
        let input = match stem.input {
            StemInput::Image => image,
            StemInput::Stem(from) => new.stems[from].out,
        };
        let (now, place) = (&mut new.stems[i], format!("stem {i}"));
        if stem.input == StemInput::Image && now.op.ch_in != image.channels {
            notes.push(format!(
                "{place} reads images of {} channel(s) in place of {}",
                image.channels, now.op.ch_in
            ));
            now.op.ch_in = image.channels;
        }
        let out = catalog
            .check(&now.op)
            .and_then(|()| catalog.out_shape(&now.op, &[input]));
        now.out = out.map_err(|e| e.at(place))?;
    }
    let mut outputs: Vec<Shape> = desc
        .stem_outputs
        .iter()
        .map(|&i| new.stems[i].out)
        .collect();
    for (i, cell) in new.cells.iter_mut().enumerate() {
        cell.out = cell_out(catalog, i, cell, last(&outputs, cell.stems.len()))?;
        push(&mut outputs, cell.out);
        if let Some(tower) = &mut cell.aux_tower {
            let fitted = AuxTowerDesc::on(cell.out, n_classes, tower.stride, tower.second_norm);
            *tower = fitted.map_err(|e| e.at(format!("cell {i}")))?;
        }
    }
    let features = last(&outputs, 1);
    let pooled = catalog
        .out_shape(&new.pool, features)
        .map_err(|e| e.at("pool"))?;
    new.logits.ch_in = catalog.get(&new.logits.name)?.in_features(pooled);
    new.logits.ch_out = n_classes;
    if new.logits != desc.logits {
        notes.push(format!(
            "the classifier goes from {} numbers to {n_classes} classes in place of {} to {}",
            new.logits.ch_in, desc.logits.ch_in, desc.n_classes
        ));
    }
    if image != desc.input {
        notes.push(format!(
            "the network is fitted to images of {image} in place of {}",
            desc.input
        ));
    }
    new.check(catalog)?;
    Ok(Built { desc: new, notes })
}

/// Checks that a description fits the data and the training that it is given to.
fn check_as_is(eval: &Eval, desc: &ModelDesc) -> Result<(), DescError> {
    let fail = |message: String| Err(DescError::new(DescErrorKind::Template, message));
    if desc.has_alphas() {
        return fail(
            "it has edges that are still choices: it is a supernet and not finalised; give the description that the search \
             wrote at its end (`final_model_desc.yaml`)"
                .to_string(),
        );
    }
    let data = &eval.model_desc.dataset;
    let [height, width] = data.size;
    let image = Shape::new(data.channels, height, width);
    if (desc.input, desc.n_classes) != (image, data.n_classes) {
        return fail(format!(
            "it is for images of {} and {} classes, but the data set `{}` has images of {image} and {} classes; a network that is \
             trained as it is must fit its data: take another data set, or one description for these data \
             (`archai desc scale --dataset`)",
            desc.input, desc.n_classes, data.name, data.n_classes
        ));
    }
    let tower = desc.cells.iter().position(|cell| cell.aux_tower.is_some());
    let weight = eval.trainer.aux_weight;
    match tower {
        None if weight != 0.0 => fail(format!(
            "`nas.eval.trainer.aux_weight` is {weight}, but the description has no auxiliary tower; set \
             nas.eval.model_desc.aux_weight to 0"
        )),
        Some(cell) if weight == 0.0 => fail(format!(
            "cell {cell} has an auxiliary tower, which nothing would train, because `nas.eval.trainer.aux_weight` is 0; set \
             nas.eval.model_desc.aux_weight (0.4 in the papers), or take the tower out of the description"
        )),
        _ => Ok(()),
    }
}

/// What the user should know of auxiliary towers that are not as the settings say.
fn tower_notes(settings: &ModelDescSettings, desc: &ModelDesc) -> Vec<String> {
    let wanted = settings.aux_tower_stride;
    let cells = desc.cells.iter();
    let towers = cells.filter_map(|cell| Some((cell.out, cell.aux_tower.as_ref()?)));
    let fitted = towers.filter(|(_, tower)| tower.stride != wanted);
    let note = |(out, tower): (Shape, &AuxTowerDesc)| {
        format!(
            "the auxiliary tower pools maps of {}×{} by {2}×{2} windows at stride {3}, because they are too small for \
             `aux_tower_stride: {wanted}`",
            out.height, out.width, tower.window, tower.stride
        )
    };
    fitted.map(note).collect()
}

/// That cells are joined otherwise than those of the template, because the settings say so.
fn post_op_notes(template: &ModelDesc, desc: &ModelDesc) -> Vec<String> {
    let kinds = [CellType::Regular, CellType::Reduction].into_iter();
    let pairs =
        kinds.filter_map(|kind| Some((kind, template.first_cell(kind)?, desc.first_cell(kind)?)));
    let differ = pairs.filter(|(_, from, to)| from.post_op.name != to.post_op.name);
    let note = |(kind, from, to): (CellType, &CellDesc, &CellDesc)| {
        format!(
            "{kind} cells are joined by `{}`, as the settings say (`cell.cell_post_op`), and not by the template's `{}`",
            to.post_op.name, from.post_op.name
        )
    };
    differ.map(note).collect()
}

/// The template's nodes with fresh channels.
fn scaled_nodes(template: &CellDesc, channels: usize) -> Result<Vec<NodeDesc>, DescError> {
    check_channels(template)?;
    let mut nodes = template.nodes.clone();
    for (n, node) in nodes.iter_mut().enumerate() {
        for (e, edge) in node.edges.iter_mut().enumerate() {
            rescale(&mut edge.op, channels)
                .map_err(|err| err.at(format!("template, node {n}, edge {e}")))?;
        }
    }
    Ok(nodes)
}

/// Checks that all ops of a cell have the same channels: scaling gives them all the cell's.
fn check_channels(template: &CellDesc) -> Result<(), DescError> {
    let mut usual = None;
    for (n, node) in template.nodes.iter().enumerate() {
        for (e, EdgeDesc { op, .. }) in node.edges.iter().enumerate() {
            let usual = *usual.get_or_insert(op.ch_in);
            if (op.ch_in, op.ch_out) != (usual, usual) {
                return Err(DescError::new(
                    DescErrorKind::Template,
                    format!(
                        "`{}` has {} channels in and {} out, where others have {usual}; scaling gives all ops of a cell the \
                         same channels, so make them equal, or train the description as it is (`archai train`)",
                        op.name, op.ch_in, op.ch_out
                    ),
                )
                .at(format!("template, node {n}, edge {e}")));
            }
        }
    }
    Ok(())
}

fn rescale(op: &mut OpDesc, channels: usize) -> Result<(), DescError> {
    if op.is_mixed() {
        return Err(DescError::new(
            DescErrorKind::Template,
            format!(
                "`{}` is still a choice among {} ops: the template is a supernet and not finalised; \
                 give the description that the search wrote at its end (`final_model_desc.yaml`)",
                op.name,
                op.children.len()
            ),
        ));
    }
    (op.ch_in, op.ch_out) = (channels, channels);
    op.children
        .iter_mut()
        .try_for_each(|child| rescale(&mut child.op, channels))
}
