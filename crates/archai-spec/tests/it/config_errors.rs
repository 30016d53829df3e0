//! What users read when something is wrong, word for word.

use crate::config::{args, darts, files, load, open, place, shape};
use archai_spec::config::{ConfigLoader, Files, Schema, parse_overrides};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The keys of `nas.eval.trainer`, as messages list them.
const TRAINER: &str = "title, epochs, batch_chunks, logger_freq, aux_weight, drop_path_prob, grad_clip, l1_alphas, \
                       on_nan, lossfn, optimizer, lr_schedule, alpha_optimizer, alpha_lr_schedule, validation";

#[test]
fn one_mistake_in_a_file() {
    let table = [
        // Of a text of several lines the first is shown.
        (
            "nas: {eval: {trainer: {on_nan: \"go\\non\"}}}",
            "f.yaml:1:24: nas.eval.trainer.on_nan: unknown value `go …` (valid: stop, skip)".into(),
        ),
        // Unknown keys.
        (
            "nas:\n  eval:\n    trainer:\n      epoch: 3",
            format!("f.yaml:4:7: unknown key `epoch` in nas.eval.trainer; did you mean `epochs`? (valid: {TRAINER})"),
        ),
        ("nsa: 1", "f.yaml:1:1: unknown key `nsa` at the top of the tree; did you mean `nas`? (valid: common, dataset, nas)".into()),
        (
            "epochs: 1",
            "f.yaml:1:1: unknown key `epochs` at the top of the tree; did you mean `nas.eval.trainer.epochs` or \
             `nas.search.trainer.epochs` or `nas.search.post_train.trainer.epochs`? (valid: common, dataset, nas)"
                .into(),
        ),
        (
            "nas: {search: {gs: {num_sample: 1}}}",
            "f.yaml:1:16: unknown key `gs` in nas.search (valid: space, finalizer, final_desc_filename, model_desc, \
             loader, trainer, post_train, guard, darts_pt, darts)"
                .into(),
        ),
        (
            "nas: {search: {darts: {second-order: no}}}",
            "f.yaml:1:24: unknown key `second-order` in nas.search.darts; did you mean `second_order`? (valid: \
             second_order, epsilon)"
                .into(),
        ),
        // Types.
        (
            "common: {seed: two}",
            "f.yaml:1:10: common.seed: expected a whole number of at least 0, found the text `two`".into(),
        ),
        ("common: {seed: 2.0}", "f.yaml:1:10: common.seed: expected a whole number of at least 0, found `2.0`".into()),
        ("common: {seed: '2'}", "f.yaml:1:10: common.seed: expected a whole number of at least 0, found the text `2`".into()),
        ("common: {seed: [2]}", "f.yaml:1:10: common.seed: expected a whole number of at least 0, found a list of 1".into()),
        ("common: {seed: null}", "f.yaml:1:10: common.seed: expected a whole number of at least 0, found nothing (null)".into()),
        ("common: {yaml_log: yes}", "f.yaml:1:10: common.yaml_log: expected true or false, found the text `yes`".into()),
        ("common: {log_prefix: 5}", "f.yaml:1:10: common.log_prefix: expected text, found `5`".into()),
        (
            "common: 5",
            "f.yaml:1:1: common: expected a section (logdir, log_prefix, log_level, yaml_log, seed, checkpoint, track), found `5`".into(),
        ),
        (
            "nas: {search: {trainer: {lr_schedule: {warmup: 5}}}}",
            "f.yaml:1:40: nas.search.trainer.lr_schedule.warmup: expected a section (epochs, multiplier) or null, found `5`".into(),
        ),
        ("dataset: {mean: 0.5}", "f.yaml:1:11: dataset.mean: expected a list of numbers, found `0.5`; write `[0.5]`".into()),
        ("dataset: {size: 64}", "f.yaml:1:11: dataset.size: expected a list of 2 whole numbers, found `64`; write `[64, 64]`".into()),
        (
            "dataset: {size: 64x48}",
            "f.yaml:1:11: dataset.size: expected a list of 2 whole numbers, found the text `64x48`; write `[64, 48]`".into(),
        ),
        (
            "dataset: {size: '1, 2, 3'}",
            "f.yaml:1:11: dataset.size: expected a list of 2 whole numbers, found the text `1, 2, 3`".into(),
        ),
        ("dataset: {size: big}", "f.yaml:1:11: dataset.size: expected a list of 2 whole numbers, found the text `big`".into()),
        (
            "version: 1\ncells: []",
            "f.yaml:1:1: f.yaml is a model description and no configuration; `archai train f.yaml` trains it as it is, `archai \
             run --no-search --nas.eval.final_desc_filename f.yaml` scales it up first"
                .into(),
        ),
        ("dataset: {mean: [1, 2, x]}", "f.yaml:1:24: dataset.mean.2: expected a number, found the text `x`".into()),
        ("dataset: {size: [32]}", "f.yaml:1:11: dataset.size: expected a list of 2 whole numbers, found a list of 1".into()),
        (
            "nas: {search: {trainer: {alpha_optimizer: {betas: [0.5]}}}}",
            "f.yaml:1:44: nas.search.trainer.alpha_optimizer.betas: expected a list of 2 numbers or null, found a list of 1".into(),
        ),
        ("dataset: {mean: [.inf, 0, 0]}", "f.yaml:1:18: dataset.mean.0: expected a number, found `.inf`".into()),
        // Words.
        (
            "nas: {search: {trainer: {optimizer: {type: sdg}}}}",
            "f.yaml:1:38: nas.search.trainer.optimizer.type: unknown value `sdg`; did you mean `sgd`? (valid: sgd, adam, adamw, rmsprop)".into(),
        ),
        (
            "dataset: {format: 5}",
            "f.yaml:1:11: dataset.format: expected one of embedded, cifar10_binary, cifar100_binary, idx, parquet, \
             image_folder, csv, mat, food101, mit67, fgvc_aircraft, flowers102, found `5`"
                .into(),
        ),
        // Ranges.
        (
            "nas: {eval: {trainer: {drop_path_prob: 1.5}}}",
            "f.yaml:1:24: nas.eval.trainer.drop_path_prob: `1.5` is out of range: expected a number from 0 to 0.999; it is a share \
             of 1, not percent; did you mean `0.015`?"
                .into(),
        ),
        (
            "common: {log_level: 60}",
            "f.yaml:1:10: common.log_level: `60` is out of range: expected a whole number from 0 to 50".into(),
        ),
        (
            "common: {seed: -1}",
            "f.yaml:1:10: common.seed: `-1` is out of range: expected a whole number of at least 0".into(),
        ),
        (
            "nas: {search: {trainer: {optimizer: {momentum: 1}}}}",
            "f.yaml:1:38: nas.search.trainer.optimizer.momentum: `1` is out of range: expected a number from 0 to 0.99999 or null".into(),
        ),
        // Missing keys.
        (
            "nas: {search: {trainer: {lr_schedule: {warmup: {epochs: 5}}}}}",
            "f.yaml:1:40: missing key `multiplier` in nas.search.trainer.lr_schedule.warmup (1: from lr/epochs up to lr. \
             Above 1: from lr up to `multiplier`·lr, where the main schedule then starts.)"
                .into(),
        ),
        // YAML.
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: the key `a` stands twice in this section; the first is at f.yaml:1:1".into()),
        ("- a\n- b", "f.yaml:1:1: expected a section (`key: value` lines) at the top of the file, found a list of 2".into()),
        ("just text", "f.yaml:1:1: expected a section (`key: value` lines) at the top of the file, found the text `just text`".into()),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a second document starts here (`---`); expected one document per file".into()),
        ("a: !!python/object:os.system x", "f.yaml:1:4: the YAML tag `!!python/object:os.system` is not accepted: types come from the key; remove the tag".into()),
        ("? [a, b]\n: 1", "f.yaml:1:3: expected a key, found a list of 2".into()),
        // Includes.
        ("__include__: {a: 1}", "f.yaml:1:1: `__include__` expects a file name or a list of file names, found a section".into()),
        (
            "__include__: dart.yaml",
            "f.yaml:1:1: cannot read the configuration file dart.yaml: no shipped file has this name".into(),
        ),
        (
            "__include__: [common.yaml]",
            "f.yaml:1:15: cannot read the configuration file common.yaml: no shipped file has this name; did you mean \
             `archai:algos/common.yaml`?"
                .into(),
        ),
        ("__include__: f.yaml", "f.yaml:1:1: files include each other in a circle: f.yaml → f.yaml".into()),
    ];
    for (text, expect) in table {
        assert_eq!(
            darts(&[("f.yaml", text)], "f.yaml", &[]).unwrap_err(),
            expect,
            "{text}"
        );
    }
}

