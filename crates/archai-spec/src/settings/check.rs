//! What the types and ranges of single keys cannot say: values that do not go together.

use crate::config::problem_of;
use crate::parts::Part;

use super::{
    ClassWeights, Dataset, Eval, ForeignKey, Loader, LrSchedule, ModelDescSettings, Optimizer,
    OptimizerKind, Sampler, ScheduleKind, Settings, StemWiring, Trainer,
};

/// Problems as (dotted key, what is wrong and how to mend it).
type Problems = Vec<(String, String)>;

impl Settings {
    /// Finds values that do not go together: (dotted key, what is wrong and how to mend it). Empty when all is well.
    pub fn check(&self) -> Vec<(String, String)> {
        let mut problems = Problems::new();
        let (search, eval) = (&self.nas.search, &self.nas.eval);
        if let Some((key, why)) = self.common.track.check() {
            problems.push((format!("common.track.{key}"), why));
        }
        if !self.common.track.to.is_empty() && self.common.log_prefix.is_empty() {
            problems.push((
                "common.track.to".to_owned(),
                "trackers read the log, and common.log_prefix is empty, which writes none; give the log a name".to_owned(),
            ));
        }
        dataset(&self.dataset, "dataset", &mut problems);
        model_desc(&search.model_desc, "nas.search.model_desc", &mut problems);
        model_desc(&eval.model_desc, "nas.eval.model_desc", &mut problems);
        for (loader, trainer, path, desc) in [
            (
                &search.loader,
                &search.trainer,
                "nas.search",
                &search.model_desc,
            ),
            (
                &search.post_train.loader,
                &search.post_train.trainer,
                "nas.search.post_train",
                &search.model_desc,
            ),
            (&eval.loader, &eval.trainer, "nas.eval", &eval.model_desc),
        ] {
            training(loader, trainer, path, desc, &mut problems);
        }
        if eval.model_desc.primitives.is_some() {
            problems.push((
                "nas.eval.model_desc.primitives".to_owned(),
                "the evaluation trains what was found and chooses nothing; set nas.search.model_desc.primitives".to_owned(),
            ));
        }
        parts(eval, &mut problems);
        if search.darts_pt.measure_batches == 0 {
            problems.push((
                "nas.search.darts_pt.measure_batches".to_owned(),
                "0 measures nothing; expected -1 (all) or at least 1".to_owned(),
            ));
        }
        if search.guard.stop.eigenvalue_ratio.is_some() && !search.guard.hessian {
            problems.push((
                "nas.search.guard.stop.eigenvalue_ratio".to_owned(),
                "without eigenvalues there is no ratio; set nas.search.guard.hessian to true, or this to null"
                    .to_owned(),
            ));
        }
        problems
    }
}

/// Parts that are frozen or learn at rates of their own.
fn parts(eval: &Eval, problems: &mut Problems) {
    let mut read = |key: &str, text: &String| match text.parse::<Part>() {
        Ok(part) => Some(part),
        Err(problem) => {
            problems.push((format!("nas.eval.{key}"), problem));
            None
        }
    };
    let frozen: Vec<Part> = eval
        .freeze
        .iter()
        .filter_map(|text| read("freeze", text))
        .collect();
    let factors: Vec<(Part, f64)> = (eval.lr_factors.iter())
        .filter_map(|(text, &factor)| Some((read("lr_factors", text)?, factor)))
        .collect();
    for (part, factor) in &factors {
        let at = format!("nas.eval.lr_factors.{part}");
        if !(factor.is_finite() && *factor > 0.0) {
            let message = format!(
                "{factor} is no factor of a learning rate; expected a number above 0, and to hold the part still, freeze it: \
                 nas.eval.freeze=[{part}]"
            );
            problems.push((at, message));
        } else if frozen.contains(part) {
            problems.push((at, "the part is frozen, so that it has no learning rate; take it out of one of the two".into()));
        }
    }
    for (i, (part, _)) in factors.iter().enumerate() {
        let alike =
            |(other, _): &&(Part, f64)| other.closeness() == part.closeness() && other.meets(part);
        if let Some((other, _)) = factors[..i].iter().find(alike) {
            let message = format!(
                "`{part}` and `{other}` may cover the same parameter, and neither is closer; say which by another word or without a star"
            );
            problems.push(("nas.eval.lr_factors".into(), message));
        }
    }
}

