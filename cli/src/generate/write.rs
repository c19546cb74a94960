//! Records as the files that different systems would hand over: other delimiters, headers, date and name habits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::civil::Date;
use onefold_core::fragment::PartyKind;
use serde_json::{Map, Value, json};

use super::record::{EventKind, Origin, Record};

/// Where one source's records go, and in which shape.
enum Shape {
    Separated { delimiter: u8, columns: &'static [Column] },
    Lines(fn(&Record) -> Value),
}

type Column = (&'static str, fn(&Record) -> String);

const fn shape(origin: Origin) -> (&'static str, Shape) {
    match origin {
        Origin::Crm => ("crm.csv", Shape::Separated { delimiter: b',', columns: CRM }),
        Origin::Webshop => ("webshop.csv", Shape::Separated { delimiter: b';', columns: WEBSHOP }),
        Origin::Support => ("support.ndjson", Shape::Lines(ticket)),
        Origin::PointOfSale => ("pos.tsv", Shape::Separated { delimiter: b'\t', columns: TILL }),
        Origin::Newsletter => ("newsletter.csv", Shape::Separated { delimiter: b',', columns: NEWSLETTER }),
        Origin::Events => ("events.ndjson", Shape::Lines(event)),
        Origin::Erp => ("erp.csv", Shape::Separated { delimiter: b',', columns: ERP }),
        Origin::Invoice => ("invoice.csv", Shape::Separated { delimiter: b'|', columns: ERP }),
        Origin::Directory => ("directory.csv", Shape::Separated { delimiter: b',', columns: ERP }),
    }
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn word(value: Option<&'static str>) -> String {
    value.unwrap_or_default().to_owned()
}

fn iso(date: Date) -> String {
    date.to_string()
}

fn german(date: Date) -> String {
    format!("{:02}.{:02}.{:04}", date.day(), date.month(), date.year())
}

fn american(date: Date) -> String {
    format!("{:02}/{:02}/{:04}", date.month(), date.day(), date.year())
}

const CRM: &[Column] = &[
    ("record_id", |r| r.record_id.clone()),
    ("cluster_id", |r| r.cluster.to_string()),
    ("source", |r| r.origin.name().to_owned()),
    ("last_modified", |r| iso(r.observed)),
    ("first_name", |r| text(&r.given_name)),
    ("middle_name", |r| text(&r.middle_name)),
    ("last_name", |r| text(&r.family_name)),
    ("suffix", |r| text(&r.name_suffix)),
    ("birth_date", |r| r.birth_date.map(iso).unwrap_or_default()),
    ("gender", |r| word(r.gender)),
    ("email", |r| text(&r.email)),
    ("phone", |r| text(&r.phone)),
    ("address", |r| text(&r.street)),
    ("unit", |r| text(&r.unit)),
    ("city", |r| text(&r.city)),
    ("state", |r| text(&r.region)),
    ("zip", |r| text(&r.postcode)),
    ("country", |r| word(r.country)),
    ("ssn", |r| text(&r.tax_id)),
];

const WEBSHOP: &[Column] = &[
    ("record_id", |r| r.record_id.clone()),
    ("cluster_id", |r| r.cluster.to_string()),
    ("source", |r| r.origin.name().to_owned()),
    ("order_date", |r| german(r.observed)),
    ("firstname", |r| text(&r.given_name)),
    ("surname", |r| text(&r.family_name)),
    ("date_of_birth", |r| r.birth_date.map(german).unwrap_or_default()),
    ("e-mail", |r| text(&r.email)),
    ("mobile", |r| text(&r.phone)),
    ("street_address", |r| text(&r.street)),
    ("town", |r| text(&r.city)),
    ("post_code", |r| text(&r.postcode)),
    ("country_code", |r| word(r.country)),
    ("user_id", |r| text(&r.user_id)),
];

const TILL: &[Column] = &[
    ("record_id", |r| r.record_id.clone()),
    ("cluster_id", |r| r.cluster.to_string()),
    ("source", |r| r.origin.name().to_owned()),
    ("seen_at", |r| american(r.observed)),
    ("loyalty_card", |r| text(&r.loyalty_id)),
    ("fname", |r| text(&r.given_name)),
    ("lname", |r| text(&r.family_name)),
    ("tel", |r| text(&r.phone)),
    ("zip_code", |r| text(&r.postcode)),
];

const NEWSLETTER: &[Column] = &[
    ("record_id", |r| r.record_id.clone()),
    ("cluster_id", |r| r.cluster.to_string()),
    ("source", |r| r.origin.name().to_owned()),
    ("subscribed_at", |r| format!("{}T09:30:00Z", r.observed)),
    ("email_address", |r| text(&r.email)),
    ("full_name", |r| text(&r.full_name)),
    ("country", |r| word(r.country)),
    ("loyalty_id", |r| text(&r.loyalty_id)),
];

const ERP: &[Column] = &[
    ("record_id", |r| r.record_id.clone()),
    ("cluster_id", |r| r.cluster.to_string()),
    ("source", |r| r.origin.name().to_owned()),
    ("updated_at", |r| iso(r.observed)),
    ("company_name", |r| text(&r.legal_name)),
    ("trading_name", |r| text(&r.trading_name)),
    ("website", |r| text(&r.website)),
    ("email", |r| text(&r.email)),
    ("phone", |r| text(&r.phone)),
    ("reg_no", |r| text(&r.registration_id)),
    ("street", |r| text(&r.street)),
    ("city", |r| text(&r.city)),
    ("region", |r| text(&r.region)),
    ("postcode", |r| text(&r.postcode)),
    ("country", |r| word(r.country)),
    ("industry", |r| word(r.industry)),
];

/// One table for all sources, under the plainest names.
const COMBINED: &[Column] = &[
    ("record_id", |r| r.record_id.clone()),
    ("cluster_id", |r| r.cluster.to_string()),
    ("source", |r| r.origin.name().to_owned()),
    ("observed_at", |r| iso(r.observed)),
    ("record_type", |r| match r.cluster.party {
        PartyKind::Person => "PERSON".to_owned(),
        PartyKind::Organisation => "ORGANISATION".to_owned(),
    }),
    ("full_name", |r| text(&r.full_name)),
    ("given_name", |r| text(&r.given_name)),
    ("middle_name", |r| text(&r.middle_name)),
    ("family_name", |r| text(&r.family_name)),
    ("name_suffix", |r| text(&r.name_suffix)),
    ("birth_date", |r| r.birth_date.map(iso).unwrap_or_default()),
    ("gender", |r| word(r.gender)),
    ("email", |r| text(&r.email)),
    ("phone", |r| text(&r.phone)),
    ("street", |r| text(&r.street)),
    ("unit", |r| text(&r.unit)),
    ("city", |r| text(&r.city)),
    ("region", |r| text(&r.region)),
    ("postcode", |r| text(&r.postcode)),
    ("country", |r| word(r.country)),
    ("user_id", |r| text(&r.user_id)),
    ("anonymous_id", |r| text(&r.anonymous_id)),
    ("device_id", |r| text(&r.device_id)),
    ("loyalty_id", |r| text(&r.loyalty_id)),
    ("tax_id", |r| text(&r.tax_id)),
    ("account_key", |r| text(&r.account_key)),
    ("legal_name", |r| text(&r.legal_name)),
    ("trading_name", |r| text(&r.trading_name)),
    ("website", |r| text(&r.website)),
    ("registration_id", |r| text(&r.registration_id)),
    ("industry", |r| word(r.industry)),
];

fn put(object: &mut Map<String, Value>, name: &str, value: &Option<String>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), json!(value));
    }
}

