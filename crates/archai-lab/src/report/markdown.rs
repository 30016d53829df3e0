//! A report as Markdown.

use std::fmt::Write;

use super::collate::{BASELINE, Baseline, Collation, Group, Row};
use super::figures::{FIGURES, TABLE_FIGURES, Unit};
use super::stats::Sample;

impl Collation {
    /// As Markdown: an overview, each group, and what does not count.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from("# Collated runs\n\n");
        self.write_markdown(&mut out)
            .map_or_else(|_| String::new(), |()| out)
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        let n: usize = self.groups.iter().map(|g| g.seeds.len()).sum();
        writeln!(
            out,
            "Runs: {n}. Groups: {}. Left out: {}. Runs of a group differ in nothing but their seed. Mean ± standard deviation of \
             the sample; intervals hold the mean (Student's t) or the difference to `{BASELINE}` (Welch's t) with 95 % confidence.\n",
            self.groups.len(),
            self.left_out.len()
        )?;
        self.write_overview(out)?;
        self.write_table_overview(out)?;
        for group in &self.groups {
            group.write_markdown(out)?;
        }
        if !self.left_out.is_empty() {
            writeln!(out, "\n## Left out\n")?;
            for l in &self.left_out {
                writeln!(out, "- `{}`: {}", l.name, l.reason)?;
            }
        }
        Ok(())
    }

    /// The test accuracy of each group.
    fn write_overview(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "| group | algorithm | runs | data set | seeds | test accuracy | 95 % interval | random | difference | 95 % interval |"
        )?;
        writeln!(out, "|--:|---|---|---|--:|--:|--:|--:|--:|--:|")?;
        // The best of a data set first, and last what was not tested.
        let tested = |g: &Group| g.rows.iter().find(|r| r.figure == "test_top1").cloned();
        let mean = |g: &Group| tested(g).map_or(f64::NEG_INFINITY, |row| row.own.mean);
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by(|a, b| (a.dataset.cmp(&b.dataset)).then(mean(b).total_cmp(&mean(a))));
        for g in groups {
            let row = tested(g);
            let none = || ["–", "–", g.no_random(), "–", "–"].map(str::to_string);
            let cells = row.map_or_else(none, |row| row.cells(g));
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                g.number,
                g.label(),
                cell(&g.names().join(", ")),
                cell(&g.dataset),
                g.seeds.len(),
                cells.join(" | ")
            )?;
        }
        Ok(())
    }

    /// The true accuracies of found cells of NAS-Bench-201, where runs looked them up.
    fn write_table_overview(&self, out: &mut String) -> std::fmt::Result {
        let find = |g: &'_ Group, figure: &str| g.rows.iter().find(|r| r.figure == figure).cloned();
        let all = self.groups.iter().flat_map(|g| {
            let of_one = move |(data, top1, rank): (&'static str, _, _)| {
                Some((g, data, find(g, top1)?, find(g, rank)))
            };
            TABLE_FIGURES.into_iter().filter_map(of_one)
        });
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nWhat the found cells reach at the benchmark's own size and training, as its table says (mean of its runs):\n"
        )?;
        writeln!(
            out,
            "| group | algorithm | table's data set | seeds | true test accuracy | 95 % interval | random | difference | 95 % \
             interval | rank |"
        )?;
        writeln!(out, "|--:|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for (g, data, top1, rank) in all {
            writeln!(
                out,
                "| {} | {} | {data} | {} | {} | {} |",
                g.number,
                g.label(),
                top1.own.n,
                top1.cells(g).join(" | "),
                rank.map_or_else(|| "–".to_string(), |rank| rank.cells(g)[0].clone())
            )?;
        }
        Ok(())
    }
}