#[test]
fn one_mistake_in_an_override() {
    let table = [
        (
            "--nas.eval.trainer.epoch=3",
            format!(
                "`--nas.eval.trainer.epoch=3`: unknown key `epoch` in nas.eval.trainer; did you mean \
                 `nas.eval.trainer.epochs`? (valid: {TRAINER})"
            ),
        ),
        (
            "--nas.evl.trainer.epochs=3",
            "`--nas.evl.trainer.epochs=3`: unknown key `evl` in nas; did you mean `nas.eval.trainer.epochs`? (valid: search, eval)".into(),
        ),
        (
            "trainer.seed=3",
            "`trainer.seed=3`: unknown key `trainer` at the top of the tree; did you mean `common.seed`? (valid: common, dataset, nas)".into(),
        ),
        ("common.seed.x=3", "`common.seed.x=3`: common.seed is a value; it has no key `x`".into()),
        ("dataset.mean.0=3", "`dataset.mean.0=3`: not understood; expected `--a.b.c VALUE`, `--a.b.c=VALUE` or `a.b.c=VALUE`".into()),
        ("dataset.mean.x=3", "`dataset.mean.x=3`: dataset.mean is a list, given as a whole; it has no key `x`".into()),
        ("common.seed=two", "`common.seed=two`: common.seed: expected a whole number of at least 0, found `two`".into()),
        ("common.yaml_log=maybe", "`common.yaml_log=maybe`: common.yaml_log: expected true or false, found `maybe`".into()),
        ("common.seed=null", "`common.seed=null`: common.seed: expected a whole number of at least 0, found `null`".into()),
        ("dataset.size=[1,2", "`dataset.size=[1,2`: not valid YAML: ".into()),
        (
            "dataset.channels=7",
            "`dataset.channels=7`: dataset.channels: `7` is out of range: expected a whole number from 1 to 4".into(),
        ),
        (
            "dataset.format=idy",
            "`dataset.format=idy`: dataset.format: unknown value `idy`; did you mean `idx`? (valid: embedded, \
             cifar10_binary, cifar100_binary, idx, parquet, image_folder, csv, mat, food101, mit67, fgvc_aircraft, flowers102)"
                .into(),
        ),
        (
            "nas.eval.trainer.lossfn._copy=/nas/eval/loader",
            "".into(), // replaced below: copies a section of other keys
        ),
        (
            "nas.eval.trainer.title=_copy: /nas/eval/trainer/tilte",
            "`nas.eval.trainer.title=_copy: /nas/eval/trainer/tilte`: `_copy: /nas/eval/trainer/tilte`: /nas/eval/trainer \
             has no `tilte`; did you mean `title`? (there: title, epochs, batch_chunks, logger_freq, aux_weight, \
             drop_path_prob, grad_clip, l1_alphas, on_nan, lossfn, optimizer, lr_schedule, alpha_optimizer, alpha_lr_schedule, \
             validation)"
                .into(),
        ),
    ];
    for (given, expect) in table {
        let error = darts(&[], "", &[given]).unwrap_err();
        if expect.ends_with(": ") || expect.is_empty() {
            assert!(error.starts_with(&expect), "{given}: {error}");
        } else {
            assert_eq!(error, expect, "{given}");
        }
    }
}

