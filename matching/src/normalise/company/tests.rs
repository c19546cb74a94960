use proptest::prelude::*;

use super::*;

#[test]
fn names_lose_their_legal_form_and_keep_it_apart() {
    let table: &[(&str, &str, &[&str])] = &[
        ("Medrano Brothers Inc.", "medrano brothers", &["inc"]),
        ("Vector Dental, S.A.S.", "vector dental", &["sas"]),
        ("PERRIKI AB", "perriki", &["ab"]),
        ("EROM STORES, SPA", "erom stores", &["spa"]),
        ("Erom Stores S.p.A.", "erom stores", &["spa"]),
        ("Galindo Services S.r.l.", "galindo services", &["srl"]),
        ("Rimi Aktiengesellschaft", "rimi", &["ag"]),
        ("Eagle West Limited Partnership", "eagle west", &["lp"]),
        ("INTERNATIONAL OCEAN EXPRESS, CO.", "international ocean express", &["co"]),
        ("Tokyo Aircraft Instrument, Co., Ltd.", "tokyo aircraft instrument", &["co ltd"]),
        ("Müller GmbH & Co. KG", "muller", &["gmbh co kg"]),
        ("Natl Oak Inc", "national oak", &["inc"]),
        ("Totten & Navarrete Utilities Company", "totten and navarrete utilities", &["co"]),
        ("Totten and Navarrete Utilities", "totten and navarrete utilities", &[]),
        ("Societe Anonyme dite: Compagnie Generale D'Electricite", "compagnie generale delectricite", &["sa"]),
        ("Kabushiki-Kaisha Motoyama Seisakusho", "motoyama seisakusho", &["kk"]),
        ("ООО Ромашка", "ромашка", &["ooo"]),
        ("株式会社日立製作所", "日立製作所", &["株式会社"]),
        ("The Acme Company, Inc.", "acme", &["co inc"]),
        ("I.B.M. Corp", "ibm", &["corp"]),
        ("Limited", "limited", &[]),
        ("The", "the", &[]),
        ("PT Astra International Tbk", "astra international", &["pt", "tbk"]),
    ];
    for (raw, core, forms) in table {
        let name = CompanyName::parse(raw).unwrap();
        assert_eq!((name.core.as_str(), name.forms.as_slice()), (*core, *forms), "{raw}");
    }
    assert_eq!(CompanyName::parse(" -- "), None);
}

#[test]
fn remarks_beside_the_name_are_kept_apart() {
    for (raw, core, remark) in [
        ("Gateway Capital *DO NOT USE*", "gateway capital", "do not use"),
        ("Maple Nova Trading, Ltd (old)", "maple nova trading", "old"),
        ("Eagle West L.P. (US)", "eagle west", "us"),
        ("Niyo Engineering Inc - HQ", "niyo engineering", "hq"),
        ("Elfosa Holdings L.P. - Sinks Grove", "elfosa holdings", "sinks grove"),
        ("Alpha (Beta) Gamma", "alpha beta gamma", ""),
        ("Mercedes - Benz", "mercedes benz", ""),
        ("(old)", "old", ""),
        ("*", "", ""),
        (&format!("Acme ({}old)", " ".repeat(80)), "acme old", ""),
    ] {
        let name = CompanyName::parse(raw).unwrap_or_default();
        assert_eq!((name.core.as_str(), name.remark.as_str()), (core, remark), "{raw}");
    }
}

#[test]
fn acronyms_leave_out_small_words() {
    let acronym = |raw| CompanyName::parse(raw).and_then(|name| name.acronym);
    assert_eq!(acronym("International Business Machines Corp.").as_deref(), Some("ibm"));
    assert_eq!(acronym("University of California").as_deref(), Some("uc"));
    assert_eq!(acronym("Acme Ltd"), None);
}

#[test]
fn every_legal_form_of_the_data_file_is_cut_off() {
    assert!(FORMS.len() > 300 && LEADING_FORMS.len() > 40 && TRADE_WORDS.len() > 100, "the data files are read");
    for spelling in FORMS.keys() {
        assert_eq!(CompanyName::parse(&format!("Zeta {spelling}")).unwrap().core, "zeta", "{spelling}");
        assert!(spelling.split(' ').count() <= FORM_WORDS_MAX, "{spelling}");
    }
    for spelling in LEADING_FORMS.keys() {
        assert_eq!(CompanyName::parse(&format!("{spelling} Zeta")).unwrap().core, "zeta", "{spelling}");
    }
    for (short, full) in TRADE_WORDS.iter() {
        assert_eq!(TRADE_WORDS.get(*full), Some(full), "{short}: a word spelled out is its own full form");
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_bounded_answer(raw in prop_oneof![any::<String>(), "((the|and|&|[*]|[(]old[)]| - |é|co|ltd|inc|s|p|a|sa|gmbh|natl|assn|Acme|kk|mfg|株式会社)[ .]{0,2}){0,8}"]) {
        if let Some(name) = CompanyName::parse(&raw) {
            prop_assert!(!name.core.is_empty());
            prop_assert!(name.core.len() <= 3 * raw.len() + 64);
            prop_assert_eq!(CompanyName::parse(&name.core).map(|again| again.core), Some(name.core));
        }
    }
}
