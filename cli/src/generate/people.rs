//! Households and their members, and what each source writes down of them.

use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use onefold_core::fragment::PartyKind;

use super::dice::{Dice, split_mix};
use super::record::{ClusterId, EventKind, Origin, Record};
use super::typo::{misread, mistype};
use super::words::{JUNK_MAIL, JUNK_NAMES, JUNK_PHONES, NICKNAMES, REGIONS, Region};

const PEOPLE_STREAM: u64 = 1 << 60;

/// First and last day on which any source saw anything.
pub(super) const FIRST_DAY: Date = date(2018, 1, 1);
/// Days from the first to the last.
pub(super) const DAYS: u32 = 2_800;

/// Tills and kiosks that many strangers use, one in so many thousand events.
const KIOSK_PERMILLE: u32 = 4;

pub(super) struct Address {
    pub street: String,
    pub unit: Option<String>,
    pub city: &'static str,
    pub region: &'static str,
    pub postcode: String,
}

struct Person {
    ordinal: u32,
    given: String,
    middle: Option<&'static str>,
    family: String,
    /// The name before this many days had passed.
    family_before: Option<(u32, String)>,
    suffix: Option<&'static str>,
    born: Date,
    woman: bool,
    mobile: String,
    emails: Vec<String>,
    /// The address before this many days had passed.
    moved: Option<(u32, Address)>,
    customer: u64,
}

struct Home<'a> {
    region: &'a Region,
    address: Address,
    landline: Option<String>,
    tablet: String,
}

/// Adds the records of one household, whose members are numbered from `first`; returns how many members it has.
pub(super) fn household(seed: u64, ordinal: u32, first: u32, out: &mut Vec<Record>) -> u32 {
    let mut dice = Dice::new(seed, PEOPLE_STREAM | u64::from(ordinal));
    let region = region(&mut dice);
    let home = Home {
        region,
        address: address(&mut dice, region),
        landline: dice.permille(450).then(|| phone(region, seed, u64::from(ordinal) * 2 + 1)),
        tablet: device(split_mix(seed ^ u64::from(ordinal) ^ 0x7ab1e7)),
    };
    let size = [1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5][dice.below(11) as usize];
    let family = dice.pick_ranked(region.families).to_owned();
    let mut members: Vec<Person> = Vec::with_capacity(size);
    for place in 0..size {
        let member = person(&mut dice, region, seed, first + place as u32, place, &family, &members);
        members.push(member);
    }
    for member in &members {
        records_of(&mut dice, seed, &home, member, out);
    }
    size as u32
}

pub(super) fn region(dice: &mut Dice) -> &'static Region {
    let mut throw = dice.below(1000);
    for region in REGIONS {
        match throw.checked_sub(region.share_permille) {
            Some(rest) => throw = rest,
            None => return region,
        }
    }
    &REGIONS[0]
}

pub(super) fn address(dice: &mut Dice, region: &Region) -> Address {
    let [city, state, prefix] = dice.pick(region.cities);
    let number = dice.between(1, 399).to_string();
    let street = dice.pick_ranked(region.streets);
    let mut postcode = (*prefix).to_owned();
    if region.country == "GB" {
        postcode.push_str(&dice.between(1, 9).to_string());
    }
    for shape in region.postcode_rest.chars().skip(usize::from(region.country == "GB")) {
        postcode.push(match shape {
            '0' => char::from(b'0' + dice.below(10) as u8),
            'A' => char::from(b"ABDEFGHJLNPQRSTUWXYZ"[dice.below(20) as usize]),
            other => other,
        });
    }
    Address {
        street: if region.number_first { format!("{number} {street}") } else { format!("{street} {number}") },
        unit: dice.permille(220).then(|| dice.between(1, 240).to_string()),
        city,
        region: state,
        postcode,
    }
}

/// A number that no other `key` of the region has, as long as there are enough; digits after the calling code.
pub(super) fn phone(region: &Region, seed: u64, key: u64) -> String {
    let per_prefix = 8 * 10u64.pow(region.phone_rest - 1);
    let space = per_prefix * region.phone_prefixes.len() as u64;
    // A stride that shares no factor with the space visits all of it before it repeats: the space's only prime factors
    // are those of 10 and of the small count of prefixes, and this is a prime far above them.
    let number = (u128::from(key) * 2_654_435_761 + u128::from(seed % space)) % u128::from(space);
    let number = number as u64;
    let prefix = region.phone_prefixes[(number / per_prefix) as usize];
    let rest = number % per_prefix + 2 * 10u64.pow(region.phone_rest - 1);
    format!("{prefix}{rest}")
}

pub(super) fn device(bits: u64) -> String {
    let more = split_mix(bits);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        bits >> 32,
        bits >> 16 & 0xffff,
        bits & 0xfff,
        more >> 52,
        more & 0xffff_ffff_ffff
    )
}

