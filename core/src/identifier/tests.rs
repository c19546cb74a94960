use proptest::prelude::*;

use super::InvalidIdentifier as Fault;
use super::domain::{DomainStanding, standing};
use super::junk::{JunkKind, junk};
use super::*;
use crate::namespace::{NamespaceClass, built_in};

fn text(normaliser: Normaliser, raw: &str, region: Option<&str>) -> Result<String, Fault> {
    canonicalise(normaliser, raw, region).map(Canonical::into_string)
}

fn check(normaliser: Normaliser, region: Option<&str>, table: &[(&str, Result<&str, Fault>)]) {
    for (raw, want) in table {
        let got = text(normaliser, raw, region);
        assert_eq!(got.as_deref(), want.as_ref().map(|text| *text), "{raw:?}");
    }
}

#[test]
fn emails() {
    check(
        Normaliser::Email,
        None,
        &[
            (" Ada@Example.ORG ", Ok("ada@example.org")),
            ("\u{feff}ada@example.org\u{200b}", Ok("ada@example.org")),
            ("Ada Lovelace <Ada@example.org>", Ok("ada@example.org")),
            ("mailto:ada@example.org?subject=hi", Ok("ada@example.org")),
            ("\"ada\"@example.org", Ok("ada@example.org")),
            ("ada.b+news@gmail.com", Ok("ada.b+news@gmail.com")),
            ("o'neil@example.org.", Ok("o'neil@example.org")),
            ("..dots..@docomo.ne.jp", Ok("..dots..@docomo.ne.jp")),
            ("jürgen@müller.de", Ok("jürgen@xn--mller-kva.de")),
            ("Ju\u{308}rgen@MÜLLER.de", Ok("jürgen@xn--mller-kva.de")),
            ("a@XN--MLLER-KVA.de", Ok("a@xn--mller-kva.de")),
            ("", Err(Fault::Empty)),
            (" <> ", Err(Fault::Empty)),
            ("ada", Err(Fault::NoAt)),
            ("@example.org", Err(Fault::NoLocalPart)),
            ("ada@", Err(Fault::BadHost)),
            ("ada@localhost", Err(Fault::NoTopLevelDomain)),
            ("ada@[10.0.0.1]", Err(Fault::BadHost)),
            ("ada@10.0.0.1", Err(Fault::NetworkAddress)),
            ("ada b@example.org", Err(Fault::BadCharacter)),
            ("a@b@example.org", Err(Fault::BadCharacter)),
            ("ada@exa mple.org", Err(Fault::BadHost)),
            ("ada@-example.org", Err(Fault::BadHost)),
            ("ada@example..org", Err(Fault::BadHost)),
        ],
    );
    assert_eq!(text(Normaliser::Email, &format!("{}@example.org", "a".repeat(65)), None), Err(Fault::LocalPartTooLong));
}

#[test]
fn mailboxes_of_a_job() {
    for address in ["info@acme.com", "sales+eu@acme.com", "abuse@acme.com", "webmaster@acme.com", "kontakt@acme.de"] {
        assert!(email::is_role_mailbox(address), "{address}");
    }
    for address in ["ada@acme.com", "informatics@acme.com", "info.ada@acme.com", "infoacme.com", ""] {
        assert!(!email::is_role_mailbox(address), "{address}");
    }
}

#[test]
fn mailboxes_behind_addresses() {
    for (raw, want) in [
        ("A.da+news@googlemail.com", "ada@gmail.com"),
        ("a.da+news@corp.com", "a.da@corp.com"),
        ("ada-list@yahoo.com", "ada@yahoo.com"),
        ("ada-list@corp.com", "ada-list@corp.com"),
        ("ada@me.com", "ada@icloud.com"),
        ("+ada@corp.com", "+ada@corp.com"),
    ] {
        let address = canonicalise(Normaliser::Email, raw, None).unwrap();
        assert_eq!(email::provider_key(&address).as_deref(), Some(want), "{raw}");
    }
}

