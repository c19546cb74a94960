//! The metrics page, read as Prometheus reads it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A page that keeps the format: every sample belongs to a family that was announced before it, once.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What each family is.
    pub kinds: BTreeMap<String, String>,
    /// By name with its labels, as they stand on the page.
    pub samples: BTreeMap<String, f64>,
}

/// Asks for something over HTTP/1.1: status line and headers, and the body.
///
/// # Panics
/// When nobody listens or the answer is none.
pub async fn http(address: SocketAddr, head: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(format!("{head}\r\nHost: {address}\r\n\r\n").as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer comes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.to_owned(), body.to_owned())
}

/// Scrapes a server.
///
/// # Panics
/// When the page breaks the format, and says where.
pub async fn scrape(address: SocketAddr) -> (Page, String) {
    let (head, body) = http(address, "GET /metrics HTTP/1.1").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    (Page::parse(&body), body)
}

impl Page {
    /// Reads the text format, version 0.0.4.
    ///
    /// # Panics
    /// When it breaks the format, and says where.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut family = String::new();
        let mut helped = String::new();
        assert!(text.ends_with('\n'), "the last line ends too");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped = help.split(' ').next().unwrap_or_default().to_owned();
                assert!(help.len() > helped.len() + 1, "help without words: {line}");
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type has a name and a kind");
                assert_eq!(name, helped, "help and type stand together");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(name.ends_with("_total") == (kind == "counter"), "{line}");
                let known = page.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(known, None, "a family stands once: {line}");
                family = name.to_owned();
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let name = series.split('{').next().unwrap_or_default();
            let of = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let is_histogram = page.kinds.get(&family).is_some_and(|kind| kind == "histogram");
            assert!(name == family || (is_histogram && of == Some(family.as_str())), "of no family: {line}");
            let labels = series.strip_prefix(name).unwrap_or_default();
            assert!(labels.is_empty() || (labels.starts_with('{') && labels.ends_with("\"}")), "{line}");
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert_eq!(page.samples.insert(series.to_owned(), value), None, "a series stands once: {line}");
        }
        page.assert_histograms_add_up();
        page
    }

    fn assert_histograms_add_up(&self) {
        for (series, all) in self.samples.iter().filter(|(series, _)| series.contains("le=\"+Inf\"")) {
            let count =
                series.replace("le=\"+Inf\"", "").replace(",}", "}").replace("{}", "").replacen("_bucket", "_count", 1);
            assert_eq!(self.samples.get(&count), Some(all), "{series} and {count}");
        }
    }

    /// The value of a series; 0 where it does not stand on the page.
    #[must_use]
    pub fn get(&self, series: &str) -> f64 {
        self.samples.get(series).copied().unwrap_or_default()
    }

    /// All series of this name together.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        let of = |series: &&String| series.split('{').next() == Some(name);
        self.samples.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }
}