fn person(
    dice: &mut Dice,
    region: &Region,
    seed: u64,
    ordinal: u32,
    place: usize,
    shared: &str,
    elder: &[Person],
) -> Person {
    let child = place >= 2;
    let twin = child && elder.last().is_some_and(|_| place >= 3) && dice.permille(250);
    let woman = dice.permille(500);
    let names = if woman { region.women } else { region.men };
    let mut given = dice.pick_ranked(names).to_owned();
    let mut suffix = None;
    if child && !woman && dice.permille(60) && elder[0].woman == woman {
        given.clone_from(&elder[0].given);
        suffix = Some("Jr");
    }
    // Two members of one household never share the whole name unless they are father and son.
    while suffix.is_none() && elder.iter().any(|other| other.given == given) {
        given = dice.pick(names).to_owned();
        if elder.len() >= names.len() {
            break;
        }
    }
    let own_name = place == 1 && dice.permille(350);
    let family = if own_name { dice.pick_ranked(region.families).to_owned() } else { shared.to_owned() };
    let family_before = (place == 1 && !own_name && dice.permille(400))
        .then(|| (dice.between(300, DAYS - 300), dice.pick_ranked(region.families).to_owned()))
        .filter(|(_, before)| *before != family);
    let born = match elder.last() {
        Some(sibling) if twin => sibling.born,
        _ => {
            let (from, to) = if child { (1992, 2008) } else { (1935, 1990) };
            date(dice.between(from, to) as i16, dice.between(1, 12) as i8, dice.between(1, 28) as i8)
        }
    };
    let middle = dice.permille(350).then(|| dice.pick_ranked(names)).filter(|middle| *middle != given);
    let mut emails = vec![mail(dice, region, &given, &family, ordinal)];
    if dice.permille(300) {
        emails.push(mail(dice, region, &given, &family, ordinal));
    }
    Person {
        ordinal,
        middle,
        suffix,
        born,
        woman,
        mobile: phone(region, seed, u64::from(ordinal) * 2),
        emails,
        moved: dice.permille(180).then(|| (dice.between(200, DAYS - 200), address(dice, region))),
        customer: split_mix(seed ^ split_mix(u64::from(ordinal) | PEOPLE_STREAM)),
        given,
        family,
        family_before,
    }
}

fn mail(dice: &mut Dice, region: &Region, given: &str, family: &str, ordinal: u32) -> String {
    let letters =
        |text: &str| -> String { text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase() };
    let (given, family) = (letters(given), letters(family));
    let domain = dice.pick_ranked(region.mail);
    let initial = given.chars().next().map(String::from).unwrap_or_default();
    // The ordinal keeps the boxes of namesakes apart.
    match dice.below(5) {
        0 => format!("{given}.{family}{ordinal}@{domain}"),
        1 => format!("{given}{ordinal}@{domain}"),
        2 => format!("{initial}{family}{ordinal}@{domain}"),
        3 => format!("{family}_{given}{ordinal}@{domain}"),
        _ => format!(
            "{}{ordinal}@{domain}",
            dice.pick(&["sunny", "coffee", "rocket", "granite", "tiger", "maple", "pixel"])
        ),
    }
}

/// How sources write a national number.
pub(super) fn phone_text(dice: &mut Dice, region: &Region, digits: &str) -> String {
    let (code, trunk) = (region.calling_code, region.trunk);
    match dice.below(4) {
        0 => format!("+{code}{digits}"),
        1 => format!("+{code} {} {}", &digits[..3], &digits[3..]),
        2 if region.country == "US" => format!("({}) {}-{}", &digits[..3], &digits[3..6], &digits[6..]),
        3 if region.country == "US" => digits.to_owned(),
        2 => format!("00{code}{digits}"),
        // Without the country it could be anyone's: sources outside the home market know better and write it.
        _ => format!("+{code} ({trunk}) {digits}").replace("() ", ""),
    }
}

fn records_of(dice: &mut Dice, seed: u64, home: &Home<'_>, person: &Person, out: &mut Vec<Record>) {
    let chances = [
        (Origin::Crm, 550, 80),
        (Origin::Webshop, 600, 40),
        (Origin::Support, 250, 200),
        (Origin::PointOfSale, 350, 150),
        (Origin::Newsletter, 400, 30),
        (Origin::Events, 300, 600),
    ];
    let mut made = 0;
    for (origin, once, again) in chances {
        let known = dice.permille(once);
        // Who is in no other source is in the last one.
        if !known && (made > 0 || origin != Origin::Events) {
            continue;
        }
        let mut copies = 1;
        while copies < 4 && dice.permille(again) {
            copies += 1;
        }
        for copy in 0..copies {
            out.push(record(dice, seed, home, person, origin, copy));
            made += 1;
        }
    }
}

