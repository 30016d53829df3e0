//! A survey as a short text.

use std::fmt::Write;

use super::{Chosen, Survey};

/// Most classes that are told one by one.
const CLASSES: usize = 12;

impl Survey {
    /// What was found, in lines for a terminal. `chosen` says why the images have their size, where that was chosen.
    pub fn text(&self, chosen: Option<&Chosen>) -> String {
        let mut text = format!(
            "{}: {} images of {} classes in {}\n",
            self.name,
            self.train + self.test,
            self.classes.len(),
            self.path
        );
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<10}{value}");
        };
        line("layout", self.layout.clone());
        line(
            "images",
            format!("{} to learn from, {} for the test", self.train, self.test),
        );
        line("classes", self.class_counts());
        if let Some(sides) = &self.pictures.sides {
            line(
                "sides",
                match sides.same {
                    true => format!("all {}x{} pixels", sides.height.max, sides.width.max),
                    false => format!(
                        "{} to {} pixels high, {} to {} wide; the shorter side is {} in the median",
                        sides.height.min,
                        sides.height.max,
                        sides.width.min,
                        sides.width.max,
                        sides.shorter.median
                    ),
                },
            );
        }
        line("pictures", self.kinds());
        let [height, width] = self.size;
        let why = chosen.map_or_else(String::new, |chosen| format!(" ({})", chosen.why));
        line(
            "size",
            format!("the network sees {height}x{width} pixels{why}"),
        );
        let numbers = |values: &[f32]| {
            let values: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
            values.join(" ")
        };
        line(
            "pixels",
            format!(
                "mean {}, deviation {}",
                numbers(&self.mean),
                numbers(&self.std)
            ),
        );
        let network = self.network();
        let [first, last] = network.maps(self.size);
        line(
            "network",
            format!(
                "stems {}; maps of {}x{} before the first cell, {}x{} after the last one",
                network.stems.join(" and "),
                first[0],
                first[1],
                last[0],
                last[1]
            ),
        );
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    fn class_counts(&self) -> String {
        let of = |class: &super::Class| format!("{} {}", class.name, class.train + class.test);
        let mut told: Vec<String> = self.classes.iter().take(CLASSES).map(of).collect();
        if self.classes.len() > CLASSES {
            let counts = self.classes.iter().map(|class| class.train + class.test);
            told.push(format!(
                "and {} more of {} to {} images",
                self.classes.len() - CLASSES,
                counts.clone().min().unwrap_or_default(),
                counts.max().unwrap_or_default()
            ));
        }
        told.join(", ")
    }

    fn kinds(&self) -> String {
        let found = &self.pictures;
        let kinds = found.kinds.iter().map(|(kind, n)| format!("{n} {kind}"));
        let others = [
            (found.grey, "grey"),
            (found.transparent, "with transparency"),
            (found.sixteen_bit, "of sixteen bits"),
            (found.turned, "turned by their camera"),
            (found.damaged, "that cannot be read"),
        ];
        let others = others.into_iter().filter(|(n, _)| *n > 0);
        let told: Vec<String> = kinds
            .chain(others.map(|(n, what)| format!("{n} {what}")))
            .collect();
        match told.is_empty() {
            true => "in colour".to_owned(),
            false => {
                let of = match found.looked_at < self.train {
                    true => format!(" (of {} that were looked at)", found.looked_at),
                    false => String::new(),
                };
                format!("{}{of}", told.join(", "))
            }
        }
    }

    /// The classes as a table, with the share of each in the training data.
    pub fn table(&self) -> String {
        let width = self.classes.iter().map(|class| class.name.chars().count());
        let width = width.max().unwrap_or_default().clamp(5, 40);
        let most = self
            .classes
            .iter()
            .map(|class| class.train)
            .max()
            .unwrap_or(0)
            .max(1);
        let mut text = format!("  {:<width$} {:>9} {:>9}\n", "class", "training", "test");
        for class in &self.classes {
            let bar = "#".repeat((30 * class.train).div_ceil(most));
            let _ = writeln!(
                text,
                "  {:<width$} {:>9} {:>9}  {bar}",
                class.name, class.train, class.test
            );
        }
        text
    }
}