#[test]
fn a_number_in_another_unit_is_an_error_that_guesses_what_was_meant() {
    let pixels = "pixels lie in [0, 1] here, not in 0 to 255";
    let share = "it is a share of 1, not percent";
    let table = [
        (
            "dataset.mean=[125.3, 123.0, 113.9]",
            format!("125.3 is out of range: expected numbers from 0 to 1; {pixels}; did you mean `[0.4914, 0.4824, 0.4467]`?"),
        ),
        (
            "dataset.std=[63.0, 62.1, 66.7]",
            format!("63 is out of range: expected numbers from 0 to 1; {pixels}; did you mean `[0.2471, 0.2435, 0.2616]`?"),
        ),
        ("dataset.mean=[-0.5, 0, 0]", "-0.5 is out of range: expected numbers from 0 to 1".to_owned()),
        (
            "nas.search.loader.val_ratio=50",
            format!("`50` is out of range: expected a number from 0 to 0.95; {share}; did you mean `0.5`?"),
        ),
        (
            "nas.search.trainer.drop_path_prob=20",
            format!("`20` is out of range: expected a number from 0 to 0.999; {share}; did you mean `0.2`?"),
        ),
        (
            "nas.eval.trainer.lossfn.smoothing=10",
            format!("`10` is out of range: expected a number from 0 to 0.999; {share}; did you mean `0.1`?"),
        ),
        (
            "nas.search.trainer.optimizer.momentum=90",
            format!("`90` is out of range: expected a number from 0 to 0.99999 or null; {share}; did you mean `0.9`?"),
        ),
        (
            "nas.search.trainer.alpha_optimizer.betas=[0.5, 99.9]",
            format!("99.9 is out of range: expected numbers from 0 to 1; {share}; did you mean `[0.5, 0.999]`?"),
        ),
        (
            "nas.search.trainer.alpha_optimizer.eps=1e8",
            "`1e8` is out of range: expected a number from 0 to 1 or null; it only keeps a denominator from 0; did you mean \
             `1e-8`?"
                .to_owned(),
        ),
        (
            "nas.search.trainer.optimizer.lr=25",
            "`25` is out of range: expected a number from 0 to 10; no training survives such a rate; did you mean `0.025`?"
                .to_owned(),
        ),
        (
            "nas.search.darts_pt.tune_lr=3e4",
            "`3e4` is out of range: expected a number from 0 to 10; no training survives such a rate; did you mean `0.0003`?"
                .to_owned(),
        ),
        (
            "nas.search.trainer.optimizer.decay=3",
            "`3` is out of range: expected a number from 0 to 1; it is the factor of the weights in the gradient; did you \
             mean `0.0003`?"
                .to_owned(),
        ),
        (
            "nas.search.trainer.lr_schedule.gamma=10",
            "`10` is out of range: expected a number from 0 to 1 or null; the rate is multiplied by it, not divided; did you \
             mean `0.1`?"
                .to_owned(),
        ),
        (
            "nas.eval.trainer.aux_weight=40",
            "`40` is out of range: expected a number from 0 to 10; the other loss counts 1, not 100; did you mean `0.4`?"
                .to_owned(),
        ),
        // Nobody means this one in any unit.
        (
            "nas.search.loader.val_ratio=5000",
            format!("`5000` is out of range: expected a number from 0 to 0.95; {share}"),
        ),
    ];
    for (given, expect) in table {
        let key = given.split('=').next().unwrap();
        assert_eq!(
            darts(&[], "", &[given]).unwrap_err(),
            format!("`{given}`: {key}: {expect}"),
        );
    }
    // The bounds themselves are numbers that somebody may want.
    for given in [
        "dataset.mean=[0, 0.5, 1]",
        "dataset.std=[1, 1, 1]",
        "nas.search.trainer.optimizer.lr=10",
        "nas.search.trainer.optimizer.decay=1",
        "nas.search.trainer.alpha_optimizer.eps=1",
    ] {
        let tree = darts(&[], "", &[given]).unwrap_or_else(|e| panic!("{given}: {e}"));
        tree.settings().unwrap_or_else(|e| panic!("{given}: {e}"));
    }
    // A data set that a program makes is checked, too.
    let mut data = darts(&[], "", &[]).unwrap().settings().unwrap().dataset;
    data.std = vec![63.0, 62.1, 66.7];
    let problems = data.check();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].0 == "std" && problems[0].1.contains("[0.2471, 0.2435, 0.2616]"),
        "{problems:?}"
    );
}