fn record(dice: &mut Dice, seed: u64, home: &Home<'_>, person: &Person, origin: Origin, copy: u32) -> Record {
    let code = u64::from(person.ordinal) << 8 | (origin as u64) << 4 | u64::from(copy);
    let record_id = format!("{}-{:012x}", origin.name(), split_mix(seed ^ split_mix(code)) >> 16);
    let cluster = ClusterId { party: PartyKind::Person, ordinal: person.ordinal };
    let day = dice.below(DAYS);
    let observed = FIRST_DAY.checked_add(i64::from(day).days()).unwrap_or(FIRST_DAY);
    let mut record = Record::bare(record_id, cluster, origin, observed);
    match origin {
        Origin::Crm => {
            names(dice, home.region, person, day, &mut record);
            record.email = sometimes(dice, 720, |dice| email(dice, person));
            record.phone = sometimes(dice, 650, |dice| number(dice, home, person));
            record.birth_date = sometimes(dice, 550, |dice| birth(dice, person));
            record.gender = sometimes(dice, 600, |_| if person.woman { "F" } else { "M" });
            record.tax_id = sometimes(dice, 60, |_| format!("{:09}", person.customer % 899_999_999 + 100_000_000));
            if dice.permille(700) {
                place(dice, home, person, day, &mut record);
            }
        }
        Origin::Webshop => {
            names(dice, home.region, person, day, &mut record);
            record.email = sometimes(dice, 950, |dice| email(dice, person));
            record.phone = sometimes(dice, 450, |dice| number(dice, home, person));
            record.birth_date = sometimes(dice, 300, |dice| birth(dice, person));
            record.user_id = sometimes(dice, 600, |_| user_id(person));
            if dice.permille(650) {
                place(dice, home, person, day, &mut record);
            }
        }
        Origin::Support => {
            names(dice, home.region, person, day, &mut record);
            record.email = sometimes(dice, 650, |dice| email(dice, person));
            record.phone = sometimes(dice, 500, |dice| number(dice, home, person));
            record.user_id = sometimes(dice, 200, |_| user_id(person));
        }
        Origin::PointOfSale => {
            record.loyalty_id = sometimes(dice, 800, |_| loyalty_id(person));
            record.phone = sometimes(dice, 250, |dice| number(dice, home, person));
            if dice.permille(500) {
                names(dice, home.region, person, day, &mut record);
                record.full_name = None;
            }
            record.postcode = sometimes(dice, 400, |_| home.address.postcode.clone());
        }
        Origin::Newsletter => {
            record.email = Some(email(dice, person));
            if dice.permille(550) {
                names(dice, home.region, person, day, &mut record);
            }
            record.country = sometimes(dice, 700, |_| home.region.country);
            record.loyalty_id = sometimes(dice, 120, |_| loyalty_id(person));
        }
        _ => event(dice, seed, home, person, copy, &mut record),
    }
    record
}

fn event(dice: &mut Dice, seed: u64, home: &Home<'_>, person: &Person, copy: u32, record: &mut Record) {
    let kind = match (copy, dice.below(10)) {
        (0, _) | (_, 0..=2) => EventKind::Identify,
        (_, 3) => EventKind::Alias,
        (_, 4) => EventKind::Group,
        _ => EventKind::Track,
    };
    record.event = Some(kind);
    let visitor = split_mix(person.customer ^ u64::from(dice.below(3)));
    record.anonymous_id = Some(format!("anon-{visitor:016x}"));
    let known = matches!(kind, EventKind::Identify | EventKind::Alias | EventKind::Group) || dice.permille(400);
    record.user_id = known.then(|| user_id(person));
    record.device_id = sometimes(dice, 500, |dice| {
        if dice.permille(KIOSK_PERMILLE) {
            device(split_mix(seed ^ u64::from(dice.below(5)) ^ 0x6b10_5c0d))
        } else if dice.permille(250) {
            home.tablet.clone()
        } else {
            device(split_mix(person.customer ^ u64::from(dice.below(2)) ^ 0xdec1ce))
        }
    });
    if kind == EventKind::Identify {
        record.email = sometimes(dice, 700, |dice| email(dice, person));
        record.given_name = sometimes(dice, 400, |_| person.given.clone());
        record.family_name = record.given_name.as_ref().map(|_| person.family.clone());
    }
    if kind == EventKind::Group {
        record.account_key = Some(format!("acct-{}", dice.below(500)));
    }
}

fn sometimes<T>(dice: &mut Dice, permille: u32, make: impl FnOnce(&mut Dice) -> T) -> Option<T> {
    dice.permille(permille).then(|| make(dice))
}

fn user_id(person: &Person) -> String {
    format!("u{:013x}", person.customer >> 12)
}

fn loyalty_id(person: &Person) -> String {
    format!("{:010}", split_mix(person.customer) % 8_999_999_999 + 1_000_000_000)
}