impl Group {
    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "\n## Group {}: {} on {}",
            self.number, self.algorithm, self.dataset
        )?;
        match self.phases.as_str() {
            "search and evaluation" => writeln!(out, "\n")?,
            phases => writeln!(out, " ({phases} only)\n")?,
        }
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        writeln!(
            out,
            "Seeds: {}. Runs: {}.",
            seeds.join(", "),
            self.names().join(", ")
        )?;
        if self.toy {
            writeln!(
                out,
                "\nToy runs: their figures say that everything works, and nothing about the algorithm."
            )?;
        }
        if !self.settings.is_empty() {
            writeln!(
                out,
                "\nOther groups of {} on {} differ in:\n",
                self.algorithm, self.dataset
            )?;
            for (name, value) in &self.settings {
                writeln!(out, "- `{name}`, here `{value}`")?;
            }
        }
        self.write_baseline(out)?;
        writeln!(
            out,
            "\n| figure | seeds | mean ± sd | 95 % interval | random | difference | 95 % interval |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|")?;
        for row in &self.rows {
            let (title, _) = row.known();
            writeln!(
                out,
                "| {} | {} | {} |",
                cell(&title),
                row.own.n,
                row.cells(self).join(" | ")
            )?;
        }
        Ok(())
    }

    /// What the group is compared with, and in which settings that differs.
    fn write_baseline(&self, out: &mut String) -> std::fmt::Result {
        match &self.baseline {
            Baseline::Itself => writeln!(out, "\nThis is the random baseline.")?,
            Baseline::None(reason) => {
                writeln!(
                    out,
                    "\n**NO RANDOM BASELINE: {reason}. Nothing here says that the search did anything.**"
                )?;
            }
            Baseline::Group { group, differences } => {
                writeln!(out, "\nRandom baseline: group {group}.")?;
                if !differences.is_empty() {
                    writeln!(out, "Its search differs in:\n")?;
                }
                for (name, own, other) in differences {
                    writeln!(out, "- `{name}`, here `{own}`, there `{other}`")?;
                }
            }
        }
        Ok(())
    }

    /// The algorithm, marked where the runs are toy runs.
    fn label(&self) -> String {
        match self.toy {
            true => format!("{} (toy)", self.algorithm),
            false => self.algorithm.clone(),
        }
    }

    /// The names of the runs, without the folders in which they lie.
    fn names(&self) -> Vec<&str> {
        let name = |path: &'_ str| path.rsplit(['/', '\\']).next().map_or(0, str::len);
        let runs = self.runs.iter();
        runs.map(|run| &run[run.len() - name(run)..]).collect()
    }

    /// What stands where the baseline's figure is missing.
    fn no_random(&self) -> &'static str {
        match self.baseline {
            Baseline::Itself => "(itself)",
            Baseline::Group { .. } => "–",
            Baseline::None(_) => "**none**",
        }
    }
}

impl Row {
    /// Name and unit.
    fn known(&self) -> (String, Unit) {
        let known = FIGURES.iter().find(|(name, ..)| *name == self.figure);
        known.map_or((self.figure.clone(), Unit::Seconds), |(_, title, unit)| {
            (title.to_string(), *unit)
        })
    }

    /// Mean ± deviation, interval, random, difference, interval.
    fn cells(&self, group: &Group) -> [String; 5] {
        let (_, unit) = self.known();
        let none = || "–".to_string();
        // A count that does not vary was not estimated.
        let is_fixed = |s: &Sample| unit == Unit::Count && s.sd == Some(0.0);
        let own = |s: &Sample| match s.sd {
            Some(_) if is_fixed(s) => unit.show(s.mean),
            Some(sd) => format!("{} ± {}", unit.show(s.mean), unit.bare(sd)),
            None => format!("{} (one seed)", unit.show(s.mean)),
        };
        let interval = |ci: Option<[f64; 2]>, sign: bool| {
            ci.map_or_else(none, |[low, high]| match sign {
                true => format!("[{}, {}]", unit.signed(low), unit.signed(high)),
                false => format!("[{}, {}]", unit.bare(low), unit.bare(high)),
            })
        };
        [
            own(&self.own),
            interval(self.own.ci95.filter(|_| !is_fixed(&self.own)), false),
            (self.random.as_ref()).map_or_else(|| group.no_random().to_string(), own),
            self.difference.map_or_else(none, |d| unit.signed(d.mean)),
            interval(self.difference.and_then(|d| d.ci95), true),
        ]
    }
}

/// A text that may stand in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
