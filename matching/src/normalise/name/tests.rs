use proptest::prelude::*;

use super::*;

/// given / middle / family, as one line.
fn line(name: Option<PersonName>) -> String {
    name.map_or_else(String::new, |name| format!("{}/{}/{}", name.given, name.middle, name.family))
}

#[test]
fn whole_names() {
    for (raw, want) in [
        ("Jon Smith", "jon//smith"),
        ("SMITH, JON", "jon//smith"),
        ("Smith, Jon R., Jr.", "jon/r/smith"),
        ("Mr. Walter R Bertrand", "walter/r/bertrand"),
        ("Ms. Peggy Sherry Kirby", "peggy/sherry/kirby"),
        ("Reed, Jose", "jose//reed"),
        ("J. Smith", "j//smith"),
        ("Smith J", "j//smith"),
        ("SMITH Jon", "jon//smith"),
        ("JON SMITH", "jon//smith"),
        ("SMITH Jon Paul", "jon/paul/smith"),
        ("DUPONT Thérèse", "therese//dupont"),
        ("LI Wei", "wei//li"),
        ("KIM Minji", "minji//kim"),
        ("NG Siew Ling", "siew/ling/ng"),
        ("ADA Lovelace", "ada//lovelace"),
        ("GRACE Hopper", "grace//hopper"),
        ("JAMES T Kirk", "james/t/kirk"),
        ("TJ Miller", "tj//miller"),
        ("JJ Abrams", "jj//abrams"),
        ("Ludwig van Beethoven", "ludwig//van beethoven"),
        ("Maria de la Cruz", "maria//de la cruz"),
        ("Robert Smith Sr", "robert//smith"),
        ("Hans Müller jun.", "hans//muller"),
        ("Hans Müller sen", "hans//muller"),
        ("Min Jun Lee", "min/jun/lee"),
        ("Kim Jun", "kim//jun"),
        ("John Smith, MD, PhD", "john//smith"),
        ("John Smith, MA", "john//smith"),
        ("Yo Yo Ma", "yo/yo/ma"),
        ("Ma, Jack", "jack//ma"),
        ("Mary Smith-Jones", "mary//smith jones"),
        ("William \"Bill\" O'Neil III", "william//oneil"),
        ("Karen", "karen//"),
        ("Huseman", "//huseman"),
        ("ВАСІЛЬЕЎ, Аляксандр Паўлавіч", "аляксандр/паўлавіч/васільеў"),
        ("张伟", "伟//张"),
        ("欧阳修明", "修明//欧阳"),
        ("山田 太郎", "太郎//山田"),
        ("Dr. Müller", "//muller"),
        ("Mr", "//mr"),
        ("Ms N/A N/A", ""),
        ("Unknown Unknown", ""),
        ("unknown", ""),
        ("Christopher Null", "christopher//null"),
        (" , ", ""),
        ("", ""),
    ] {
        assert_eq!(line(PersonName::parse(raw)), want, "{raw:?}");
    }
    let bill = PersonName::parse("William \"Bill\" O'Neil III").unwrap();
    assert_eq!((bill.nickname.as_str(), bill.suffix), ("bill", Some(GenerationalSuffix::Third)));
    assert_eq!(PersonName::parse("Smith, Jon R., Jr.").unwrap().suffix, Some(GenerationalSuffix::Junior));
}

#[test]
fn names_in_parts() {
    for (given, middle, family, suffix, want) in [
        ("JUANITA", "", "HUSEMAN", "", "juanita//huseman"),
        ("Dr. Mary Ann", "", "Smith Sr", "", "mary/ann/smith"),
        ("Morris I", "", "Klein", "", "morris/i/klein"),
        ("Morris II", "", "Klein", "", "morris//klein"),
        ("Min Jun", "", "Lee", "", "min/jun/lee"),
        ("", "", "van'wt hof", "", "vanwt//hof"),
        ("", "", "de la Cruz", "", "//de la cruz"),
        ("Jon Smith", "", "", "", "jon//smith"),
        ("", "", "Smith, Jon", "", "jon//smith"),
        ("", "", "", "", ""),
        ("N/A", "", "unknown", "", ""),
    ] {
        assert_eq!(line(PersonName::from_parts(given, middle, family, suffix)), want, "{given:?} {family:?}");
    }
    assert_eq!(
        PersonName::from_parts("Ed", "", "Smith Sr", "").unwrap().suffix,
        Some(GenerationalSuffix::Senior),
        "a suffix in the family field"
    );
    assert_eq!(PersonName::parse("Ludwig van Beethoven").unwrap().family_core(), "beethoven");
}

#[test]
fn nicknames_meet_their_full_names() {
    for (left, right, want) in [
        ("bob", "robert", true),
        ("bill", "billy", true),
        ("peggy", "margaret", true),
        ("jan", "john", true),
        ("hans", "johann", true),
        ("karen", "karen", true),
        ("zelda", "zelda", true),
        ("bob", "william", false),
        ("zelda", "robert", false),
    ] {
        assert_eq!(may_be_same_given(left, right), want, "{left} {right}");
    }
    assert_eq!(full_forms("jonathan").first(), Some(&"jonathan"));
    assert!(NICKNAMES.len() > 900, "the data file is read");
    for form in NICKNAMES.keys() {
        assert_eq!(&fold(form), form, "the data file is folded");
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_bounded_answer(raw in prop_oneof![any::<String>(), "([\"(), .']{0,2}(mr|jr|van|de|III|Anna|SMITH|张|é|o)){0,9}"]) {
        if let Some(name) = PersonName::parse(&raw) {
            let len = name.given.len() + name.middle.len() + name.family.len() + name.nickname.len();
            prop_assert!(len <= 3 * raw.len() + 64);
            for part in [&name.given, &name.middle, &name.family, &name.nickname] {
                prop_assert_eq!(&fold(part), part);
            }
        }
    }
}