#[test]
fn phones_with_a_default_region() {
    check(
        Normaliser::Phone,
        Some("US"),
        &[
            ("(202) 362-0175", Ok("+12023620175")),
            ("202.362.0175", Ok("+12023620175")),
            ("1-202-362-0175", Ok("+12023620175")),
            ("+1 202 362 0175", Ok("+12023620175")),
            ("tel:+1-202-362-0175", Ok("+12023620175")),
            ("011 44 20 7183 8750", Ok("+442071838750")),
            ("0044 20 7183 8750", Ok("+442071838750")),
            ("0012088682599", Ok("+12088682599")),
            ("+44 (0)20 7183 8750", Ok("+442071838750")),
            ("+39 06 1234 5678", Ok("+390612345678")),
            ("+٩٧١ ٤ ١٢٣ ٤٥٦٧", Ok("+97141234567")),
            ("202-362-0175 x123", Ok("+12023620175;ext=123")),
            ("202-362-0175 Ext. 123", Ok("+12023620175;ext=123")),
            ("+12023620175;ext=123", Ok("+12023620175;ext=123")),
            ("+44 20 7183 8750 #12", Ok("+442071838750;ext=12")),
            ("1-800-FLOWERS", Ok("+18003569377")),
            ("362-0175", Ok("~3620175")),
            ("~3620175", Ok("~3620175")),
            ("+1 202 36", Err(Fault::TooFewDigits)),
            ("911", Err(Fault::TooFewDigits)),
            ("", Err(Fault::Empty)),
            ("n/a", Err(Fault::BadCharacter)),
            ("call Bob", Err(Fault::BadCharacter)),
            ("202-362-0175 ext. 71 ext. 79", Err(Fault::BadCharacter)),
            ("202-362-0175 #71 #79", Err(Fault::BadCharacter)),
            ("202-362-0175 ext. 123456789", Err(Fault::BadCharacter)),
            ("(\u{e}2023620175 x7", Ok("+12023620175;ext=7")),
            ("12345678901234567", Err(Fault::TooManyDigits)),
        ],
    );
}

#[test]
fn phones_in_other_regions() {
    check(
        Normaliser::Phone,
        Some("GB"),
        &[("020 7183 8750", Ok("+442071838750")), ("00 1 202 362 0175", Ok("+12023620175"))],
    );
    check(Normaliser::Phone, Some("DE"), &[("030/901820", Ok("+4930901820")), ("0171 1234567", Ok("+491711234567"))]);
    // Behind the country's code there are too few digits to tell anybody from others, whatever follows them.
    check(
        Normaliser::Phone,
        Some("DE"),
        &[
            ("(\u{e}1111 ext. 711 ext. 79", Err(Fault::BadCharacter)),
            ("030/12", Err(Fault::TooFewDigits)),
            ("1111-11 ext. 79", Err(Fault::BadCharacter)),
        ],
    );
    check(Normaliser::Phone, Some("IT"), &[("06 6982", Ok("+39066982")), ("06 698 1234", Ok("+39066981234"))]);
    // Without a region a national number equals itself, in any punctuation, and nothing else.
    for region in [None, Some("??"), Some("United States")] {
        check(
            Normaliser::Phone,
            region,
            &[
                ("(202) 362-0175", Ok("~2023620175")),
                ("202 362 0175", Ok("~2023620175")),
                ("+1 202 362 0175", Ok("+12023620175")),
                ("0044 20 7183 8750", Ok("+442071838750")),
            ],
        );
    }
}

