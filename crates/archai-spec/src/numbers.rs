//! How figures are written for people, the same in summaries, reports and listings.

/// `3,349,342`.
pub fn thousands(n: u64) -> String {
    grouped(&n.to_string(), ',')
}

/// `3 349 342`, rounded; `-1 234`. For cells that hold intervals, where a comma stands between two figures.
pub fn thousands_spaced(v: f64) -> String {
    let digits = format!("{:.0}", v.abs());
    let sign = if v < 0.0 && digits != "0" { "-" } else { "" };
    format!("{sign}{}", grouped(&digits, ' '))
}

/// `528.4 M`.
pub fn millions(n: u64) -> String {
    format!("{:.1} M", n as f64 / 1e6)
}

/// A fraction as `97.24`: the figure in percent, without the sign.
pub fn percent_bare(fraction: f64) -> String {
    format!("{:.2}", 100.0 * fraction)
}

/// A fraction as `97.24 %`.
pub fn percent(fraction: f64) -> String {
    format!("{} %", percent_bare(fraction))
}

fn grouped(digits: &str, separator: char) -> String {
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}
