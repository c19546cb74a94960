//! Companies, and what each source writes down of them.

use jiff::ToSpan as _;
use onefold_core::fragment::PartyKind;

use super::dice::{Dice, split_mix};
use super::people::{Address, DAYS, FIRST_DAY, address, phone, phone_text, region, shorten};
use super::record::{ClusterId, Origin, Record};
use super::typo::{misread, mistype};
use super::words::{COMPANY_FIRST, COMPANY_SECOND, JUNK_MAIL, ROLE_MAILBOXES, Region};

const COMPANY_STREAM: u64 = 2 << 60;

struct Company {
    ordinal: u32,
    core: String,
    form: &'static str,
    industry: &'static str,
    domain: String,
    switchboard: String,
    registration: String,
    seat: Address,
}

/// Adds the records of one company.
pub(super) fn company(seed: u64, ordinal: u32, out: &mut Vec<Record>) {
    let mut dice = Dice::new(seed, COMPANY_STREAM | u64::from(ordinal));
    let region = region(&mut dice);
    let (second, industry) = COMPANY_SECOND[dice.below(COMPANY_SECOND.len() as u32) as usize];
    let first = if dice.permille(500) { dice.pick_ranked(region.families) } else { dice.pick_ranked(COMPANY_FIRST) };
    let core = format!("{first} {second}");
    let stem: String = core.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let company = Company {
        ordinal,
        form: dice.pick_ranked(region.legal_forms),
        industry,
        // The ordinal keeps the web sites of namesakes apart.
        domain: format!("{stem}{ordinal}.{}", region.top_level),
        switchboard: phone(region, seed ^ 0xc0, u64::from(ordinal) * 2 + 1),
        registration: format!(
            "{:08}",
            split_mix(seed ^ split_mix(COMPANY_STREAM | u64::from(ordinal))) % 90_000_000 + 10_000_000
        ),
        seat: address(&mut dice, region),
        core,
    };
    let mut made = 0;
    for (origin, once, again) in [(Origin::Erp, 700, 150), (Origin::Invoice, 550, 350), (Origin::Directory, 450, 50)] {
        let listed = dice.permille(once);
        // Who is in no other source is in the last one.
        if !listed && (made > 0 || origin != Origin::Directory) {
            continue;
        }
        let copies = 1 + u32::from(dice.permille(again));
        for copy in 0..copies {
            out.push(record(&mut dice, seed, region, &company, origin, copy));
            made += 1;
        }
    }
}

fn record(dice: &mut Dice, seed: u64, region: &Region, company: &Company, origin: Origin, copy: u32) -> Record {
    let code = COMPANY_STREAM | u64::from(company.ordinal) << 8 | (origin as u64) << 4 | u64::from(copy);
    let record_id = format!("{}-{:012x}", origin.name(), split_mix(seed ^ split_mix(code)) >> 16);
    let cluster = ClusterId { party: PartyKind::Organisation, ordinal: company.ordinal };
    let observed = FIRST_DAY.checked_add(i64::from(dice.below(DAYS)).days()).unwrap_or(FIRST_DAY);
    let mut record = Record::bare(record_id, cluster, origin, observed);
    record.legal_name = Some(name(dice, company, origin));
    if dice.permille(80) {
        record.trading_name = company.core.split(' ').next().map(str::to_owned);
    }
    if dice.permille(if origin == Origin::Directory { 900 } else { 500 }) {
        record.website = Some(match dice.below(3) {
            0 => format!("https://www.{}/", company.domain),
            1 => format!("www.{}", company.domain),
            _ => company.domain.clone(),
        });
    }
    if dice.permille(450) {
        record.email = Some(if dice.permille(15) {
            dice.pick(JUNK_MAIL).to_owned()
        } else {
            format!("{}@{}", dice.pick(ROLE_MAILBOXES), company.domain)
        });
    }
    if dice.permille(550) {
        record.phone = Some(phone_text(dice, region, &company.switchboard));
    }
    if dice.permille(if origin == Origin::Erp { 700 } else { 350 }) {
        record.registration_id = Some(match dice.below(12) {
            0 => mistype(dice, &company.registration),
            1 | 2 => format!("{}-{}", &company.registration[..2], &company.registration[2..]),
            _ => company.registration.clone(),
        });
    }
    if dice.permille(800) {
        let seat = &company.seat;
        record.street = Some(if dice.permille(400) { shorten(&seat.street) } else { seat.street.clone() });
        record.city = Some(seat.city.to_owned());
        record.region = Some(seat.region.to_owned()).filter(|region| !region.is_empty());
        record.postcode = Some(seat.postcode.clone());
    }
    record.country = dice.permille(850).then_some(region.country);
    record.industry = dice.permille(450).then_some(company.industry);
    record
}

fn name(dice: &mut Dice, company: &Company, origin: Origin) -> String {
    let core = match (origin, dice.below(20)) {
        (_, 0) => mistype(dice, &company.core),
        (Origin::Invoice, 1..=4) => misread(dice, &company.core),
        (_, 5) => format!("The {}", company.core),
        (_, 6 | 7) => company.core.to_uppercase(),
        _ => company.core.clone(),
    };
    match dice.below(4) {
        0 => core,
        1 => format!("{core} {}", company.form.to_uppercase()),
        _ => format!("{core} {}", company.form),
    }
}