impl Dataset {
    /// Longest side of an image, in pixels. Longer ones are damaged files or attacks.
    pub const MAX_SIDE: usize = 16_384;

    /// Finds values that do not go together: (key of the section, what is wrong and how to mend it). Empty when all is well.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if ![1, 3].contains(&self.channels) {
            let message = format!(
                "{} channels are not supported; expected 1 or 3",
                self.channels
            );
            problems.push(("channels", message));
        }
        if !(self.size.iter()).all(|side| (1..=Self::MAX_SIDE).contains(side)) {
            let message = format!(
                "height and width must be 1 to {} pixels, found {:?}",
                Self::MAX_SIDE,
                self.size
            );
            problems.push(("size", message));
        }
        for (key, unit, values) in [
            ("mean", "pixel mean", &self.mean),
            ("std", "pixel deviation", &self.std),
        ] {
            if values.len() != self.channels {
                let message = format!(
                    "expected one value per channel ({}), found {}",
                    self.channels,
                    values.len()
                );
                problems.push((key, message));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                problems.push((key, format!("expected finite numbers, found {value}")));
            }
            // What a file gives was checked with its type; this is for values that a program made.
            let wide: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            if let Some(problem) = problem_of(unit, &wide) {
                problems.push((key, problem));
            }
        }
        if self.std.iter().any(|std| *std <= 0.0) {
            let message = "a standard deviation must be above 0; images are divided by it";
            problems.push(("std", message.to_owned()));
        }
        if self.n_classes == 0 || u32::try_from(self.n_classes).is_err() {
            let message = format!("expected 1 to 2^32 - 1 classes, found {}", self.n_classes);
            problems.push(("n_classes", message));
        }
        if self.test_ratio > 0.0 && self.test.is_some() {
            let message = "the data set has test data (dataset.test), so that none are set apart; take one of the two out";
            problems.push(("test_ratio", message.to_owned()));
        }
        // A range of the schema, for values that a program made.
        if !(0.0..=0.95).contains(&self.test_ratio) {
            let message = format!("expected a share from 0 to 0.95, found {}", self.test_ratio);
            problems.push(("test_ratio", message));
        } else if self.test_ratio == 0.0 && self.split_seed != 0 {
            let message =
                "nothing is divided; set dataset.test_ratio above 0, or take the seed out";
            problems.push(("split_seed", message.to_owned()));
        }
        if self.max_batches == 0 {
            let message = "0 takes no data; expected -1 (all) or at least 1";
            problems.push(("max_batches", message.to_owned()));
        }
        self.check_pictures(&mut problems);
        self.check_changes(&mut problems);
        problems
    }
}

fn dataset(data: &Dataset, path: &str, problems: &mut Problems) {
    let found = data.check().into_iter();
    problems.extend(found.map(|(key, message)| (format!("{path}.{key}"), message)));
}

fn model_desc(desc: &ModelDescSettings, path: &str, problems: &mut Problems) {
    dataset(&desc.dataset, &format!("{path}.dataset"), problems);
    let least = desc.n_reductions.saturating_mul(2).saturating_add(1);
    if desc.n_cells < least {
        problems.push((
            format!("{path}.n_cells"),
            format!(
                "{} cells cannot hold {} reductions; expected at least 2·n_reductions + 1 = {least}, or fewer reductions",
                desc.n_cells, desc.n_reductions
            ),
        ));
    }
    let [first, second] = &desc.model_stems.ops;
    if desc.model_stems.wiring == StemWiring::Shared && first != second {
        problems.push((
            format!("{path}.model_stems.ops"),
            format!("with `wiring: shared` the first stem feeds both states, so the ops must be equal; found {first} and {second}"),
        ));
    }
}

