//! The networks that are measured, at the sizes of their papers.

use archai_algos::DartsSettings;
use archai_spec::config::{ConfigLoader, Schema, Shipped, parse_overrides};
use archai_spec::desc::nasbench201::Cell201;
use archai_spec::desc::{DartsModelDescBuilder, ModelDesc, OpCatalog, build, from_genotype, zoo};
use archai_spec::settings::Settings;

use crate::cli::args::Workload;
use crate::cli::error::CliError;

/// The found cells of the paper's second-order search, by their name in the zoo.
const DARTS_V2: &str = "darts_v2";

/// The cell of NAS-Bench-201 with the best test accuracy on CIFAR-10 (index 6111 of its table).
const BEST_201: &str = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|";

/// NAS-Bench-201's macro structure: 16 channels, three stages of five cells, a residual block before the second and third.
pub(super) const MACRO_201: [&str; 7] = [
    "nas.eval.model_desc.n_cells=17",
    "nas.eval.model_desc.model_post_op=bnrelu_pool_avg2d",
    "nas.eval.model_desc.aux_weight=0",
    "nas.eval.model_desc.model_stems.stem_multiplier=1",
    "nas.eval.model_desc.model_stems.init_node_ch=16",
    "nas.eval.model_desc.cell.n_nodes=3",
    "nas.eval.model_desc.cell.cell_post_op=identity",
];

/// The shipped settings, with the stem of the original code (one, shared, with learnt norms) and with `more`.
pub(super) fn settings(more: &[&str]) -> Result<Settings, CliError> {
    let stems = [
        "nas.search.model_desc.model_stems.wiring=shared",
        "nas.search.model_desc.model_stems.affine=true",
        "nas.eval.model_desc.model_stems.wiring=shared",
    ];
    let flags: Vec<String> = stems.iter().chain(more).map(|s| s.to_string()).collect();
    let algorithms = archai_algos::all();
    let files = archai_algos::files(&algorithms, &Shipped);
    ConfigLoader::new(&files)
        .files("archai:algos/darts.yaml")
        .dataset("archai:datasets/cifar10.yaml")
        .overrides(parse_overrides(&flags).map_err(CliError::config)?)
        .load(&Schema::settings().section::<DartsSettings>("nas.search.darts"))
        .and_then(|tree| tree.settings())
        .map_err(CliError::config)
}

/// The network of a workload.
pub(super) fn describe(
    workload: Workload,
    settings: &Settings,
    catalog: &OpCatalog,
) -> Result<ModelDesc, CliError> {
    let eval = &settings.nas.eval.model_desc;
    let built = match workload {
        Workload::Supernet | Workload::Bilevel | Workload::Overheads => build(
            &DartsModelDescBuilder,
            &settings.nas.search.model_desc,
            None,
            false,
            catalog,
        ),
        Workload::Eval | Workload::Infer | Workload::Cell => {
            let genotype = zoo::genotype(DARTS_V2).ok_or_else(|| {
                CliError::failure(format!("the zoo has no cells named {DARTS_V2}"))
            })?;
            from_genotype(&genotype, eval, true, catalog)
        }
        Workload::NasBench201 => {
            let cell: Cell201 = BEST_201.parse().map_err(CliError::caused)?;
            cell.to_desc(eval, catalog)
        }
        Workload::ResNet20 => {
            let builder = zoo::builder(workload.name())
                .ok_or_else(|| CliError::failure("the zoo has no ResNet-20"))?;
            build(builder.as_ref(), eval, None, true, catalog)
        }
    };
    Ok(built.map_err(CliError::caused)?.desc)
}

/// Multiply-adds per image.
pub(super) fn macs(desc: &ModelDesc, catalog: &OpCatalog, aux: bool) -> Result<f64, CliError> {
    Ok(desc
        .cost(catalog)
        .map_err(CliError::caused)?
        .total(aux)
        .macs as f64)
}
