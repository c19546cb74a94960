//! Which country a fragment speaks from, for reading telephone numbers without a country code.

use crate::config::{TenantConfig, attribute};
use crate::fragment::Fragment;

/// The ISO 3166 code to read this fragment's national numbers with: its own address's country where that is given and
/// known, the tenant's default otherwise.
#[must_use]
pub fn of<'a>(fragment: &Fragment, config: &'a TenantConfig) -> Option<&'a str> {
    own(fragment).or(config.default_region.as_deref())
}

/// The region that a fragment itself says.
#[must_use]
pub fn own(fragment: &Fragment) -> Option<&'static str> {
    let mut attributes = fragment.attributes.iter();
    let country = attributes.find(|attribute| attribute.name == attribute::ADDRESS_COUNTRY)?;
    country.value.as_text().and_then(country_code)
}

/// The ISO 3166 alpha-2 code of a country as people write it: its code in either case, or a name in one of the common
/// languages. `None` when it is none of those.
#[must_use]
pub fn country_code(text: &str) -> Option<&'static str> {
    let trimmed = text.trim();
    if let &[first, second] = trimmed.as_bytes() {
        let code = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
        let known = CODES.as_bytes().chunks_exact(2).position(|known| known == code);
        if let Some(at) = known {
            return CODES.get(2 * at..2 * at + 2);
        }
    }
    // Names are short; longer texts are none.
    if trimmed.len() > 48 {
        return None;
    }
    let mut name = String::with_capacity(trimmed.len());
    for c in trimmed.chars().flat_map(char::to_lowercase) {
        match c {
            'ö' => name.push('o'),
            'ä' => name.push('a'),
            'ü' => name.push('u'),
            'é' | 'è' | 'ë' => name.push('e'),
            'í' => name.push('i'),
            'ñ' => name.push('n'),
            'á' | 'ã' => name.push('a'),
            '\'' | '’' => {}
            _ if c.is_alphanumeric() => name.push(c),
            _ if name.ends_with(' ') || name.is_empty() => {}
            _ => name.push(' '),
        }
    }
    let name = name.trim_end();
    NAMES.binary_search_by_key(&name, |(known, _)| known).ok().map(|at| NAMES[at].1)
}

/// All assigned ISO 3166-1 alpha-2 codes, one after the other.
const CODES: &str = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZ\
DEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKN\
KPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPT\
PWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW";