fn training(
    loader: &Loader,
    trainer: &Trainer,
    path: &str,
    desc: &ModelDescSettings,
    problems: &mut Problems,
) {
    let data = &loader.dataset;
    dataset(data, &format!("{path}.loader.dataset"), problems);
    let found = loader.check_augmentation().into_iter();
    problems.extend(found.map(|(key, message)| (format!("{path}.loader.{key}"), message)));
    for (key, loaded, built) in [
        (
            "n_classes",
            format!("{}", data.n_classes),
            format!("{}", desc.dataset.n_classes),
        ),
        (
            "channels",
            format!("{}", data.channels),
            format!("{}", desc.dataset.channels),
        ),
        (
            "size",
            format!("{:?}", data.size),
            format!("{:?}", desc.dataset.size),
        ),
    ] {
        if loaded != built {
            let message = format!(
                "the loader gives {loaded}, but the network of this phase is built for {built}; set model_desc.dataset too"
            );
            problems.push((format!("{path}.loader.dataset.{key}"), message));
        }
    }
    if trainer.epochs > 0 {
        areas(loader, path, problems);
    }
    shares(loader, path, problems);
    if trainer.epochs > 0 && !loader.load_train {
        problems.push((
            format!("{path}.loader.load_train"),
            format!(
                "{} epochs need training data; expected true",
                trainer.epochs
            ),
        ));
    }
    let at = |key: &str| format!("{path}.trainer.{key}");
    if trainer.aux_weight > 0.0 && desc.aux_weight == 0.0 {
        let message = "the network of this phase has no auxiliary tower; expected 0, or model_desc.aux_weight above 0";
        problems.push((at("aux_weight"), message.to_owned()));
    }
    if trainer.aux_weight == 0.0 && desc.aux_weight > 0.0 && trainer.epochs > 0 {
        let message = format!(
            "the network of this phase has an auxiliary tower, which nothing would train; expected model_desc.aux_weight, which \
             is {}, or 0 there too",
            desc.aux_weight
        );
        problems.push((at("aux_weight"), message));
    }
    optimizer(&trainer.optimizer, &at("optimizer"), problems);
    schedule(
        &trainer.lr_schedule,
        trainer.optimizer.lr,
        trainer.epochs,
        &at("lr_schedule"),
        problems,
    );
    if let Some(alpha) = &trainer.alpha_optimizer {
        optimizer(alpha, &at("alpha_optimizer"), problems);
    }
    match (&trainer.alpha_lr_schedule, &trainer.alpha_optimizer) {
        (Some(alpha), Some(optimizer)) => schedule(
            alpha,
            optimizer.lr,
            trainer.epochs,
            &at("alpha_lr_schedule"),
            problems,
        ),
        (Some(_), None) => {
            problems.push((
                at("alpha_lr_schedule"),
                "there is no alpha_optimizer to schedule; give null".to_owned(),
            ));
        }
        (None, _) => {}
    }
}

/// What is asked for must have an effect, and have it once.
fn shares(loader: &Loader, path: &str, problems: &mut Problems) {
    if let Some(mix) = &loader.mix {
        if (mix.mixup, mix.cutmix) == (0.0, 0.0) || mix.prob == 0.0 {
            let message = "nothing is mixed: expected mixup or cutmix, and prob, above 0; or leave the section out";
            problems.push((format!("{path}.loader.mix"), message.to_owned()));
        }
        if (mix.mixup == 0.0 || mix.cutmix == 0.0) && mix.switch_prob != 0.5 {
            let message = format!(
                "is {}, but it chooses between mixup and cutmix, of which only one is above 0; leave it out",
                mix.switch_prob
            );
            problems.push((format!("{path}.loader.mix.switch_prob"), message));
        }
    }
    if loader.sampler == Sampler::Balanced && loader.class_weights == ClassWeights::Balanced {
        let message = "rare classes count more already, because loader.sampler draws them more often; take one of the two";
        problems.push((format!("{path}.loader.class_weights"), message.to_owned()));
    }
}

