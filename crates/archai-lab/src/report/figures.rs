//! The figures of a report: their names in files, their names for people, and how they are written.

use archai_spec::numbers::{percent_bare, thousands_spaced};

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A fraction, in percent.
    Percent,
    /// A whole number.
    Count,
    /// Seconds, and whatever is not known.
    Seconds,
    /// Seconds that are shown as milliseconds.
    Milliseconds,
}

/// The known figures, in the order in which they are shown: names in files, names for people.
pub(super) const FIGURES: [(&str, &str, Unit); 26] = [
    ("test_top1", "test accuracy", Unit::Percent),
    ("test_top5", "test accuracy (top-5)", Unit::Percent),
    ("val_top1", "validation accuracy", Unit::Percent),
    ("best_val_top1", "best validation accuracy", Unit::Percent),
    (
        "best_test_top1",
        "test accuracy of the best on validation",
        Unit::Percent,
    ),
    ("train_top1", "training accuracy", Unit::Percent),
    ("parameters", "parameters", Unit::Count),
    ("macs", "multiply-adds", Unit::Count),
    (
        "latency_seconds",
        "milliseconds for one picture, median",
        Unit::Milliseconds,
    ),
    (
        "latency_p90_seconds",
        "milliseconds for one picture, of nine in ten",
        Unit::Milliseconds,
    ),
    ("search_seconds", "seconds of search", Unit::Seconds),
    ("eval_seconds", "seconds of evaluation", Unit::Seconds),
    ("epochs", "epochs of evaluation", Unit::Count),
    (
        "supernet_val_top1",
        "validation accuracy of the supernet",
        Unit::Percent,
    ),
    (
        "supernet_train_top1",
        "training accuracy of the supernet",
        Unit::Percent,
    ),
    (
        "post_train_test_top1",
        "test accuracy at search size",
        Unit::Percent,
    ),
    (
        "search_parameters",
        "parameters at search size",
        Unit::Count,
    ),
    ("search_macs", "multiply-adds at search size", Unit::Count),
    (
        "supernet_parameters",
        "parameters of the supernet",
        Unit::Count,
    ),
    ("alphas", "architecture parameters", Unit::Count),
    (
        "nb201_cifar10_top1",
        "table: true test accuracy on CIFAR-10",
        Unit::Percent,
    ),
    ("nb201_cifar10_rank", "table: rank on CIFAR-10", Unit::Count),
    (
        "nb201_cifar100_top1",
        "table: true test accuracy on CIFAR-100",
        Unit::Percent,
    ),
    (
        "nb201_cifar100_rank",
        "table: rank on CIFAR-100",
        Unit::Count,
    ),
    (
        "nb201_imagenet16_top1",
        "table: true test accuracy on ImageNet16-120",
        Unit::Percent,
    ),
    (
        "nb201_imagenet16_rank",
        "table: rank on ImageNet16-120",
        Unit::Count,
    ),
];
/// The figures that the table of NAS-Bench-201 gives, shown in an overview of their own: accuracy and rank.
pub(super) const TABLE_FIGURES: [(&str, &str, &str); 3] = [
    ("CIFAR-10", "nb201_cifar10_top1", "nb201_cifar10_rank"),
    ("CIFAR-100", "nb201_cifar100_top1", "nb201_cifar100_rank"),
    (
        "ImageNet16-120",
        "nb201_imagenet16_top1",
        "nb201_imagenet16_rank",
    ),
];

/// The unit of a figure, if it is known.
pub(super) fn unit_of(figure: &str) -> Option<Unit> {
    let mut known = FIGURES.iter().filter(|(name, ..)| *name == figure);
    known.next().map(|(.., unit)| *unit)
}

impl Unit {
    /// Between which ends a figure of this unit lies: an interval that is estimated does not go beyond.
    pub fn range(self) -> [f64; 2] {
        match self {
            Unit::Percent => [0.0, 1.0],
            Unit::Count | Unit::Seconds | Unit::Milliseconds => [0.0, f64::INFINITY],
        }
    }

    pub fn bare(self, v: f64) -> String {
        match self {
            Unit::Percent => percent_bare(v),
            Unit::Count => thousands_spaced(v),
            // Unknown figures come here too: enough digits for fractions.
            Unit::Seconds if v.abs() < 10.0 => format!("{v:.3}"),
            Unit::Seconds => format!("{v:.1}"),
            Unit::Milliseconds => format!("{:.3}", 1e3 * v),
        }
    }

    pub fn show(self, v: f64) -> String {
        match self {
            Unit::Percent => format!("{} %", self.bare(v)),
            Unit::Count | Unit::Seconds | Unit::Milliseconds => self.bare(v),
        }
    }

    pub fn signed(self, v: f64) -> String {
        format!("{}{}", if v > 0.0 { "+" } else { "" }, self.bare(v))
    }
}
