//! What trainings measured, epoch by epoch and step by step.

use maud::{Markup, html};
use serde_json::{Value, json};

use crate::chart::{Chart, Line};
use crate::log::{Epoch, Training};
use crate::ticks::Unit;

/// Most trainings whose curves are drawn one by one.
const MOST_TRAININGS: usize = 12;

/// The charts of a phase; none if its log has no training.
pub fn section(trainings: &[Training], chance: Option<f64>) -> Option<Markup> {
    let trained: Vec<&Training> = trainings
        .iter()
        .filter(|t| !t.epochs.is_empty() || !t.steps.is_empty())
        .collect();
    match trained.as_slice() {
        [] => None,
        [one] => Some(of_one(one, chance)),
        many => Some(of_many(many, chance)),
    }
}

fn train(name: &'static str) -> impl Fn(&Epoch) -> Option<f64> {
    move |epoch| epoch.train.get(name).copied()
}

fn val(name: &'static str) -> impl Fn(&Epoch) -> Option<f64> {
    move |epoch| epoch.val.get(name).copied()
}

fn guard(name: &'static str) -> impl Fn(&Epoch) -> Option<f64> {
    move |epoch| epoch.guard.get(name).copied()
}

/// Charts of one training.
fn of_one(training: &Training, chance: Option<f64>) -> Markup {
    let single = training.epochs.len() < 2;
    // Behind the curve of epochs steps are noise; without one they are the curve.
    let step = |name: &str, nth, of: &str| {
        let line = Line::new(name, nth, training.step_curve(of));
        if single { line } else { line.faint() }
    };
    let mut accuracy = vec![
        Line::new("training, each epoch", 0, training.curve(train("top1"))),
        Line::new("validation, each epoch", 1, training.curve(val("top1"))),
        step("training, single steps", 2, "top1"),
    ];
    accuracy.extend(chance.zip(ends(training)).map(|(chance, [from, to])| {
        Line::new("guessing", 6, vec![[from, chance], [to, chance]]).faint()
    }));
    let loss = [
        Line::new("training, each epoch", 0, training.curve(train("loss"))),
        Line::new("validation, each epoch", 1, training.curve(val("loss"))),
        step("training, single steps", 2, "loss"),
        step("validation, single steps", 4, "valid_loss"),
    ];
    let norm = |of: &str| [Line::new("single steps", 4, training.step_curve(of))];
    let plain = |title, y| Chart {
        title,
        x: "epoch",
        y,
        ..Chart::default()
    };
    let share = |title, y| Chart {
        unit: Unit::Percent,
        ..plain(title, y)
    };
    html! {
        @if single {
            p { "Only one epoch was logged: the points of whole epochs are single points, and the lines are its steps." }
        }
        div.charts {
            (share("Accuracy", "accuracy, %").draw(&accuracy))
            (plain("Loss", "cross-entropy, nats").draw(&loss))
            (plain("Gradient of the weights, before clipping", "L2 norm").draw(&norm("grad_norm")))
            (plain("Gradient of the architecture", "L2 norm").draw(&norm("alpha_grad_norm")))
            @if !single {
                (plain("Learning rate", "rate").draw(&[Line::new("at the end of the epoch", 3, training.curve(train("end_lr")))]))
                (plain("Speed", "images per second").draw(&[Line::new("training", 5, training.curve(train("images_per_s")))]))
            }
        }
        @if training.curve(guard("entropy")).len() > 1 {
            h3 { "What the guard watches" }
            div.charts {
                (Chart { span: Some([0.0, 1.0]), ..share("Share of skip connections", "of the chosen ops, %") }
                    .draw(&[Line::new("skip share", 1, training.curve(guard("skip_share")))]))
                (Chart { span: Some([0.0, 1.05]), ..plain("Entropy of the ops' weights", "0: decided, 1: all equal") }
                    .draw(&[Line::new("mean over the edges", 3, training.curve(guard("entropy")))]))
                (plain("Dominant eigenvalue of the validation loss", "eigenvalue")
                    .draw(&[Line::new("eigenvalue", 4, training.curve(guard("eigenvalue")))]))
            }
        }
    }
}

/// The first and the last place at which anything was measured.
fn ends(training: &Training) -> Option<[f64; 2]> {
    let steps = training.step_curve("top1");
    let epochs = training.curve(train("top1"));
    let all = || steps.iter().chain(&epochs).map(|p| p[0]);
    let (low, high) = (
        all().fold(f64::INFINITY, f64::min),
        all().fold(f64::NEG_INFINITY, f64::max),
    );
    (low < high).then_some([low, high])
}

/// Charts of several trainings: how each ended, and the validation curves of the first ones.
fn of_many(trainings: &[&Training], chance: Option<f64>) -> Markup {
    let ended = |of: &dyn Fn(&Epoch) -> Option<f64>| -> Vec<[f64; 2]> {
        let points = trainings.iter().enumerate();
        points
            .filter_map(|(i, t)| Some([i as f64 + 1.0, of(t.last()?)?]))
            .collect()
    };
    let mut lines = vec![
        Line::new("validation", 1, ended(&val("top1"))),
        Line::new("training", 0, ended(&train("top1"))),
    ];
    let last = trainings.len() as f64;
    lines.extend(chance.map(|c| Line::new("guessing", 6, vec![[1.0, c], [last, c]]).faint()));
    let curves: Vec<Line> = (trainings.iter().take(MOST_TRAININGS).enumerate())
        .map(|(i, t)| {
            let points = t.curve(val("top1"));
            let points = if points.is_empty() {
                t.curve(train("top1"))
            } else {
                points
            };
            Line::new(&t.place, i, points)
        })
        .collect();
    let losses: Vec<[f64; 2]> = ended(&val("loss"));
    let share = Chart {
        unit: Unit::Percent,
        y: "accuracy, %",
        ..Chart::default()
    };
    let long = curves.iter().any(|line| line.points.len() > 1);
    html! {
        p { "The log has " (trainings.len()) " trainings, one network after another." }
        div.charts {
            (Chart { title: "Accuracy after the last epoch of each network", x: "network, in the order of training", ..share.clone() }.draw(&lines))
            (Chart { title: "Loss after the last epoch of each network", x: "network, in the order of training", y: "cross-entropy, nats", ..Chart::default() }
                .draw(&[Line::new("validation", 1, losses), Line::new("training", 0, ended(&train("loss")))]))
            @if long {
                (Chart { title: "Accuracy of each network over its epochs (validation, where there is one)", x: "epoch", ..share }.draw(&curves))
            }
        }
        @if long && trainings.len() > MOST_TRAININGS {
            p.soft { "The curves of the first " (MOST_TRAININGS) " of " (trainings.len()) " networks are drawn." }
        }
    }
}

/// The same numbers as the log has them.
pub fn data(trainings: &[Training]) -> Value {
    let all = trainings.iter().map(|training| {
        let epochs = training.epochs.iter().map(|(number, epoch)| {
            json!({ "epoch": number, "train": epoch.train, "val": epoch.val, "guard": epoch.guard })
        });
        json!({
            "place": training.place,
            "epochs": epochs.collect::<Vec<_>>(),
            "test": training.test,
            "last_alphas": training.last().map(|epoch| {
                let edges = epoch.alphas.iter();
                let named = edges.map(|((c, n, e), alphas)| (format!("cell{c}.node{n}.edge{e}"), json!(alphas)));
                named.collect::<serde_json::Map<String, Value>>()
            }),
        })
    });
    Value::Array(all.collect())
}
