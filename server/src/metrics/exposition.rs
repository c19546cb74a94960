//! The text format that Prometheus scrapes, version 0.0.4. Written by hand: it is three kinds of line. The crates for it
//! keep a registry that is searched by labels at every count, and one of them keeps every observation until the next
//! scrape; here a count is one atomic in a place that is known.

use std::fmt::Write as _;

use super::instrument::Seen;

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the server starts again.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A page in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    family: &'static str,
}

/// A label and its value.
pub type Label<'a> = (&'static str, &'a str);

impl Page {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing into a String cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.name());
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &[Label<'_>], value: impl std::fmt::Display) {
        self.line("", labels, None, value);
    }

    /// A histogram of the family; `unit` is how many of its units make one of the metric's.
    pub fn histogram(&mut self, labels: &[Label<'_>], seen: &Seen, unit: u64) {
        let scaled = |value: u64| value as f64 / unit as f64;
        let mut below = 0;
        for (bound, count) in seen.bounds.iter().zip(&seen.buckets) {
            below += count;
            self.line("_bucket", labels, Some(&scaled(*bound).to_string()), below);
        }
        let all: u64 = seen.buckets.iter().sum();
        self.line("_bucket", labels, Some("+Inf"), all);
        self.line("_sum", labels, None, scaled(seen.sum));
        self.line("_count", labels, None, all);
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], bound: Option<&str>, value: impl std::fmt::Display) {
        let _ = write!(self.text, "{}{suffix}", self.family);
        let bound = bound.map(|bound| ("le", bound));
        let mut begin = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _ = write!(self.text, "{begin}{name}=\"{}\"", escaped(value));
            begin = ',';
        }
        let end = if begin == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_the_format_has_them() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "Two\nlines \\ and a half.");
        page.sample(&[], 7u64);
        page.sample(&[("x", "quote \" slash \\ line \n"), ("y", "")], 0.5);
        page.family("b_seconds", Kind::Histogram, "Times.");
        page.histogram(
            &[("m", "Get")],
            &Seen { bounds: &[100, 1_000_000], buckets: vec![2, 1, 4], sum: 2_500_000 },
            1_000_000,
        );
        let want = "# HELP a_total Two\\nlines \\\\ and a half.\n# TYPE a_total counter\na_total 7\n\
            a_total{x=\"quote \\\" slash \\\\ line \\n\",y=\"\"} 0.5\n\
            # HELP b_seconds Times.\n# TYPE b_seconds histogram\n\
            b_seconds_bucket{m=\"Get\",le=\"0.0001\"} 2\nb_seconds_bucket{m=\"Get\",le=\"1\"} 3\n\
            b_seconds_bucket{m=\"Get\",le=\"+Inf\"} 7\nb_seconds_sum{m=\"Get\"} 2.5\nb_seconds_count{m=\"Get\"} 7\n";
        assert_eq!(page.finish(), want);
    }
}