#[test]
fn domains() {
    check(
        Normaliser::Domain,
        None,
        &[
            ("https://www.Acme.co.uk:8080/about?x#y", Ok("acme.co.uk")),
            ("http://shop.eu.acme.com", Ok("acme.com")),
            ("//acme.com/", Ok("acme.com")),
            ("info@mail.acme.com", Ok("acme.com")),
            ("www.müller.de", Ok("xn--mller-kva.de")),
            ("acme.com.", Ok("acme.com")),
            ("acme.github.io", Ok("acme.github.io")),
            ("docs.acme.github.io", Ok("acme.github.io")),
            ("github.io", Err(Fault::PublicSuffix)),
            ("co.uk", Err(Fault::PublicSuffix)),
            ("com", Err(Fault::NoTopLevelDomain)),
            ("10.0.0.1", Err(Fault::NetworkAddress)),
            ("http://[::1]/", Err(Fault::NetworkAddress)),
            ("https://", Err(Fault::Empty)),
            ("not a domain", Err(Fault::BadHost)),
        ],
    );
    for (raw, want) in [
        ("acme.com", DomainStanding::Own),
        ("acme.github.io", DomainStanding::Hosted),
        ("gmail.com", DomainStanding::FreeMail),
        ("yahoo.co.uk", DomainStanding::FreeMail),
    ] {
        assert_eq!(standing(&canonicalise(Normaliser::Domain, raw, None).unwrap()), want, "{raw}");
    }
}

#[test]
fn plain_values() {
    check(
        Normaliser::Alphanumeric,
        None,
        &[
            (" HRB 173-784 ", Ok("hrb173784")),
            ("DE 123.456.789", Ok("de123456789")),
            ("１２３ＡＢ", Ok("123ab")),
            ("١٢٣", Ok("123")),
            ("--", Err(Fault::Empty)),
        ],
    );
    check(Normaliser::Verbatim, None, &[("\u{feff} aB/1 \n", Ok("aB/1")), ("\u{200b}", Err(Fault::Empty))]);
    check(Normaliser::Folded, None, &[(" 3C9F91AC-4B01 ", Ok("3c9f91ac-4b01")), ("É", Ok("é")), ("E\u{301}", Ok("é"))]);
    assert_eq!(
        text(Normaliser::Verbatim, &"a".repeat(IDENTIFIER_BYTES_MAX), None).map(|t| t.len()),
        Ok(IDENTIFIER_BYTES_MAX)
    );
    assert_eq!(text(Normaliser::Verbatim, &"a".repeat(IDENTIFIER_BYTES_MAX + 1), None), Err(Fault::TooLong));
}