fn email(dice: &mut Dice, person: &Person) -> String {
    if dice.permille(12) {
        return dice.pick(JUNK_MAIL).to_owned();
    }
    let which = if person.emails.len() > 1 && dice.permille(300) { 1 } else { 0 };
    let text = &person.emails[which];
    match dice.below(50) {
        0 => mistype(dice, text),
        1..=4 => text.to_uppercase(),
        5 => format!(" {text} "),
        _ => text.clone(),
    }
}

fn number(dice: &mut Dice, home: &Home<'_>, person: &Person) -> String {
    if dice.permille(12) {
        return dice.pick(JUNK_PHONES).to_owned();
    }
    let digits = match &home.landline {
        Some(shared) if dice.permille(300) => shared,
        _ => &person.mobile,
    };
    phone_text(dice, home.region, digits)
}

fn birth(dice: &mut Dice, person: &Person) -> Date {
    if dice.permille(10) {
        return date(1900, 1, 1);
    }
    let swapped = Date::new(person.born.year(), person.born.day(), person.born.month());
    match swapped {
        Ok(swapped) if dice.permille(20) => swapped,
        _ => person.born,
    }
}

fn names(dice: &mut Dice, region: &Region, person: &Person, day: u32, record: &mut Record) {
    if dice.permille(8) {
        record.given_name = Some(dice.pick(JUNK_NAMES).to_owned());
        record.full_name.clone_from(&record.given_name);
        return;
    }
    let mut given = person.given.clone();
    if dice.permille(180) {
        let mut friends = NICKNAMES.iter().filter(|(formal, _)| *formal == given).map(|(_, friends)| *friends);
        if let Some(nickname) = friends.next() {
            given = friends.next().filter(|_| dice.permille(400)).unwrap_or(nickname).to_owned();
        }
    } else if dice.permille(30) {
        given = given.chars().take(1).collect();
    }
    let mut family = match &person.family_before {
        Some((until, before)) if day < *until => before.clone(),
        _ => person.family.clone(),
    };
    match dice.below(60) {
        0 => given = mistype(dice, &given),
        1 | 2 => family = mistype(dice, &family),
        3 => family = misread(dice, &family),
        4 => std::mem::swap(&mut given, &mut family),
        _ => {}
    }
    let middle = person
        .middle
        .filter(|_| dice.permille(500))
        .map(|middle| if dice.permille(600) { middle.chars().take(1).collect() } else { middle.to_owned() });
    let suffix = person.suffix.filter(|_| dice.permille(700));
    let inner = middle.as_deref().map_or_else(String::new, |middle| format!(" {middle}"));
    let tail = suffix.map_or_else(String::new, |suffix| format!(" {suffix}"));
    record.full_name = Some(match dice.below(8) {
        0 => format!("{family}, {given}{inner}"),
        _ if region.family_first => format!("{family}{given}"),
        _ => format!("{given}{inner} {family}{tail}"),
    });
    let shout = dice.permille(60);
    let whisper = !shout && dice.permille(60);
    let case = |text: String| match (shout, whisper) {
        (true, _) => text.to_uppercase(),
        (_, true) => text.to_lowercase(),
        _ => text,
    };
    record.full_name = record.full_name.take().map(case);
    record.given_name = Some(case(given));
    record.family_name = (!dice.permille(15)).then(|| case(family));
    record.middle_name = middle;
    record.name_suffix = suffix.map(str::to_owned);
}

fn place(dice: &mut Dice, home: &Home<'_>, person: &Person, day: u32, record: &mut Record) {
    let address = match &person.moved {
        Some((until, before)) if day < *until => before,
        _ => &home.address,
    };
    let street = match dice.below(20) {
        0 => mistype(dice, &address.street),
        1..=6 => shorten(&address.street),
        7 => address.street.to_uppercase(),
        _ => address.street.clone(),
    };
    record.street = Some(street);
    record.unit.clone_from(&address.unit);
    record.city = Some(if dice.permille(25) { mistype(dice, address.city) } else { address.city.to_owned() });
    record.region = Some(address.region.to_owned()).filter(|region| !region.is_empty());
    record.postcode = sometimes(dice, 920, |_| address.postcode.clone());
    record.country = sometimes(dice, 800, |_| home.region.country);
}

pub(super) fn shorten(street: &str) -> String {
    [
        ("Street", "St"),
        ("Avenue", "Ave"),
        ("Boulevard", "Blvd"),
        ("Road", "Rd"),
        ("Drive", "Dr"),
        ("Lane", "Ln"),
        ("straße", "str."),
        ("Calle", "C/"),
        ("Avenida", "Avda."),
        ("North", "N"),
        ("South", "S"),
        ("boulevard", "bd"),
    ]
    .iter()
    .fold(street.to_owned(), |text, (long, short)| text.replace(long, short))
}
