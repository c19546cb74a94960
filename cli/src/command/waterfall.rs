//! A match weight as bars: prior, one bar for each comparison that spoke, total.

use onefold_cli::output::Paint;
use onefold_proto::v1 as pb;

/// Cells of the longest bar.
const CELLS: usize = 24;

/// The evidence as lines of bars around a common nought, indented by two.
pub fn drawn(evidence: &pb::MatchEvidence, paint: Paint) -> String {
    let mut lines: Vec<(String, String, f64)> = vec![("prior".to_owned(), String::new(), evidence.prior_bits)];
    for part in &evidence.comparisons {
        lines.push((part.comparison.clone(), part.level.clone(), part.weight_bits));
        if part.frequency_bits.abs() >= 0.05 {
            let kind = if part.frequency_bits > 0.0 { "a rare value" } else { "a common value" };
            lines.push((String::new(), kind.to_owned(), part.frequency_bits));
        }
    }
    if evidence.alternatives_bits.abs() >= 0.05 {
        lines.push(("strangers or kin".to_owned(), String::new(), evidence.alternatives_bits));
    }
    let largest = lines.iter().map(|(.., bits)| bits.abs()).fold(1.0, f64::max);
    let below = lines.iter().map(|(.., bits)| cells(-bits, largest)).max().unwrap_or(0);
    let width = |of: fn(&(String, String, f64)) -> &str| lines.iter().map(|line| of(line).chars().count()).max();
    let name = width(|line| &line.0).unwrap_or(0).max(5);
    let level = width(|line| &line.1).unwrap_or(0);
    let mut text = String::new();
    for (what, how, bits) in &lines {
        let (left, right) = (cells(-bits, largest), cells(*bits, largest));
        let bar = format!("{}{}│{}", " ".repeat(below - left), "█".repeat(left), "█".repeat(right));
        text.push_str(format!("  {what:name$}  {how:level$}  {bits:>+7.1}  {bar}").trim_end());
        text.push('\n');
    }
    let standing = if evidence.total_bits >= evidence.link_bits {
        format!("links from {:+.1}", evidence.link_bits)
    } else if evidence.total_bits >= evidence.review_bits {
        format!("a steward is asked from {:+.1}, links from {:+.1}", evidence.review_bits, evidence.link_bits)
    } else {
        format!("too little: links from {:+.1}", evidence.link_bits)
    };
    let total = format!("  {:name$}  {:level$}  {:>+7.1}", "total", "", evidence.total_bits);
    let against = if evidence.against_kin { ", against kin of one household" } else { "" };
    let model = paint.faint(&format!("bits; {standing}{against}; model {}", evidence.model_version));
    text.push_str(&format!("{}  {model}\n", paint.heading(&total)));
    text
}

/// Cells for so many bits on the side where they are positive.
fn cells(bits: f64, largest: f64) -> usize {
    if bits <= 0.0 { 0 } else { ((bits / largest * CELLS as f64).round() as usize).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_both_sides_of_nought_and_the_total_says_what_it_means() {
        let part = |comparison: &str, level: &str, weight_bits, frequency_bits| pb::ComparisonEvidence {
            comparison: comparison.to_owned(),
            level: level.to_owned(),
            weight_bits,
            frequency_bits,
        };
        let evidence = pb::MatchEvidence {
            model_version: "v".to_owned(),
            prior_bits: -12.0,
            comparisons: vec![part("family name", "exact", 6.0, 3.0), part("phone", "different", -1.5, 0.0)],
            alternatives_bits: 0.0,
            total_bits: -4.5,
            link_bits: 0.0,
            review_bits: -5.0,
            against_kin: false,
        };
        let text = drawn(&evidence, Paint::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("  prior                        -12.0  {}│", "█".repeat(24)));
        assert_eq!(lines[1], format!("  family name  exact            +6.0  {}│{}", " ".repeat(24), "█".repeat(12)));
        assert_eq!(lines[2], format!("               a rare value     +3.0  {}│{}", " ".repeat(24), "█".repeat(6)));
        assert!(lines[3].contains("-1.5") && lines[3].ends_with("███│"), "{}", lines[3]);
        assert!(lines[4].contains("-4.5  bits; a steward is asked from -5.0, links from +0.0"), "{}", lines[4]);
    }
}