#[test]
fn values_that_do_not_go_together() {
    let table: &[(&[&str], &str)] = &[
        (
            &["dataset.mean=[0.5]"],
            "`dataset.mean=[0.5]`: dataset.mean: expected one value per channel (3), found 1",
        ),
        (
            &["dataset.std=[1, 1, 0]"],
            "`dataset.std=[1, 1, 0]`: dataset.std: a standard deviation must be above 0; images are divided by it",
        ),
        (
            &["nas.eval.loader.cutout=40"],
            "`nas.eval.loader.cutout=40`: nas.eval.loader.cutout: a square of 40×40 pixels is larger than the images (32×32), \
             so that many would be all zero; it is a side in pixels: give about half of the images' side (16), or 0 for none",
        ),
        (
            &["nas.eval.loader.mix.prob=0.5"],
            "`nas.eval.loader.mix.prob=0.5`: nas.eval.loader.mix: nothing is mixed: expected mixup or cutmix, and prob, above 0; or \
             leave the section out",
        ),
        (
            &["nas.eval.loader.mix={mixup: 0.2, switch_prob: 0.9}"],
            "`nas.eval.loader.mix={mixup: 0.2, switch_prob: 0.9}`: nas.eval.loader.mix.switch_prob: is 0.9, but it chooses between \
             mixup and cutmix, of which only one is above 0; leave it out",
        ),
        (
            &[
                "nas.eval.loader.class_weights=balanced",
                "nas.eval.loader.sampler=balanced",
            ],
            "`nas.eval.loader.class_weights=balanced`: nas.eval.loader.class_weights: rare classes count more already, because \
             loader.sampler draws them more often; take one of the two",
        ),
        (
            &["dataset.crop_padding=33"],
            "`dataset.crop_padding=33`: nas.eval.loader.dataset.crop_padding: 33 pixels of padding are more than the images \
             have (32×32), so that many crops would show nothing of them; it is a width in pixels: give about an eighth of the \
             images' side (4), or 0 for none",
        ),
        (
            &["dataset.max_batches=0"],
            "`dataset.max_batches=0`: dataset.max_batches: 0 takes no data; expected -1 (all) or at least 1",
        ),
        (
            &["nas.search.model_desc.n_cells=4"],
            "`nas.search.model_desc.n_cells=4`: nas.search.model_desc.n_cells: 4 cells cannot hold 2 reductions; expected at \
             least 2·n_reductions + 1 = 5, or fewer reductions",
        ),
        (
            &[
                "nas.eval.model_desc.model_stems.wiring=shared",
                "nas.eval.model_desc.model_stems.ops=[a, b]",
            ],
            "`nas.eval.model_desc.model_stems.ops=[a, b]`: nas.eval.model_desc.model_stems.ops: with `wiring: shared` the \
             first stem feeds both states, so the ops must be equal; found a and b",
        ),
        (
            &["nas.eval.loader.dataset.n_classes=100"],
            "`nas.eval.loader.dataset.n_classes=100`: nas.eval.loader.dataset.n_classes: the loader gives 100, but the \
             network of this phase is built for 10; set model_desc.dataset too",
        ),
        (
            &["nas.search.loader.load_train=no"],
            "`nas.search.loader.load_train=no`: nas.search.loader.load_train: 50 epochs need training data; expected true",
        ),
        (
            &["nas.search.trainer.aux_weight=0.4"],
            "`nas.search.trainer.aux_weight=0.4`: nas.search.trainer.aux_weight: the network of this phase has no auxiliary \
             tower; expected 0, or model_desc.aux_weight above 0",
        ),
        (
            &["nas.search.trainer.optimizer.eps=1e-8"],
            "`nas.search.trainer.optimizer.eps=1e-8`: nas.search.trainer.optimizer.eps: belongs to `type: adam` or \
             `adamw` or `rmsprop`, and the type is sgd; remove it or give null",
        ),
        (
            &[
                "nas.search.trainer.optimizer.type=adam",
                "nas.search.trainer.optimizer.momentum=0.9",
            ],
            "`nas.search.trainer.optimizer.momentum=0.9`: nas.search.trainer.optimizer.momentum: belongs to `type: sgd` or \
             `rmsprop`, and the type is adam; remove it or give null",
        ),
        (
            &[
                "nas.search.trainer.optimizer.nesterov=yes",
                "nas.search.trainer.optimizer.momentum=0",
            ],
            "`nas.search.trainer.optimizer.nesterov=yes`: nas.search.trainer.optimizer.nesterov: needs a momentum above 0",
        ),
        (
            &["nas.search.trainer.alpha_optimizer.betas=[0.5, 1]"],
            "`nas.search.trainer.alpha_optimizer.betas=[0.5, 1]`: nas.search.trainer.alpha_optimizer.betas: expected two \
             numbers from 0 to below 1, found [0.5, 1.0]",
        ),
        (
            &["nas.search.trainer.lr_schedule.min_lr=1"],
            "`nas.search.trainer.lr_schedule.min_lr=1`: nas.search.trainer.lr_schedule.min_lr: 1 is above the optimizer's lr \
             0.025; expected at most that",
        ),
        (
            &[
                "nas.search.trainer.lr_schedule={type: multi_step, min_lr: null, gamma: 0.1, milestones: [5, 5]}",
            ],
            "`nas.search.trainer.lr_schedule={type: multi_step, min_lr: null, gamma: 0.1, milestones: [5, 5]}`: \
             nas.search.trainer.lr_schedule.milestones: expected epochs in rising order",
        ),
        (
            &["nas.eval.trainer.aux_weight=0"],
            "`nas.eval.trainer.aux_weight=0`: nas.eval.trainer.aux_weight: the network of this phase has an auxiliary tower, \
             which nothing would train; expected model_desc.aux_weight, which is 0.4, or 0 there too",
        ),
        (
            &["nas.search.trainer.lr_schedule.warmup={epochs: 51, multiplier: 1}"],
            "`nas.search.trainer.lr_schedule.warmup={epochs: 51, multiplier: 1}`: \
             nas.search.trainer.lr_schedule.warmup.epochs: a warm-up of 51 epochs does not end in a training of 50; expected \
             at most that, or null for none",
        ),
        (
            &["nas.search.trainer.lr_schedule={type: step, min_lr: null, gamma: 0.1}"],
            "`nas.search.trainer.lr_schedule={type: step, min_lr: null, gamma: 0.1}`: nas.search.trainer.lr_schedule.type: step needs the key `decay_period`, which is missing or null",
        ),
        (
            &[
                "nas.search.trainer.alpha_optimizer=null",
                "nas.search.trainer.alpha_lr_schedule={type: constant}",
            ],
            "`nas.search.trainer.alpha_lr_schedule={type: constant}`: nas.search.trainer.alpha_lr_schedule: there is no \
             alpha_optimizer to schedule; give null",
        ),
    ];
    for (given, expect) in table {
        let tree = darts(&[], "", given).unwrap_or_else(|e| panic!("{given:?}: {e}"));
        assert_eq!(
            tree.settings().unwrap_err().to_string(),
            *expect,
            "{given:?}"
        );
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let text = "common:\n  sed: 1\n  yaml_log: 3\ndataset: {channels: x}\nnas: {eval: {trainer: {epochs: -1}}}";
    let error = darts(
        &[("f.yaml", text)],
        "f.yaml",
        &["--common.lodgir", "x", "--common.log_level", "99"],
    )
    .unwrap_err();
    let expect = "\
`--common.lodgir x`: unknown key `lodgir` in common; did you mean `common.logdir`? (valid: logdir, log_prefix, log_level, yaml_log, seed, checkpoint, track)
`--common.log_level 99`: common.log_level: `99` is out of range: expected a whole number from 0 to 50
f.yaml:3:3: common.yaml_log: expected true or false, found `3`
f.yaml:2:3: unknown key `sed` in common; did you mean `seed`? (valid: logdir, log_prefix, log_level, yaml_log, seed, checkpoint, track)
f.yaml:4:11: dataset.channels: expected a whole number from 1 to 4, found the text `x`
f.yaml:5:24: nas.eval.trainer.epochs: `-1` is out of range: expected a whole number of at least 0";
    assert_eq!(error, expect);

    // Broken files are all reported too.
    let texts = [("a.yaml", "x: ["), ("b.yaml", "y: 1\ny: 2")];
    let error = load(&texts, "a.yaml;b.yaml;c.yaml", &[], &open()).unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(
        lines[0].starts_with("a.yaml:1:")
            && lines[1].starts_with("b.yaml:2:1: ")
            && lines[2].contains("c.yaml")
    );
}

#[test]
fn include_circles_show_the_chain() {
    let texts = [
        ("a.yaml", "__include__: sub/b.yaml"),
        ("sub/b.yaml", "__include__: [../c.yaml]"),
        ("c.yaml", "x: 1\n__include__: ./a.yaml"),
    ];
    assert_eq!(
        load(&texts, "a.yaml", &[], &open()).unwrap_err(),
        "c.yaml:2:1: files include each other in a circle: a.yaml → sub/b.yaml → c.yaml → a.yaml"
    );
}

#[test]
fn missing_sections_and_files() {
    let load = |loader: ConfigLoader| loader.load(&shape()).map(|_| ()).unwrap_err().to_string();
    let source = files(&[("d.yaml", "name: mine\nn_classes: 3")]);
    assert_eq!(
        load(
            ConfigLoader::new(&source)
                .files("archai:algos/common.yaml")
                .dataset("archai:datasets/cifar10.yaml")
        ),
        format!(
            "{}: missing key `darts` in nas.search (DARTS's own section, as the algorithm will type it.)",
            place("archai:algos/common.yaml", "nas:", "search:")
        )
    );
    assert_eq!(
        load(ConfigLoader::new(&source).dataset("d.yaml")),
        "d.yaml:1:1: the data-set file d.yaml has no section `dataset:`; put the data set's fields below that key"
    );
    assert_eq!(
        load(ConfigLoader::new(&Files).files("archai:algos/comon.yaml")),
        "cannot read the configuration file archai:algos/comon.yaml: no shipped file has this name; did you mean \
         `archai:algos/common.yaml`?"
    );
    let error = load(ConfigLoader::new(&Files).files("no/such/common.yaml"));
    assert!(
        error.starts_with("cannot read the configuration file no/such/common.yaml: "),
        "{error}"
    );
    assert!(
        error.ends_with("; did you mean `archai:algos/common.yaml`?"),
        "{error}"
    );
    assert!(
        load(ConfigLoader::new(&Files)).contains("missing key `common` at the top of the tree")
    );
}

/// What an algorithm's section may also be made of.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Own {
    /// How to sample.
    sampler: Option<Sampler>,
    #[serde(default)]
    weights: BTreeMap<String, u8>,
    #[serde(default)]
    children: Vec<Own>,
    #[serde(default)]
    either: Option<Either>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Sampler {
    Uniform {},
    Gumbel {
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        tau: f64,
    },
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Number(f64),
    Many(Vec<f64>),
}

#[test]
fn sections_of_other_shapes() {
    let shape = || {
        Schema::settings()
            .section::<Own>("nas.search.own")
            .section::<crate::config::Darts>("nas.search.darts")
    };
    let load = |own: &str| {
        let text = format!("nas: {{search: {{own: {own}}}}}");
        let source = files(&[("f", &text)]);
        let base = ConfigLoader::new(&source)
            .files("archai:algos/darts.yaml")
            .dataset("archai:datasets/mnist.yaml");
        let tree = base.files("f").load(&shape()).map_err(|e| e.to_string())?;
        tree.settings().map_err(|e| e.to_string())?;
        tree.section::<Own>("nas.search.own")
            .map_err(|e| e.to_string())
    };
    let own = load("{sampler: {type: gumbel, tau: 1}, weights: {a: 3}, children: [{sampler: {type: uniform}}], either: [1]}").unwrap();
    assert_eq!(own.sampler, Some(Sampler::Gumbel { tau: 1.0 }));
    assert_eq!(own.children[0].sampler, Some(Sampler::Uniform {}));
    assert_eq!(
        (own.weights["a"], own.either),
        (3, Some(Either::Many(vec![1.0])))
    );
    assert_eq!(load("{}").unwrap().sampler, None);
    assert_eq!(
        load("{either: 2}").unwrap().either,
        Some(Either::Number(2.0))
    );

    for (own, expect) in [
        (
            "{sampler: {type: gumbel}}",
            "f:1:22: missing key `tau` in nas.search.own.sampler",
        ),
        (
            "{sampler: {type: gumbel, tau: 0}}",
            "f:1:46: nas.search.own.sampler.tau: `0` is out of range: expected a number above 0",
        ),
        (
            "{weights: {a: 300}}",
            "f:1:32: nas.search.own.weights.a: `300` is out of range: expected a whole number from 0 to 255",
        ),
        (
            "{children: [{childrn: []}]}",
            "f:1:34: unknown key `childrn` in nas.search.own.children.0; did you mean `children`? (valid: sampler, weights, children, either)",
        ),
    ] {
        assert_eq!(load(own).unwrap_err(), expect, "{own}");
    }
}

/// Copies of a section have what it has, so what it lacks is told once, at the file that must have it.
#[test]
fn a_key_that_all_copies_lack_is_told_where_it_must_be_written() {
    let text = "dataset:\n  format: image_folder\n  path: x\n  n_classes: 2\n  channels: 3\n  size: [32, 32]\n";
    let source = files(&[("pets.yaml", text)]);
    let error = ConfigLoader::new(&source)
        .files("archai:algos/darts.yaml")
        .dataset("pets.yaml")
        .load(&shape())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "pets.yaml:1:1: missing key `mean` in dataset (Mean of each channel, of pixels in [0, 1].)\n\
         pets.yaml:1:1: missing key `std` in dataset (Standard deviation of each channel, of pixels in [0, 1].)"
    );
}

