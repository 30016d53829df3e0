//! How wide texts are, without a font: as in DejaVu Sans, which is wider than what most programs use instead.

/// Advance of the characters from the space to the tilde, in thousandths of the size.
const ADVANCES: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];

fn advance(c: char) -> f64 {
    let latin = (c as usize).checked_sub(32).and_then(|i| ADVANCES.get(i));
    let thousandths = match latin {
        Some(&known) => known,
        // Letters of Europe and punctuation are at most as wide as a W, what comes later is as wide as high.
        None if (c as u32) < 0x1100 => 840,
        None => 1000,
    };
    f64::from(thousandths) / 1000.0
}

/// The width of a text of this size.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// The text, cut so that it is at most so wide.
pub fn fitted(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_string();
    }
    let mut room = most - size * advance('…');
    let mut cut: String = text
        .chars()
        .take_while(|c| {
            room -= advance(*c) * size;
            room >= 0.0
        })
        .collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(fitted("sep_conv_3x3", 12.0, 120.0), "sep_conv_3x3");
        let long = "w".repeat(1000);
        let cut = fitted(&long, 12.0, 120.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0) <= 120.0, "{cut}");
        assert!(width(&cut, 12.0) > 100.0);
    }
}
