//! What headers mean, by their words.

use onefold_matching::normalise::text::fold;

use super::Role;

/// A header's meaning before the rest of the file is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// The key; the smaller rank is believed over the larger.
    RecordId(u8),
    /// A bare `id`: the key when it is unique, and no better key is there.
    BareId,
    Truth,
    Source,
    /// The smaller rank is believed over the larger.
    ObservedAt(u8),
    RecordType,
    Name,
    /// The party's own name in a file of organisations, the employer in one of persons.
    Company,
    BirthDay,
    BirthMonth,
    BirthYear,
    /// Birth parts only when all three are there and no whole date is: `day`, `month`, `year` alone may be anything.
    Day,
    Month,
    Year,
    Identifier(&'static str),
    /// A namespace that is not built in.
    OwnIdentifier(&'static str),
    Attribute(&'static str),
    /// Points to another record or describes another column.
    Ignore,
}

use Meaning::{
    Attribute, BareId, BirthDay, BirthMonth, BirthYear, Company, Day, Identifier, Ignore, Month, Name, ObservedAt,
    OwnIdentifier, RecordId, RecordType, Source, Truth, Year,
};

/// Headers, letters and digits only, by meaning.
const TABLE: &[(Meaning, &[&str])] = &[
    (RecordId(0), &["recordid", "recid", "recordkey", "sourcekey", "sourcerecordid"]),
    (RecordId(1), &["messageid", "rowid", "uniqueid", "pk", "primarykey"]),
    (BareId, &["id"]),
    (
        Truth,
        &["clusterid", "truth", "trueid", "truthid", "truecluster", "groundtruth", "truecluserid", "trueclusterid"],
    ),
    (Source, &["source", "sourcename", "datasource", "sourcesystem", "sourceid", "origin"]),
    (
        ObservedAt(0),
        &[
            "observedat",
            "updatedat",
            "lastupdated",
            "lastmodified",
            "lastmodifiedat",
            "modifiedat",
            "modified",
            "updated",
            "lastmodifieddate",
        ],
    ),
    (
        ObservedAt(1),
        &[
            "seenat",
            "lastseen",
            "lastseenat",
            "timestamp",
            "eventtime",
            "orderdate",
            "saledate",
            "purchasedate",
            "tsms",
        ],
    ),
    (
        ObservedAt(2),
        &["createdat", "created", "createddate", "subscribedat", "signupdate", "registeredat", "insertedat"],
    ),
    (RecordType, &["recordtype", "partytype", "entitytype", "customertype"]),
    (Name, &["name", "displayname", "partyname", "accountname", "nom", "nombre"]),
    (
        Company,
        &[
            "company",
            "companyname",
            "organization",
            "organisation",
            "organizationname",
            "organisationname",
            "org",
            "orgname",
            "firm",
            "business",
            "businessname",
            "affiliation",
            "assignee",
            "firma",
        ],
    ),
    (Identifier("email"), &["email", "mail", "emailaddress", "mailaddress", "emailaddr", "correo", "courriel"]),
    (
        Identifier("phone"),
        &[
            "phone",
            "phonenumber",
            "phoneno",
            "tel",
            "telephone",
            "telephonenumber",
            "mobile",
            "mobilenumber",
            "mobilephone",
            "cell",
            "cellphone",
            "msisdn",
            "telefon",
            "handy",
            "telefono",
            "landline",
            "fax",
        ],
    ),
    (Identifier("user_id"), &["userid", "uid", "login", "username", "loginid"]),
    (Identifier("anonymous_id"), &["anonymousid", "anonid", "previousid", "visitorid", "cookieid", "clientcookie"]),
    (
        Identifier("device_id"),
        &[
            "deviceid",
            "imei",
            "idfa",
            "gaid",
            "maid",
            "advertisingid",
            "deviceadvertisingid",
            "contextdeviceid",
            "contextdeviceadvertisingid",
        ],
    ),
    (
        Identifier("crm_id"),
        &["crmid", "customerid", "customerno", "customernumber", "contactid", "clientid", "custid", "kundennummer"],
    ),
    (
        Identifier("loyalty_id"),
        &[
            "loyaltyid",
            "loyaltycard",
            "loyaltynumber",
            "loyaltyno",
            "cardno",
            "cardnumber",
            "membershipno",
            "membershipnumber",
            "memberid",
        ],
    ),
    (
        Identifier("tax_id"),
        &[
            "taxid",
            "taxidnumber",
            "taxnumber",
            "ssn",
            "ssnnumber",
            "socsecid",
            "socialsecurity",
            "socialsecuritynumber",
            "tin",
            "vat",
            "vatid",
            "vatnumber",
            "nino",
            "nif",
            "codicefiscale",
            "ein",
        ],
    ),
    (
        Identifier("registration_id"),
        &[
            "registrationid",
            "regno",
            "regnumber",
            "registrationnumber",
            "companynumber",
            "companyno",
            "lei",
            "leinumber",
            "duns",
            "dunsnumber",
            "siren",
            "siret",
            "hrb",
        ],
    ),
    (Identifier("passport_id"), &["passport", "passportnumber", "passportno", "passportid"]),
    (
        Identifier("driver_licence_id"),
        &[
            "driverslicensenumber",
            "driverslicense",
            "driverlicense",
            "driverlicence",
            "driverlicenceid",
            "driverslicence",
            "driverlicensenumber",
            "driverslicencenumber",
            "dln",
        ],
    ),
    (
        Identifier("domain"),
        &["website", "url", "domain", "homepage", "web", "webaddress", "websiteurl", "websiteaddress"],
    ),
    (Identifier("social_handle"), &["socialhandle", "twitter", "instagram", "handle", "twitterhandle", "linkedin"]),
    (Identifier("account_key"), &["accountkey", "groupid", "accountid", "companyid"]),
    (Identifier("external_id"), &["externalid"]),
    (OwnIdentifier("national_id"), &["nationalid", "nationalidnumber", "idcardnumber", "identitynumber"]),
    (Attribute("full_name"), &["fullname", "namefull", "personname", "nativenamefull", "completename", "namefulltext"]),
    (Ignore, &["firstandsurname"]),
    (
        Attribute("given_name"),
        &[
            "givenname",
            "firstname",
            "fname",
            "forename",
            "given",
            "first",
            "namefirst",
            "prenom",
            "vorname",
            "fnamec1",
            "fnamec2",
            "firstnames",
            "givennames",
        ],
    ),
    (
        Attribute("middle_name"),
        &["middlename", "mname", "middle", "namemiddle", "initial", "middleinitial", "initials"],
    ),
    (
        Attribute("family_name"),
        &[
            "familyname",
            "lastname",
            "lname",
            "surname",
            "family",
            "last",
            "namelast",
            "nachname",
            "apellido",
            "apellidos",
            "lnamec1",
            "lnamec2",
        ],
    ),
    (Attribute("name_suffix"), &["suffix", "namesuffix"]),
    (
        Attribute("birth_date"),
        &[
            "birthdate",
            "dateofbirth",
            "dob",
            "birthday",
            "born",
            "bday",
            "geburtsdatum",
            "datenaissance",
            "fechanacimiento",
        ],
    ),
    (BirthDay, &["birthd", "dobday", "dayofbirth"]),
    (BirthMonth, &["birthm", "dobmonth", "birthmonth", "monthofbirth"]),
    (BirthYear, &["birthy", "dobyear", "birthyear", "yearofbirth", "yob"]),
    (Day, &["day", "bd"]),
    (Month, &["month", "bm"]),
    (Year, &["year", "by"]),
    (Attribute("gender"), &["gender", "sex"]),
    (
        Attribute("address.street"),
        &[
            "street",
            "streetnumber",
            "housenumber",
            "streetname",
            "streetaddress",
            "address",
            "address1",
            "addr",
            "addr1",
            "addrline1",
            "addressline1",
            "addressstreet",
            "strasse",
            "rue",
            "calle",
            "direccion",
        ],
    ),
    (Attribute("address.full"), &["addrfull", "fulladdress", "addressfull", "postaladdress"]),
    (
        Attribute("address.unit"),
        &["unit", "apartment", "apt", "suite", "address2", "addr2", "addrline2", "addressline2", "addressunit"],
    ),
    (
        Attribute("address.city"),
        &["city", "town", "suburb", "locality", "addrcity", "addresscity", "ort", "ville", "ciudad", "stadt"],
    ),
    (
        Attribute("address.region"),
        &["state", "region", "province", "county", "addrstate", "addressregion", "addressstate", "stateprovince"],
    ),
    (
        Attribute("address.postcode"),
        &[
            "postcode",
            "zip",
            "zipcode",
            "postalcode",
            "postcodefake",
            "addrpostalcode",
            "addresspostcode",
            "addresspostalcode",
            "plz",
            "codepostal",
            "addresszip",
        ],
    ),
    (
        Attribute("address.country"),
        &["country", "countrycode", "addrcountry", "addresscountry", "land", "pays", "pais"],
    ),
    (Attribute("legal_name"), &["legalname", "nameorg", "companylegalname"]),
    (Attribute("trading_name"), &["tradingname", "tradename", "dba", "doingbusinessas", "brand", "secondarynameorg"]),
    (Attribute("industry"), &["industry", "sector"]),
    (Attribute("job_title"), &["jobtitle", "position"]),
    (Attribute("language"), &["language", "locale", "lang", "contextlocale"]),
    (Attribute("time_zone"), &["timezone", "tz", "contexttimezone"]),
    (Attribute("birth_place"), &["birthplace", "placeofbirth"]),
    (Attribute("occupation"), &["occupation", "profession"]),
    (Attribute("nationality"), &["nationality", "citizenship"]),
    (Attribute("employer"), &["employer", "employername"]),
    (Ignore, &["relanchorkey", "relpointerkey", "relpointerrole", "relanchordomain", "relpointerdomain"]),
];

/// Words in front that say whose the value is, not what it is.
const OWNERS: &[&str] = &[
    "customer",
    "client",
    "contact",
    "person",
    "personal",
    "primary",
    "secondary",
    "native",
    "main",
    "home",
    "work",
    "business",
    "billing",
    "shipping",
    "mailing",
    "traits",
    "requester",
    "profile",
    "attributes",
    "user",
    "member",
    "subscriber",
    "buyer",
    "guest",
    "group",
    "cust",
    "private",
    "company",
    "party",
    "default",
    "postal",
    "residential",
];

/// The meaning of a header by its words alone.
pub(super) fn meaning(header: &str) -> Option<Meaning> {
    by_words(header).or_else(|| {
        // JSON may give an identifier as an object: `{"email": {"value": …, "verified": true}}`.
        let inner = header.strip_suffix(".value")?;
        by_words(inner).filter(|meaning| matches!(meaning, Identifier(_) | OwnIdentifier(_)))
    })
}

fn by_words(header: &str) -> Option<Meaning> {
    if header.to_ascii_lowercase().starts_with("externalids.") {
        return None;
    }
    // `identifiers.email`: what stands behind it is the namespace.
    let header = header.strip_prefix("identifiers.").unwrap_or(header);
    let words = words(header);
    for dropped in 0..words.len() {
        if dropped > 0 && !OWNERS.contains(&words[dropped - 1].as_str()) {
            break;
        }
        let mut compact = words[dropped..].concat();
        if let Some(meaning) = find(&compact).filter(|meaning| dropped == 0 || *meaning != BareId) {
            return Some(meaning);
        }
        // `phone2`, `email_1`: the second of its kind.
        while compact.ends_with(|last: char| last.is_ascii_digit()) {
            compact.pop();
        }
        if let Some(meaning) = find(&compact).filter(|meaning| matches!(meaning, Identifier(_) | Attribute(_))) {
            return Some(meaning);
        }
    }
    None
}

/// Whether a header names an identifier of a built-in namespace by its words alone.
pub(in crate::input) fn names_identifier(header: &str) -> bool {
    matches!(meaning(header), Some(Identifier(_) | OwnIdentifier(_)))
}

fn find(compact: &str) -> Option<Meaning> {
    TABLE.iter().find(|(_, headers)| headers.contains(&compact)).map(|(meaning, _)| meaning.clone())
}

fn words(header: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in header.chars() {
        let starts = letter.is_uppercase() && before.is_lowercase();
        before = letter;
        if !letter.is_alphanumeric() || starts {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    // `Straße` and `Prénom` are found without their marks.
    words.into_iter().map(|word| if word.is_ascii() { word } else { fold(&word).replace(' ', "") }).collect()
}

/// Attributes whose columns belong together in one text: house number and street, two given names.
pub(super) const JOINED: &[&str] = &["given_name", "family_name", "address.street"];

/// The role, where it does not hang on the rest of the file.
pub(super) fn plain_role(meaning: &Meaning) -> Option<Role> {
    Some(match meaning {
        Truth => Role::Truth,
        Source => Role::Source,
        RecordType => Role::RecordType,
        Name => Role::Name,
        BirthDay => Role::BirthDay,
        BirthMonth => Role::BirthMonth,
        BirthYear => Role::BirthYear,
        Identifier(namespace) | OwnIdentifier(namespace) => Role::Identifier((*namespace).to_owned()),
        Attribute(name) => Role::Attribute((*name).to_owned()),
        Ignore => Role::Ignore,
        RecordId(_) | BareId | ObservedAt(_) | Company | Day | Month | Year => return None,
    })
}