/// A section whose values do not fit together names what the user wrote into it, not the file of its defaults.
#[test]
fn an_error_of_a_section_is_at_what_the_user_wrote() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "u64")]
    struct Even(#[expect(dead_code, reason = "only read")] u64);
    impl TryFrom<u64> for Even {
        type Error = String;
        fn try_from(n: u64) -> Result<Self, String> {
            match n.is_multiple_of(2) {
                true => Ok(Even(n)),
                false => Err(format!("{n} is odd")),
            }
        }
    }
    #[derive(Debug, Deserialize, JsonSchema)]
    struct Own {
        #[expect(dead_code, reason = "only read")]
        #[schemars(with = "Option<u64>")]
        n: Option<Even>,
    }
    let defaults = "__include__: common.yaml\nnas: {search: {own: {n: null}}}";
    let texts = [
        ("archai:algos/own.yaml", defaults),
        ("mine.yaml", "nas:\n  search:\n    own:\n      n: 3"),
    ];
    let error = |more: &str, given: &[&str]| {
        let source = files(&texts);
        let tree = ConfigLoader::new(&source)
            .files("archai:algos/own.yaml")
            .dataset("archai:datasets/cifar10.yaml")
            .files(more)
            .overrides(parse_overrides(&args(given)).unwrap())
            .load(&Schema::settings().section::<Own>("nas.search.own"))
            .unwrap();
        let error = tree.section::<Own>("nas.search.own").unwrap_err();
        error.to_string()
    };
    assert_eq!(
        error("mine.yaml", &[]),
        "mine.yaml:4:7: nas.search.own: 3 is odd"
    );
    assert_eq!(
        error("", &["nas.search.own.n=5"]),
        "`nas.search.own.n=5`: nas.search.own: 5 is odd"
    );
}
