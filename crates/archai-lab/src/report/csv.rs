//! A report as CSV.

use super::collate::{Baseline, Collation};

impl Collation {
    /// As CSV: one line per group and figure, numbers in full. What was left out does not fit in.
    pub fn to_csv(&self) -> String {
        let mut out = String::from(
            "group,algorithm,dataset,phases,settings,figure,n,mean,sd,ci95_low,ci95_high,random_group,random_n,random_mean,\
             random_sd,difference,difference_ci95_low,difference_ci95_high\n",
        );
        let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        for g in &self.groups {
            let settings: Vec<String> =
                g.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let random_group = match g.baseline {
                Baseline::Group { group, .. } => group.to_string(),
                Baseline::Itself | Baseline::None(_) => String::new(),
            };
            for row in &g.rows {
                let end = |ci: Option<[f64; 2]>, i: usize| number(ci.map(|ci| ci[i]));
                let (random, difference) = (row.random, row.difference);
                let of_difference = difference.and_then(|d| d.ci95);
                let fields = [
                    g.number.to_string(),
                    quoted(&g.algorithm),
                    quoted(&g.dataset),
                    quoted(&g.phases),
                    quoted(&settings.join("; ")),
                    quoted(&row.figure),
                    row.own.n.to_string(),
                    row.own.mean.to_string(),
                    number(row.own.sd),
                    end(row.own.ci95, 0),
                    end(row.own.ci95, 1),
                    random_group.clone(),
                    random.map_or_else(String::new, |r| r.n.to_string()),
                    number(random.map(|r| r.mean)),
                    number(random.and_then(|r| r.sd)),
                    number(difference.map(|d| d.mean)),
                    end(of_difference, 0),
                    end(of_difference, 1),
                ];
                out.push_str(&fields.join(","));
                out.push('\n');
            }
        }
        out
    }
}

/// A field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}