/// Sorted by name: lower case, without accents and punctuation.
const NAMES: &[(&str, &str)] = &[
    ("algeria", "DZ"),
    ("allemagne", "DE"),
    ("america", "US"),
    ("andorra", "AD"),
    ("argentina", "AR"),
    ("aus", "AU"),
    ("australia", "AU"),
    ("austria", "AT"),
    ("autriche", "AT"),
    ("bangladesh", "BD"),
    ("belarus", "BY"),
    ("belgie", "BE"),
    ("belgien", "BE"),
    ("belgique", "BE"),
    ("belgium", "BE"),
    ("bharat", "IN"),
    ("bolivia", "BO"),
    ("bra", "BR"),
    ("brasil", "BR"),
    ("brazil", "BR"),
    ("britain", "GB"),
    ("bulgaria", "BG"),
    ("bundesrepublik deutschland", "DE"),
    ("can", "CA"),
    ("canada", "CA"),
    ("ceska republika", "CZ"),
    ("cesko", "CZ"),
    ("chile", "CL"),
    ("china", "CN"),
    ("col", "CO"),
    ("colombia", "CO"),
    ("costa rica", "CR"),
    ("croatia", "HR"),
    ("cyprus", "CY"),
    ("czech republic", "CZ"),
    ("czechia", "CZ"),
    ("danmark", "DK"),
    ("denmark", "DK"),
    ("deu", "DE"),
    ("deutschland", "DE"),
    ("dominican republic", "DO"),
    ("ecuador", "EC"),
    ("egypt", "EG"),
    ("eire", "IE"),
    ("el salvador", "SV"),
    ("england", "GB"),
    ("esp", "ES"),
    ("espana", "ES"),
    ("estados unidos", "US"),
    ("estonia", "EE"),
    ("etats unis", "US"),
    ("finland", "FI"),
    ("fra", "FR"),
    ("france", "FR"),
    ("frankreich", "FR"),
    ("gbr", "GB"),
    ("georgia republic", "GE"),
    ("ger", "DE"),
    ("germany", "DE"),
    ("great britain", "GB"),
    ("greece", "GR"),
    ("griechenland", "GR"),
    ("guatemala", "GT"),
    ("hellas", "GR"),
    ("holland", "NL"),
    ("hong kong", "HK"),
    ("hongkong", "HK"),
    ("hrvatska", "HR"),
    ("hungary", "HU"),
    ("iceland", "IS"),
    ("ind", "IN"),
    ("india", "IN"),
    ("indonesia", "ID"),
    ("iran", "IR"),
    ("ireland", "IE"),
    ("irl", "IE"),
    ("israel", "IL"),
    ("ita", "IT"),
    ("italia", "IT"),
    ("italien", "IT"),
    ("italy", "IT"),
    ("jamaica", "JM"),
    ("japan", "JP"),
    ("jordan", "JO"),
    ("jpn", "JP"),
    ("kazakhstan", "KZ"),
    ("kenya", "KE"),
    ("kor", "KR"),
    ("korea", "KR"),
    ("ksa", "SA"),
    ("kuwait", "KW"),
    ("latvia", "LV"),
    ("latvija", "LV"),
    ("lebanon", "LB"),
    ("lichtenstein", "LI"),
    ("liechtenstein", "LI"),
    ("lietuva", "LT"),
    ("lithuania", "LT"),
    ("luxembourg", "LU"),
    ("luxemburg", "LU"),
    ("magyarorszag", "HU"),
    ("malaysia", "MY"),
    ("malta", "MT"),
    ("maroc", "MA"),
    ("mex", "MX"),
    ("mexico", "MX"),
    ("moldova", "MD"),
    ("monaco", "MC"),
    ("morocco", "MA"),
    ("nederland", "NL"),
    ("netherlands", "NL"),
    ("new zealand", "NZ"),
    ("niederlande", "NL"),
    ("nigeria", "NG"),
    ("nippon", "JP"),
    ("nld", "NL"),
    ("nor", "NO"),
    ("norge", "NO"),
    ("northern ireland", "GB"),
    ("norway", "NO"),
    ("nzl", "NZ"),
    ("osterreich", "AT"),
    ("pakistan", "PK"),
    ("panama", "PA"),
    ("paraguay", "PY"),
    ("pays bas", "NL"),
    ("peoples republic of china", "CN"),
    ("peoples republic of china", "CN"),
    ("peru", "PE"),
    ("philippines", "PH"),
    ("poland", "PL"),
    ("polen", "PL"),
    ("polska", "PL"),
    ("portugal", "PT"),
    ("prc", "CN"),
    ("prt", "PT"),
    ("puerto rico", "PR"),
    ("qatar", "QA"),
    ("republic of ireland", "IE"),
    ("republic of korea", "KR"),
    ("romania", "RO"),
    ("rsa", "ZA"),
    ("rus", "RU"),
    ("russia", "RU"),
    ("russian federation", "RU"),
    ("saudi arabia", "SA"),
    ("schweden", "SE"),
    ("schweiz", "CH"),
    ("scotland", "GB"),
    ("serbia", "RS"),
    ("sgp", "SG"),
    ("singapore", "SG"),
    ("slovakia", "SK"),
    ("slovenia", "SI"),
    ("slovenija", "SI"),
    ("slovensko", "SK"),
    ("south africa", "ZA"),
    ("south korea", "KR"),
    ("spain", "ES"),
    ("srbija", "RS"),
    ("sri lanka", "LK"),
    ("suisse", "CH"),
    ("suomi", "FI"),
    ("sverige", "SE"),
    ("svizzera", "CH"),
    ("swe", "SE"),
    ("sweden", "SE"),
    ("switzerland", "CH"),
    ("taiwan", "TW"),
    ("thailand", "TH"),
    ("the netherlands", "NL"),
    ("the philippines", "PH"),
    ("the united states", "US"),
    ("tunisia", "TN"),
    ("tur", "TR"),
    ("turkey", "TR"),
    ("turkiye", "TR"),
    ("u s", "US"),
    ("u s a", "US"),
    ("uae", "AE"),
    ("uk", "GB"),
    ("ukraine", "UA"),
    ("united arab emirates", "AE"),
    ("united kingdom", "GB"),
    ("united states", "US"),
    ("united states of america", "US"),
    ("uruguay", "UY"),
    ("usa", "US"),
    ("venezuela", "VE"),
    ("vereinigte staaten", "US"),
    ("viet nam", "VN"),
    ("vietnam", "VN"),
    ("wales", "GB"),
    ("zaf", "ZA"),
    ("россия", "RU"),
    ("україна", "UA"),
    ("中国", "CN"),
    ("日本", "JP"),
    ("대한민국", "KR"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragment::{Attribute, AttributeValue, ObservedAt, PartyKind, SourceRecord};
    use crate::ids::SourceId;

    #[test]
    fn countries_are_read_as_people_write_them() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| name));
        assert_eq!(CODES.len(), 2 * 249, "ISO 3166-1 assigns 249 codes");
        for (name, code) in NAMES {
            assert_eq!(country_code(name), Some(*code), "{name}");
        }
        for (raw, want) in [
            ("us", Some("US")),
            (" U.S.A. ", Some("US")),
            ("Österreich", Some("AT")),
            ("UK", Some("GB")),
            ("The Netherlands", Some("NL")),
            ("España", Some("ES")),
            ("Atlantis", None),
            ("ZZ", None),
            ("", None),
        ] {
            assert_eq!(country_code(raw), want, "{raw:?}");
        }
    }

    #[test]
    fn a_fragment_speaks_from_its_own_country_first() {
        let config = TenantConfig::new("t", "T");
        let mut fragment = Fragment {
            record: SourceRecord { source: SourceId(0), key: "k".to_owned() },
            observed_at: ObservedAt(0),
            party: PartyKind::Person,
            identifiers: Vec::new(),
            attributes: Vec::new(),
            traits: None,
            affiliations: Vec::new(),
            stages: Vec::new(),
        };
        assert_eq!(of(&fragment, &config), Some("US"));
        for (country, want) in [("Germany", "DE"), ("somewhere", "US")] {
            fragment.attributes =
                vec![Attribute { name: attribute::ADDRESS_COUNTRY, value: AttributeValue::Text(country.to_owned()) }];
            assert_eq!(of(&fragment, &config), Some(want));
        }
    }
}