#[test]
fn junk_is_known_and_honest_values_are_not() {
    use JunkKind::{FreeMail, KnownShared, NoReply, Pattern, Placeholder, Platform, Reserved};
    use Normaliser::{Alphanumeric, Domain, Email, Folded, Phone, Verbatim};
    let table = [
        (Verbatim, "null", Some(Placeholder)),
        (Verbatim, "(null)", Some(Placeholder)),
        (Verbatim, "N/A", Some(Placeholder)),
        (Verbatim, "[object Object]", Some(Placeholder)),
        (Verbatim, "Anonymous", Some(Placeholder)),
        (Verbatim, "-", Some(Pattern)),
        (Verbatim, "0", Some(Pattern)),
        (Verbatim, "00000000-0000-0000-0000-000000000000", Some(Pattern)),
        (Verbatim, "xx", Some(Placeholder)),
        (Verbatim, "1111", None),
        (Verbatim, "123456", None),
        (Verbatim, "cust-0042", None),
        (Verbatim, "testarossa", None),
        (Verbatim, "张伟", None),
        (Folded, "9774D56D682E549C", Some(KnownShared)),
        (Folded, "02:00:00:00:00:00", Some(KnownShared)),
        (Folded, "f871fbae-2cd4-45db-aed3-f1320234245d", None),
        (Alphanumeric, "123-45-6789", Some(Pattern)),
        (Alphanumeric, "999-99-9999", Some(Pattern)),
        (Alphanumeric, "078-05-1120", Some(KnownShared)),
        (Alphanumeric, "000", Some(Pattern)),
        (Alphanumeric, "unknown", Some(Placeholder)),
        (Alphanumeric, "4453922018", None),
        (Alphanumeric, "112233", None),
        (Email, "noreply@acme.com", Some(NoReply)),
        (Email, "No-Reply+x@acme.com", Some(NoReply)),
        (Email, "no_reply.orders.2024.notifications@acme.com", None),
        (Email, "noreply-4711-4711-4711-4711-4711@acme.com", Some(NoReply)),
        (Email, "mailer-daemon@acme.com", Some(NoReply)),
        (Email, "ada@example.com", Some(Reserved)),
        (Email, "ada@mail.example.org", Some(Reserved)),
        (Email, "ada@acme.test", Some(Reserved)),
        (Email, "ada@myexample.com", None),
        (Email, "test@acme.com", Some(Placeholder)),
        (Email, "test12@acme.com", Some(Placeholder)),
        (Email, "n/a@acme.com", Some(Placeholder)),
        (Email, "none@none.com", Some(Placeholder)),
        (Email, "aaaaaa@acme.com", Some(Pattern)),
        (Email, "info@acme.com", None),
        (Email, "tester.jones@acme.com", None),
        (Email, "juanita@yahoo.com", None),
        (Phone, "+1 202 555 0123", Some(Reserved)),
        (Phone, "555-0123", Some(Reserved)),
        (Phone, "202-555-1212", Some(Reserved)),
        (Phone, "+1 202 555 0223", None),
        (Phone, "+44 7700 900123", Some(Reserved)),
        (Phone, "000-000-0000", Some(Pattern)),
        (Phone, "999-999-9999", Some(Pattern)),
        (Phone, "1111111111", Some(Pattern)),
        (Phone, "1234567890", Some(Pattern)),
        (Phone, "9876543210", Some(Pattern)),
        (Phone, "(706) 965-0600", None),
        (Phone, "+49 30 901820", None),
        (Domain, "example.com", Some(Reserved)),
        (Domain, "acme.invalid", Some(Reserved)),
        (Domain, "gmail.com", Some(FreeMail)),
        (Domain, "https://www.facebook.com/acme", Some(Platform)),
        (Domain, "acme.com", None),
        (Folded, "web", Some(Placeholder)),
        (Alphanumeric, "4000000000", Some(Pattern)),
        (Alphanumeric, "4100507376", None),
        (Email, "no@email.com", Some(Placeholder)),
        (Email, "donotemail@store.com", Some(Placeholder)),
    ];
    for (normaliser, raw, want) in table {
        let value = canonicalise(normaliser, raw, Some("US")).unwrap();
        assert_eq!(junk(normaliser, &value), want, "{normaliser:?} {raw:?}");
    }
}

fn email_namespace() -> crate::namespace::Namespace {
    built_in().into_iter().find(|namespace| namespace.name == "email").unwrap()
}

#[test]
fn block_rules_give_their_reason_and_can_be_switched_off() {
    let mut namespace = email_namespace();
    namespace.blocked_values = vec!["Info@ACME.com".to_owned()];
    namespace.blocked_patterns = vec![r"sales@.*".to_owned(), r".*@(shop|store)\.example\.dev".to_owned()];
    let rules = BlockRules::compile(&namespace, None).unwrap();
    let blocked = |rules: &BlockRules, raw: &str| rules.blocked(&canonicalise(Normaliser::Email, raw, None).unwrap());
    assert_eq!(blocked(&rules, "info@acme.com"), Some(BlockReason::Listed));
    assert_eq!(blocked(&rules, "sales@acme.com"), Some(BlockReason::Pattern(0)));
    assert_eq!(blocked(&rules, "x@store.example.dev"), Some(BlockReason::Pattern(1)));
    assert_eq!(blocked(&rules, "presales@acme.com"), None, "patterns match whole values");
    assert_eq!(blocked(&rules, "a@example.com"), Some(BlockReason::Junk(JunkKind::Reserved)));
    namespace.junk_defaults = false;
    let rules = BlockRules::compile(&namespace, None).unwrap();
    assert_eq!(blocked(&rules, "a@example.com"), None);
    assert_eq!(blocked(&rules, "info@acme.com"), Some(BlockReason::Listed));
}