/// What augmentation takes away of an image must leave something of it.
fn areas(loader: &Loader, path: &str, problems: &mut Problems) {
    let data = &loader.dataset;
    let [height, width] = data.size;
    let side = height.min(width);
    let named = |name: &str| data.transforms().contains(&name);
    if named("cutout") && loader.cutout > side {
        let message = format!(
            "a square of {0}×{0} pixels is larger than the images ({height}×{width}), so that many would be all zero; it is a \
             side in pixels: give about half of the images' side ({1}), or 0 for none",
            loader.cutout,
            side / 2
        );
        problems.push((format!("{path}.loader.cutout"), message));
    }
    if named("crop") && data.crop_padding > side {
        let message = format!(
            "{} pixels of padding are more than the images have ({height}×{width}), so that many crops would show nothing of \
             them; it is a width in pixels: give about an eighth of the images' side ({}), or 0 for none",
            data.crop_padding,
            side / 8
        );
        problems.push((format!("{path}.loader.dataset.crop_padding"), message));
    }
}

/// Keys that only some types have: an error where the type does not read them, so that nothing is silently ignored.
fn foreign(path: &str, kind: &str, given: Vec<ForeignKey>, problems: &mut Problems) {
    for (key, types) in given {
        let message = format!(
            "belongs to `type: {}`, and the type is {kind}; remove it or give null",
            types.join("` or `")
        );
        problems.push((format!("{path}.{key}"), message));
    }
}

fn optimizer(optimizer: &Optimizer, path: &str, problems: &mut Problems) {
    foreign(path, optimizer.kind.name(), optimizer.foreign(), problems);
    if optimizer.kind == OptimizerKind::Sgd
        && optimizer.nesterov == Some(true)
        && optimizer.momentum.unwrap_or(0.0) == 0.0
    {
        problems.push((
            format!("{path}.nesterov"),
            "needs a momentum above 0".to_owned(),
        ));
    }
    if let Some(betas) = optimizer.betas
        && betas.iter().any(|beta| !(0.0..1.0).contains(beta))
    {
        problems.push((
            format!("{path}.betas"),
            format!("expected two numbers from 0 to below 1, found {betas:?}"),
        ));
    }
}

fn schedule(schedule: &LrSchedule, lr: f64, epochs: usize, path: &str, problems: &mut Problems) {
    // A training of no epochs is left out, whatever its schedule.
    if let Some(warmup) = &schedule.warmup
        && epochs > 0
        && warmup.epochs > epochs
    {
        problems.push((
            format!("{path}.warmup.epochs"),
            format!(
                "a warm-up of {} epochs does not end in a training of {epochs}; expected at most that, or null for none",
                warmup.epochs
            ),
        ));
    }
    let kind = schedule.kind.name();
    foreign(path, kind, schedule.foreign(), problems);
    let mut need = |key: &str, is_given: bool| {
        if !is_given {
            problems.push((
                format!("{path}.type"),
                format!("{kind} needs the key `{key}`, which is missing or null"),
            ));
        }
    };
    match schedule.kind {
        ScheduleKind::Constant => {}
        ScheduleKind::Cosine => {
            if let Some(min) = schedule.min_lr.filter(|min| *min > lr) {
                problems.push((
                    format!("{path}.min_lr"),
                    format!("{min} is above the optimizer's lr {lr}; expected at most that"),
                ));
            }
        }
        ScheduleKind::MultiStep => {
            need("milestones", schedule.milestones.is_some());
            need("gamma", schedule.gamma.is_some());
            if (schedule.milestones.as_ref())
                .is_some_and(|epochs| !epochs.is_sorted_by(|a, b| a < b))
            {
                problems.push((
                    format!("{path}.milestones"),
                    "expected epochs in rising order".to_owned(),
                ));
            }
        }
        ScheduleKind::Step => {
            need("decay_period", schedule.decay_period.is_some());
            need("gamma", schedule.gamma.is_some());
        }
    }
}