fn ticket(record: &Record) -> Value {
    let mut requester = Map::new();
    put(&mut requester, "name", &record.full_name);
    put(&mut requester, "email", &record.email);
    put(&mut requester, "phone", &record.phone);
    put(&mut requester, "user_id", &record.user_id);
    json!({
        "record_id": record.record_id,
        "cluster_id": record.cluster.to_string(),
        "source": record.origin.name(),
        "created_at": format!("{}T14:05:00+02:00", record.observed),
        "requester": requester,
    })
}

fn event(record: &Record) -> Value {
    let time = format!("{}T12:00:00.000Z", record.observed);
    let mut line = Map::new();
    let mut traits = Map::new();
    line.insert("messageId".to_owned(), json!(record.record_id));
    line.insert("cluster_id".to_owned(), json!(record.cluster.to_string()));
    line.insert("originalTimestamp".to_owned(), json!(time));
    line.insert("sentAt".to_owned(), json!(time));
    line.insert("receivedAt".to_owned(), json!(time));
    put(&mut line, "userId", &record.user_id);
    if let Some(device) = &record.device_id {
        line.insert("context".to_owned(), json!({ "device": { "id": device } }));
    }
    let (kind, visitor) = match record.event {
        Some(EventKind::Alias) => ("alias", "previousId"),
        Some(EventKind::Group) => ("group", "anonymousId"),
        Some(EventKind::Track) => ("track", "anonymousId"),
        Some(EventKind::Identify) | None => ("identify", "anonymousId"),
    };
    line.insert("type".to_owned(), json!(kind));
    put(&mut line, visitor, &record.anonymous_id);
    put(&mut line, "groupId", &record.account_key);
    put(&mut traits, "email", &record.email);
    put(&mut traits, "firstName", &record.given_name);
    put(&mut traits, "lastName", &record.family_name);
    if kind == "track" {
        line.insert("event".to_owned(), json!("Product Viewed"));
        line.insert("properties".to_owned(), json!({ "sku": "A-17" }));
    }
    if !traits.is_empty() {
        line.insert("traits".to_owned(), Value::Object(traits));
    }
    Value::Object(line)
}