#[test]
fn bad_patterns_are_a_clear_error() {
    for (pattern, fragment) in [("(", "unclosed"), ("a)|(b", "unopened"), (r"(?:\w{900}){900}", "size limit")] {
        let mut namespace = email_namespace();
        namespace.class = NamespaceClass::Identifying;
        namespace.blocked_patterns = vec!["fine".to_owned(), pattern.to_owned()];
        let error = BlockRules::compile(&namespace, None).unwrap_err();
        let InvalidBlockRules::Pattern { index, .. } = &error else { panic!("{error}") };
        assert_eq!(*index, 1);
        assert!(error.to_string().contains(fragment), "{error}");
    }
}

#[test]
fn nothing_shows_the_value() {
    let value = canonicalise(Normaliser::Email, "ada@acme.com", None).unwrap();
    assert_eq!(format!("{value:?}"), "Canonical(..)");
}

/// Arbitrary text, and text made of the pieces that the parsers look for.
fn raw() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{0,6}",
        "[0-9]{1,6}",
        "[a-zA-ZİıßſΣ]{1,6}",
        prop::sample::select(vec![
            "@",
            ".",
            "+",
            "+1",
            "00",
            "0",
            "x",
            "ext",
            ";ext=",
            "#",
            "~",
            "(",
            ")",
            "-",
            " ",
            "\u{200b}",
            "://",
            "www.",
            "mailto:",
            "<",
            ">",
            "\"",
            "xn--",
            "tel:",
            "co.uk",
            "github.io",
            "１",
            "٣",
            "E\u{301}",
            "İ",
            "ﷺ",
            "\u{fb1d}",
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![any::<String>(), prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn canonical_forms_are_their_own_and_bounded(
        raw in raw(),
        region in prop::sample::select(vec![None, Some("US"), Some("GB"), Some("DE"), Some("IT"), Some("MX"), Some("AR"), Some("BR"), Some("zz")]),
    ) {
        for normaliser in Normaliser::ALL {
            let Ok(once) = canonicalise(normaliser, &raw, region) else { continue };
            prop_assert!(once.as_str().len() <= 3 * raw.len() + 64, "{normaliser:?} grew");
            let twice = canonicalise(normaliser, once.as_str(), region);
            prop_assert_eq!(twice.as_ref().map(Canonical::as_str), Ok(once.as_str()), "{:?}", normaliser);
            let _ = junk(normaliser, &once);
        }
    }

    #[test]
    fn phone_digits_settle_in_every_region(
        plus in any::<bool>(),
        digits in "[0-9]{5,17}",
        region in prop::sample::select(vec![None, Some("US"), Some("GB"), Some("DE"), Some("IT"), Some("MX"), Some("AR"), Some("BR"), Some("FR"), Some("CN"), Some("IN"), Some("RU")]),
    ) {
        let raw = if plus { format!("+{digits}") } else { digits };
        if let Ok(once) = canonicalise(Normaliser::Phone, &raw, region) {
            for other in [region, None, Some("US"), Some("DE")] {
                prop_assert_eq!(canonicalise(Normaliser::Phone, once.as_str(), other), Ok(once.clone()));
            }
        }
    }

    #[test]
    fn the_quick_path_for_north_america_agrees_with_the_library(
        plus in prop::sample::select(vec!["", "1", "+1", "+", "1 ", "+1 "]),
        area in "[0-9]{3}", exchange in "[0-9]{3}", line in "[0-9]{4}",
        style in 0..4,
    ) {
        let raw = match style {
            0 => format!("{plus}{area}{exchange}{line}"),
            1 => format!("{plus}({area}) {exchange}-{line}"),
            2 => format!("{plus}{area}.{exchange}.{line}"),
            _ => format!("{plus}{area}-{exchange}-{line}"),
        };
        prop_assert!(phone::quick_path_agrees(&raw, "US"));
    }
}
