//! An export as a page for the person themselves: one file, nothing from elsewhere, every value escaped.

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.6rem}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}h3{margin-bottom:.3rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}\
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #e4e4e4;vertical-align:top;overflow-wrap:anywhere}\
th{font-weight:600;color:#555}.withheld{color:#8a5a00;font-style:italic}.aside{color:#666}\
@media print{body{margin:0}h2{break-after:avoid}}";

/// The page of an export, whose shape the server's format version 1 says.
pub fn of(held: &Value) -> String {
    let mut page = Page(String::new());
    let portable = held["format"] == "onefold-portability-export";
    let controller = match text(&held["controller"]) {
        name if name.is_empty() => "we".to_owned(),
        name => name,
    };
    let title = match portable {
        true => format!("What you gave to {controller}"),
        false => format!("What {controller} hold about you"),
    };
    page.0.push_str(&format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n",
        title = escaped(&title),
    ));
    page.say(&format!(
        "You asked on {}. This is how things stood on {}. Quote {} when you write to us.",
        day(&held["received_time"]),
        day(&held["exported_time"]),
        text(&held["request"])
    ));
    page.profiles(held);
    page.records(held);
    page.consent(held);
    page.lists(held);
    page.withheld(held);
    page.0.push_str("</body></html>\n");
    page.0
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What has no shape on a page could hide something.
            other if other.is_control() && other != '\n' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect::<Vec<_>>().join("; ")
        }
    }
}

/// The day of a time, and the minute where it has one.
fn day(value: &Value) -> String {
    let whole = text(value);
    let Some((day, rest)) = whole.split_once('T') else { return whole };
    match rest.get(..5) {
        Some("00:00") | None => day.to_owned(),
        Some(minute) => format!("{day} {minute} UTC"),
    }
}

/// A name of ours as words: `address.city` is address city, `MOST_RECENT` most recent.
fn words(name: &str) -> String {
    name.replace(['.', '_'], " ").to_lowercase()
}

fn reason(value: &Value) -> &'static str {
    match value.as_str() {
        Some("HELD_BY_OTHERS") => "it is somebody else's too",
        Some("NAMES_NOBODY") => "so many share it that it names nobody",
        Some("SAID_OF_OTHERS_TOO") => "it was said of you and of somebody else in one",
        Some("NAMES_SOMEBODY_ELSE") => "it names somebody else",
        Some("WHOSE_IS_UNSURE") => "its source took it back, and we cannot tell that it was yours",
        _ => "it is not yours alone",
    }
}

/// A cell: a value, or that it is withheld and why.
fn cell(value: &Value) -> String {
    match value.get("withheld") {
        Some(why) => format!("<span class=\"withheld\">not shown: {}</span>", reason(why)),
        None => match value {
            Value::Object(fields) => {
                let part = |(name, value): (&String, &Value)| format!("{}: {}", escaped(&words(name)), cell(value));
                fields.iter().map(part).collect::<Vec<_>>().join("<br>")
            }
            Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join("<br>"),
            value => escaped(&text(value)),
        },
    }
}

