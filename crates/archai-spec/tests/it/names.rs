//! Misspelt names, and figures as people read them.

use archai_spec::names::{nearest, similar, unknown};
use archai_spec::numbers::{millions, percent, thousands, thousands_spaced};

#[test]
fn a_misspelt_name_is_recognised() {
    for (name, candidates, expect) in [
        ("drats", &["darts", "didarts", "gs"][..], &["darts"][..]),
        ("DARTS", &["darts"], &["darts"]),
        (
            "cifr10",
            &["cifar100", "cifar10", "mnist"],
            &["cifar10", "cifar100"],
        ),
        ("idy", &["idx", "parquet"], &["idx"]),
        ("x", &["gs", "xnas"], &[]),
        ("flowers", &["mnist"], &[]),
        ("aa", &["ab", "ac", "ad", "ae"], &["ab", "ac", "ad"]),
        ("same", &["same", "same"], &["same"]),
    ] {
        assert_eq!(similar(name, candidates.iter().copied()), expect, "{name}");
        assert_eq!(
            nearest(name, candidates.iter().copied()),
            expect.first().copied(),
            "{name}"
        );
    }
}

#[test]
fn an_unknown_name_is_answered_with_all_that_are_known() {
    for (known, expect) in [
        (
            &["darts", "nasbench201"][..],
            "there is no space `dart`; did you mean `darts`? known are darts, nasbench201",
        ),
        (&["own"], "there is no space `dart`; known are own"),
        (&[], "there is no space `dart`; none is known"),
    ] {
        let error = unknown("space", "dart", known.iter().copied());
        assert_eq!(error.to_string(), expect);
    }
}

#[test]
fn figures_are_readable() {
    for (n, expect) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (3_349_342, "3,349,342"),
    ] {
        assert_eq!(thousands(n), expect);
    }
    for (v, expect) in [
        (0.0, "0"),
        (-0.2, "0"),
        (999.6, "1 000"),
        (1_234_567.0, "1 234 567"),
        (-1234.0, "-1 234"),
    ] {
        assert_eq!(thousands_spaced(v), expect);
    }
    assert_eq!(millions(528_359_040), "528.4 M");
    assert_eq!(percent(0.97239), "97.24 %");
}