enum Sink {
    Separated(Box<csv::Writer<BufWriter<File>>>, &'static [Column]),
    Lines(BufWriter<File>, fn(&Record) -> Value),
}

impl Sink {
    fn open(path: &Path, shape: Shape) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        Ok(match shape {
            Shape::Lines(line) => Self::Lines(file, line),
            Shape::Separated { delimiter, columns } => {
                let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(file);
                writer.write_record(columns.iter().map(|(name, _)| *name))?;
                Self::Separated(Box::new(writer), columns)
            }
        })
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        match self {
            Self::Separated(writer, columns) => row(writer, columns, record),
            Self::Lines(file, line) => {
                serde_json::to_writer(&mut *file, &line(record))?;
                file.write_all(b"\n")
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Separated(mut writer, _) => writer.flush(),
            Self::Lines(mut file, _) => file.flush(),
        }
    }
}

fn row<W: Write>(writer: &mut csv::Writer<W>, columns: &[Column], record: &Record) -> io::Result<()> {
    for (_, field) in columns {
        writer.write_field(field(record))?;
    }
    writer.write_record(None::<&[u8]>)?;
    Ok(())
}

/// Writes one file a source into the directory, which is made when it is not there, and `truth.csv` with the clusters
/// of all records. Returns the records by file name; `seen` is told of each one.
///
/// # Errors
/// What the file system says.
pub fn directory(
    records: impl Iterator<Item = Record>,
    directory: &Path,
    mut seen: impl FnMut(&Record),
) -> io::Result<BTreeMap<&'static str, u64>> {
    std::fs::create_dir_all(directory)?;
    let mut truth = csv::Writer::from_path(directory.join("truth.csv"))?;
    truth.write_record(["record_id", "cluster_id"])?;
    let mut sinks: BTreeMap<Origin, (&'static str, Sink)> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for record in records {
        seen(&record);
        let (name, sink) = match sinks.entry(record.origin) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let (name, shape) = shape(record.origin);
                entry.insert((name, Sink::open(&directory.join(name), shape)?))
            }
        };
        sink.write(&record)?;
        truth.write_record([&record.record_id, &record.cluster.to_string()])?;
        *counts.entry(*name).or_default() += 1;
    }
    for (_, sink) in sinks.into_values() {
        sink.finish()?;
    }
    truth.flush()?;
    Ok(counts)
}

/// Writes all records as one CSV table. Returns how many there were.
///
/// # Errors
/// What the sink says.
pub fn combined<W: Write>(records: impl Iterator<Item = Record>, out: W) -> io::Result<u64> {
    let mut writer = csv::WriterBuilder::new().from_writer(out);
    writer.write_record(COMBINED.iter().map(|(name, _)| *name))?;
    let mut count = 0;
    for record in records {
        row(&mut writer, COMBINED, &record)?;
        count += 1;
    }
    writer.flush()?;
    Ok(count)
}
