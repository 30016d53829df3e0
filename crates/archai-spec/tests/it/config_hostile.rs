//! Broken and hostile files end in errors, never in a panic or in endless work.

use crate::config::{load, open, shape};
use archai_spec::config::{FileSource, Shipped};

/// A small generator of its own, so that a failing input can be made again from its number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
}

#[test]
fn damaged_files_give_errors_with_a_place() {
    let whole = Shipped.read("archai:algos/common.yaml").unwrap();
    let data = Shipped.read("archai:datasets/cifar10.yaml").unwrap();
    let chars: Vec<char> = whole.chars().collect();
    let mut failed = 0;
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut text = chars.clone();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(text.len());
            match dice.roll(4) {
                0 => text[at] = *dice_char(&mut dice),
                1 => text.insert(at, *dice_char(&mut dice)),
                2 => {
                    text.remove(at);
                }
                _ => text.truncate(at.max(1)),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = load(&[("t", &text), ("d", &data)], "t;d", &[], &shape()) {
            failed += 1;
            assert!(
                error
                    .lines()
                    .all(|line| line.starts_with("t:") || line.starts_with("d:")),
                "{seed}: {error}"
            );
        }
    }
    assert!(failed > 100, "{failed}");
}

fn dice_char(dice: &mut Dice) -> &'static char {
    const CHARS: [char; 24] = [
        ':', ' ', '\n', '-', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@',
        '\t', '?', ',', 'x', '\u{7f}', 'é',
    ];
    &CHARS[dice.roll(CHARS.len())]
}

#[test]
fn any_text_is_an_error_or_a_tree() {
    const PARTS: [&str; 30] = [
        "a",
        "b",
        "nas",
        "_copy",
        "__include__",
        "/a",
        "/b",
        "..",
        ": ",
        ": ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'_copy: /a'",
        "'_copy: ../b'",
        "&x ",
        "*x",
        "!!int ",
        "null",
        "1e400",
        "---\n",
        "\u{feff}",
        "<<",
    ];
    for seed in 0..2_000 {
        let mut dice = Dice(seed + 1_000_000);
        let parts: String = (0..dice.roll(40))
            .map(|_| PARTS[dice.roll(PARTS.len())])
            .collect();
        let noise: String = (0..dice.roll(20))
            .map(|_| char::from_u32(dice.roll(0x3000) as u32).unwrap_or('?'))
            .collect();
        let _ = load(&[("t", &parts)], "t", &[&format!("a.b={noise}")], &open());
        let _ = load(&[("t", &format!("{parts}{noise}"))], "t", &[], &shape());
    }
}

#[test]
fn bombs_are_refused() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        aliases.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    let deep = format!("a: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    let deep_blocks: String = (0..3_000)
        .map(|i| format!("{}k:\n", " ".repeat(i)))
        .collect();
    let own = "a: &a {b: *a}".to_owned();
    for (text, expect) in [
        (
            &aliases,
            "more than 100000 values in one file; aliases multiply them",
        ),
        (&deep, "not valid YAML"),
        (&deep_blocks, "not valid YAML"),
        (&own, "this alias names a section that contains it"),
    ] {
        let error = load(&[("t", text)], "t", &[], &open()).unwrap_err();
        assert!(error.starts_with("t:") && error.contains(expect), "{error}");
    }
}

#[test]
fn long_chains_and_wide_trees_are_refused_in_time() {
    let chain: String = (0..40_000)
        .map(|i| format!("k{i}: '_copy: /k{}'\n", i + 1))
        .collect();
    let error = load(&[("t", &chain)], "t", &[], &open()).unwrap_err();
    assert!(
        error.contains("more than 256 copies of copies: /k0 → /k1 → /k2 → /k3 → …"),
        "{error}"
    );

    let wide: String = (0..40_000).map(|i| format!("k{i}: 1\n")).collect();
    let error = load(&[("t", &wide)], "t", &[], &shape()).unwrap_err();
    assert_eq!(error.lines().count(), 40_003);

    let doubling: Vec<(String, String)> = (0..40)
        .map(|i| (format!("f{i}"), format!("__include__: [f{0}, f{0}]", i + 1)))
        .collect();
    let mut texts: Vec<(&str, &str)> = doubling
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    texts.push(("f40", "x: 1"));
    let error = load(&texts, "f0", &[], &open()).unwrap_err();
    assert!(
        error.contains("more than 200 files in one configuration"),
        "{error}"
    );
}