fn said_by(record: &Value) -> String {
    format!("{} {}", escaped(&text(&record["source"])), cell(&record["key"]))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

struct Page(String);

impl Page {
    fn heading(&mut self, level: u8, text: &str) {
        self.0.push_str(&format!("<h{level}>{}</h{level}>\n", escaped(text)));
    }

    fn say(&mut self, text: &str) {
        self.0.push_str(&format!("<p>{}</p>\n", escaped(text)));
    }

    /// Rows of cells, which are markup already.
    fn table(&mut self, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            self.0.push_str("<p class=\"aside\">Nothing.</p>\n");
            return;
        }
        self.0.push_str("<table><tr>");
        heads.iter().for_each(|head| self.0.push_str(&format!("<th>{}</th>", escaped(head))));
        self.0.push_str("</tr>\n");
        for row in rows {
            let cells: String = row.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            self.0.push_str(&format!("<tr>{cells}</tr>\n"));
        }
        self.0.push_str("</table>\n");
    }

    fn profiles(&mut self, held: &Value) {
        if held.get("profiles").is_none() {
            return;
        }
        self.heading(2, "What we see of you today");
        self.say("Where our sources disagree, one value was picked; the others are listed below it as not used.");
        for profile in list(held, "profiles") {
            self.heading(3, &format!("Your number with us: {}", text(&profile["id"])));
            if !profile["stage"].is_null() {
                self.say(&format!("You are listed as: {}.", text(&profile["stage"])));
            }
            let value = |value: &Value| {
                let used = if value["shown"] == true { "used" } else { "not used" };
                vec![
                    escaped(&words(&text(&value["name"]))),
                    cell(&value["value"]),
                    said_by(&value["record"]),
                    escaped(&day(&value["observed_time"])),
                    format!("{used} ({})", escaped(&words(&text(&value["rule"])))),
                ]
            };
            let heads = ["What", "Value", "Told us by", "When", "Used?"];
            self.table(&heads, list(profile, "attributes").iter().map(value));
            let identifier = |one: &Value| {
                let by: Vec<String> = list(one, "claimed_by").iter().map(|claim| said_by(&claim["record"])).collect();
                vec![escaped(&words(&text(&one["namespace"]))), cell(&one["value"]), by.join("<br>")]
            };
            self.table(&["Known by", "Value", "Told us by"], list(profile, "identifiers").iter().map(identifier));
            if let Some(traits) = profile.get("traits") {
                self.table(&["Further"], [vec![cell(traits)]]);
            }
        }
    }

    fn version(&mut self, version: &Value) {
        let state = if version["live"] == true { "in use" } else { "kept, not in use any more" };
        self.say(&format!(
            "As of {} (came to us {}): {state}.",
            day(&version["observed_time"]),
            day(&version["received_time"])
        ));
        let named =
            |name: &'static str| move |one: &Value| vec![escaped(&words(&text(&one[name]))), cell(&one["value"])];
        let mut rows: Vec<Vec<String>> = list(version, "identifiers").iter().map(named("namespace")).collect();
        rows.extend(list(version, "attributes").iter().map(named("name")));
        if let Some(traits) = version.get("traits") {
            rows.push(vec!["further".to_owned(), cell(traits)]);
        }
        for role in list(version, "roles") {
            rows.push(vec!["role".to_owned(), format!("{} at {}", cell(&role["role"]), said_by(&role["account"]))]);
        }
        self.table(&["What", "Value"], rows);
    }

    fn records(&mut self, held: &Value) {
        self.heading(2, "Where it comes from");
        for record in list(held, "records") {
            let key = match record["key"].as_str() {
                Some(key) => key.to_owned(),
                None => "(its number is not shown)".to_owned(),
            };
            self.heading(3, &format!("{}, record {key}", text(&record["source"])));
            let why = match record["evidence"].as_str() {
                Some("NAMED") => "Yours, because your request names it.",
                Some("RETRACTED_SHARING_IDENTIFIER") => {
                    "Yours, because it names you by the same identifier; its source took it back."
                }
                Some("RETRACTED_FROM_PROFILE") => {
                    "Yours, because it belonged to your profile; its source took it back."
                }
                _ => "Yours, because it belongs to your profile.",
            };
            self.say(why);
            list(record, "versions").iter().for_each(|version| self.version(version));
            for gone in list(record, "retractions") {
                self.say(&format!("Taken back by its source on {}.", day(&gone["observed_time"])));
            }
        }
        for waiting in list(held, "quarantined") {
            self.heading(3, &format!("Waiting, from {}", text(&waiting["source"])));
            self.say("This came in with a fault and is not used until somebody has looked at it.");
            self.version(&waiting["content"]);
        }
    }

    fn consent(&mut self, held: &Value) {
        self.heading(2, "What you allowed and forbade");
        let every = |value: &Value, all: &str| if value.is_null() { all.to_owned() } else { cell(value) };
        let said = |said: &Value| {
            let words_of = &said["words"];
            let how = if said.get("withheld").is_some() { cell(said) } else { cell(&words_of["method"]) };
            vec![
                escaped(&day(&said["given_time"])),
                escaped(&words(&text(&said["decision"]))),
                every(&said["purpose"], "every purpose"),
                every(&said["channel"], "every channel"),
                how,
                cell(&words_of["notice"]),
            ]
        };
        let heads = ["When", "What", "What for", "Over", "How", "Notice shown"];
        self.table(&heads, list(held, "statements").iter().map(said));
        if held.get("effective_consent").is_some() {
            self.heading(3, "What holds now");
            let one = |one: &Value| {
                let stopped = if one.get("suppressed_by").is_some() { ", and blocked" } else { "" };
                let limited = if one.get("restricted_by").is_some() { ", and restricted" } else { "" };
                let state = escaped(&words(&text(&one["state"])));
                vec![
                    cell(&one["purpose"]),
                    every(&one["channel"], "every channel"),
                    format!("{state}{stopped}{limited}"),
                ]
            };
            let known = list(held, "effective_consent").iter().filter(|one| {
                one["state"] != "UNKNOWN" || one.get("suppressed_by").is_some() || one.get("restricted_by").is_some()
            });
            self.table(&["What for", "Over", "Holds"], known.map(one));
        }
    }

    /// Contacts, accounts, judgements, requests, readers.
    fn lists(&mut self, held: &Value) {
        let mut section = |name: &str, title: &str, heads: &[&str], row: &dyn Fn(&Value) -> Vec<String>| {
            if held.get(name).is_some() {
                self.heading(2, title);
                self.table(heads, list(held, name).iter().map(row));
            }
        };
        section("contacts", "When we contacted you", &["For when", "What for", "Over", "Became of it"], &|one| {
            vec![
                escaped(&day(&one["contact_time"])),
                cell(&one["purpose"]),
                cell(&one["channel"]),
                escaped(&words(&text(&one["standing"]))),
            ]
        });
        section(
            "accounts",
            "Roles, stages and accounts",
            &["Told", "What", "Value", "From", "Until", "Note"],
            &|one| {
                vec![
                    escaped(&day(&one["told_time"])),
                    escaped(&words(&text(&one["what"]))),
                    cell(&one["text"]),
                    escaped(&day(&one["since_time"])),
                    escaped(&day(&one["until_time"])),
                    cell(&one["note"]),
                ]
            },
        );
        let heads = ["Until", "By", "Through", "What for", "How often"];
        section("disclosures", "Who looked at it", &heads, &|one| {
            vec![
                escaped(&day(&one["until_time"])),
                cell(&one["reader"]),
                cell(&one["call"]),
                cell(&one["purpose"]),
                cell(&one["times"]),
            ]
        });
        let heads = ["When", "Judged", "Records", "By", "Why"];
        section("judgements", "What people judged of your records", &heads, &|one| {
            let record = |record: &Value| match record.get("withheld") {
                Some(_) => cell(record),
                None => said_by(record),
            };
            let records: Vec<String> = list(one, "records").iter().map(record).collect();
            vec![
                escaped(&day(&one["judged_time"])),
                escaped(&words(&text(&one["verdict"]))),
                records.join("<br>"),
                cell(&one["author"]),
                cell(&one["reason"]),
            ]
        });
        let heads = ["Kind", "Since", "Looked at again", "Because of", "Stopped"];
        section("suppressions", "What we keep so that nothing erased comes back", &heads, &|one| {
            vec![
                match &one["namespace"] {
                    Value::Null => "a record".to_owned(),
                    namespace => escaped(&words(&text(namespace))),
                },
                escaped(&day(&one["since_time"])),
                escaped(&day(&one["review_time"])),
                cell(&one["request"]),
                cell(&one["resends_stopped"]),
            ]
        });
        section("requests", "What you asked of us", &["Came in", "What", "Stands at", "Ended"], &|one| {
            vec![
                escaped(&day(&one["received_time"])),
                escaped(&words(&text(&one["kind"]))),
                cell(&one["state"]),
                escaped(&day(&one["end_time"])),
            ]
        });
    }

    fn withheld(&mut self, held: &Value) {
        self.heading(2, "What is not shown, and why");
        let one = |one: &Value| {
            vec![
                cell(&one["what"]),
                escaped(&words(&text(&one["part"]))),
                reason(&one["reason"]).to_owned(),
                cell(&one["count"]),
            ]
        };
        self.table(&["What", "Where", "Why", "How often"], list(held, "withheld").iter().map(one));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Every text of a value, replaced by an attack.
    fn attacked(value: &Value) -> Value {
        match value {
            Value::String(_) => Value::String("<script src=\"http://evil\">'&\u{0}</script>".to_owned()),
            Value::Array(all) => all.iter().map(attacked).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), attacked(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    fn export() -> Value {
        let record = json!({ "source": "crm", "key": "7" });
        let version = json!({
            "observed_time": "2026-01-02T00:00:00Z", "received_time": "2026-01-03T10:11:12Z", "live": true,
            "identifiers": [{ "namespace": "phone", "value": { "withheld": "HELD_BY_OTHERS" } }],
            "attributes": [{ "name": "address.city", "value": "Bonn" }],
            "traits": { "<b>": ["x"] }, "roles": [{ "account": record, "role": "buyer" }],
        });
        json!({
            "format": "onefold-access-export", "controller": "Acme", "request": "tenants/t/privacyRequests/1",
            "profiles": [{ "id": "p_1", "stage": "lead", "traits": { "a": "b" },
                "attributes": [{ "name": "n", "value": "v", "shown": true, "rule": "LONGEST", "record": record }],
                "identifiers": [{ "namespace": "email", "value": "a@b", "claimed_by": [{ "record": record }] }] }],
            "records": [{ "source": "crm", "key": "7", "evidence": "NAMED", "versions": [version],
                "retractions": [{ "observed_time": "2026-01-02T00:00:00Z" }] }],
            "quarantined": [{ "source": "crm", "content": version }],
            "statements": [{ "decision": "GRANTED", "words": { "method": "m", "notice": "v1" } }],
            "effective_consent": [{ "purpose": "p", "state": "GRANTED", "suppressed_by": [1] }],
            "contacts": [{ "purpose": "p", "channel": "c", "standing": "OPEN" }],
            "accounts": [{ "what": "ROLE", "text": "buyer", "note": "n" }],
            "judgements": [{ "verdict": "SAME", "records": [record, { "withheld": "NAMES_SOMEBODY_ELSE" }],
                "author": "a", "reason": "r" }],
            "suppressions": [{ "namespace": "email", "request": "r", "resends_stopped": 1 }],
            "requests": [{ "kind": "ACCESS", "state": "verified" }],
            "withheld": [{ "part": "records", "what": "phone", "reason": "HELD_BY_OTHERS", "count": 2 }],
        })
    }

    #[test]
    fn no_value_becomes_markup_and_nothing_comes_from_elsewhere() {
        let plain = of(&export());
        let page = of(&attacked(&export()));
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains('\u{0}'), "{page}");
        assert!(page.contains("&lt;script src=&quot;http://evil&quot;&gt;&#39;&amp;"));
        for outside in ["src=\"", "href=", "url(", "@import"] {
            assert!(!plain.contains(outside), "{outside}");
        }
        // What is said in our words is the same whatever the values are.
        assert_eq!(plain.matches("<table>").count(), page.matches("<table>").count());
    }

    #[test]
    fn the_page_reads_as_words() {
        let page = of(&export());
        for said in [
            "What Acme hold about you",
            "Quote tenants/t/privacyRequests/1",
            "<td>address city</td><td>Bonn</td>",
            "not shown: it is somebody else's too",
            "2026-01-03 10:11 UTC",
            "granted, and blocked",
            "Yours, because your request names it.",
        ] {
            assert!(page.contains(said), "{said} in {page}");
        }
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    }
}
