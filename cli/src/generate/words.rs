//! The words that people and companies are made of, most frequent first; written for this project.

/// Names, places and habits of one region.
pub struct Region {
    /// ISO 3166 code.
    pub country: &'static str,
    /// Out of 1000 households, how many live here.
    pub share_permille: u32,
    /// Women's given names.
    pub women: &'static [&'static str],
    /// Men's given names.
    pub men: &'static [&'static str],
    /// Family names.
    pub families: &'static [&'static str],
    /// City, region (or empty), first digits of its postcodes.
    pub cities: &'static [&'static [&'static str; 3]],
    /// Street names, ready to be put beside a house number.
    pub streets: &'static [&'static str],
    /// Whether the house number comes before the street.
    pub number_first: bool,
    /// Shape of a postcode's rest: `0` a digit, `A` a letter, anything else itself.
    pub postcode_rest: &'static str,
    /// Country calling code.
    pub calling_code: &'static str,
    /// Prefixes of national numbers, without the trunk zero.
    pub phone_prefixes: &'static [&'static str],
    /// Digits that follow the prefix.
    pub phone_rest: u32,
    /// Trunk prefix in national writing.
    pub trunk: &'static str,
    /// Mail providers.
    pub mail: &'static [&'static str],
    /// Legal forms of companies.
    pub legal_forms: &'static [&'static str],
    /// Top-level domain of companies.
    pub top_level: &'static str,
    /// Whether the family name comes first.
    pub family_first: bool,
}

/// All regions; the shares add up to 1000.
pub const REGIONS: &[Region] = &[UNITED_STATES, BRITAIN, GERMANY, FRANCE, SPAIN, ITALY, INDIA, CHINA, POLAND];

const UNITED_STATES: Region = Region {
    country: "US",
    share_permille: 520,
    women: &[
        "Mary", "Jennifer", "Patricia", "Elizabeth", "Linda", "Jessica", "Sarah", "Barbara", "Susan", "Ashley", "Karen", "Emily",
        "Margaret", "Lisa", "Nancy", "Sandra", "Kimberly", "Donna", "Michelle", "Amanda", "Melissa", "Deborah", "Stephanie",
        "Rebecca", "Laura", "Cynthia", "Kathleen", "Amy", "Angela", "Anna", "Christine", "Samantha", "Katherine", "Nicole",
        "Rachel", "Victoria", "Olivia", "Emma", "Sophia", "Grace", "Abigail", "Hannah", "Teresa", "Judith", "Megan", "Jacqueline",
        "Latoya", "Guadalupe", "Priscilla", "Wanda",
    ],
    men: &[
        "James", "Michael", "Robert", "John", "David", "William", "Richard", "Joseph", "Thomas", "Christopher", "Charles",
        "Daniel", "Matthew", "Anthony", "Mark", "Steven", "Andrew", "Joshua", "Kenneth", "Kevin", "Brian", "Timothy", "Ronald",
        "Edward", "Jason", "Jeffrey", "Ryan", "Jacob", "Nicholas", "Gary", "Eric", "Jonathan", "Stephen", "Larry", "Justin",
        "Benjamin", "Samuel", "Gregory", "Alexander", "Patrick", "Raymond", "Jack", "Dennis", "Tyler", "Aaron", "Jose",
        "Terrence", "Deshawn", "Leroy", "Wendell",
    ],
    families: &[
        "Smith", "Johnson", "Williams", "Brown", "Jones", "Garcia", "Miller", "Davis", "Rodriguez", "Martinez", "Hernandez",
        "Lopez", "Wilson", "Anderson", "Thomas", "Taylor", "Moore", "Jackson", "Martin", "Lee", "Thompson", "White", "Harris",
        "Clark", "Lewis", "Robinson", "Walker", "Young", "Allen", "King", "Wright", "Scott", "Torres", "Nguyen", "Hill",
        "Flores", "Green", "Adams", "Nelson", "Baker", "Hall", "Rivera", "Campbell", "Mitchell", "Carter", "Roberts", "O'Brien",
        "McDonald", "Van Horn", "De La Cruz", "Kowalski", "Fitzgerald", "Abernathy", "Goldstein", "Okafor", "Yamamoto",
        "Vasquez-Stone", "Hollingsworth", "Delacroix", "Lindqvist", "Castellanos", "Washington", "Throckmorton", "Beaumont",
        "Pemberton", "Oyelaran", "Ferrante", "Zielinski", "Blackwood", "Quintero", "Sandoval", "McAllister", "Rasmussen",
        "Tennyson", "Whitaker", "Ellsworth", "Dubois", "Marchetti", "Novak", "Petrosyan",
    ],
    cities: &[
        &["New York", "NY", "100"], &["Los Angeles", "CA", "900"], &["Chicago", "IL", "606"], &["Houston", "TX", "770"],
        &["Phoenix", "AZ", "850"], &["Philadelphia", "PA", "191"], &["San Antonio", "TX", "782"], &["San Diego", "CA", "921"],
        &["Dallas", "TX", "752"], &["Austin", "TX", "787"], &["Columbus", "OH", "432"], &["Denver", "CO", "802"],
        &["Portland", "OR", "972"], &["Saint Paul", "MN", "551"], &["Boise", "ID", "837"], &["Akron", "OH", "443"],
    ],
    streets: &[
        "Main Street", "Oak Avenue", "Maple Street", "Washington Boulevard", "Park Avenue", "Cedar Lane", "Elm Street",
        "Lake Drive", "Hill Road", "Sunset Boulevard", "Walnut Street", "River Road", "Church Street", "Highland Avenue",
        "2nd Street", "Martin Luther King Drive", "Willow Court", "North Meadow Lane", "South 5th Avenue", "Juniper Way",
    ],
    number_first: true,
    postcode_rest: "00",
    calling_code: "1",
    phone_prefixes: &["212", "310", "312", "713", "602", "215", "210", "619", "214", "512", "614", "303", "503", "651", "208", "330"],
    phone_rest: 7,
    trunk: "",
    mail: &["gmail.com", "yahoo.com", "outlook.com", "hotmail.com", "aol.com", "icloud.com", "comcast.net"],
    legal_forms: &["Inc.", "LLC", "Corp.", "Co.", "LP", "Incorporated"],
    top_level: "com",
    family_first: false,
};

const BRITAIN: Region = Region {
    country: "GB",
    share_permille: 130,
    women: &[
        "Olivia", "Amelia", "Susan", "Margaret", "Charlotte", "Emily", "Jessica", "Sophie", "Lucy", "Fiona", "Gemma", "Siobhan",
        "Harriet", "Imogen", "Beatrice", "Rosemary", "Bronwen", "Eilidh", "Priya", "Aisha",
    ],
    men: &[
        "Oliver", "David", "George", "Harry", "Jack", "Thomas", "William", "James", "Alistair", "Nigel", "Graham", "Callum",
        "Rhys", "Angus", "Rupert", "Liam", "Mohammed", "Hamish", "Gareth", "Clive",
    ],
    families: &[
        "Smith", "Jones", "Taylor", "Brown", "Williams", "Wilson", "Johnson", "Davies", "Patel", "Robinson", "Wright", "Evans",
        "Walker", "Hughes", "Green", "Khan", "MacLeod", "O'Connor", "Ashworth", "Featherstone", "Llewellyn", "Sinclair", "Begum",
        "Pritchard", "Cholmondeley", "Fairweather", "Hargreaves", "Ramsbottom", "St John", "Drummond",
    ],
    cities: &[
        &["London", "Greater London", "SW"], &["Manchester", "", "M"], &["Birmingham", "West Midlands", "B"],
        &["Leeds", "West Yorkshire", "LS"], &["Edinburgh", "", "EH"], &["Cardiff", "", "CF"], &["Bristol", "", "BS"],
    ],
    streets: &[
        "High Street", "Station Road", "Church Lane", "Victoria Road", "Green Lane", "Manor Road", "King's Road",
        "Queen Street", "Mill Lane", "The Crescent", "Albert Terrace", "St John's Close",
    ],
    number_first: true,
    postcode_rest: "0 0AA",
    calling_code: "44",
    phone_prefixes: &["7700", "7911", "7831", "7402", "7512"],
    phone_rest: 6,
    trunk: "0",
    mail: &["gmail.com", "hotmail.co.uk", "btinternet.com", "yahoo.co.uk", "outlook.com", "sky.com"],
    legal_forms: &["Ltd", "PLC", "Limited", "LLP", "& Sons Ltd"],
    top_level: "co.uk",
    family_first: false,
};

const GERMANY: Region = Region {
    country: "DE",
    share_permille: 100,
    women: &[
        "Ursula", "Anna", "Sabine", "Petra", "Monika", "Julia", "Katharina", "Claudia", "Birgit", "Lena", "Käthe",
        "Hannelore", "Sieglinde", "Mia", "Ayşe",
    ],
    men: &[
        "Thomas", "Michael", "Andreas", "Peter", "Wolfgang", "Stefan", "Jürgen", "Klaus", "Jörg", "Günther", "Lukas", "Matthias",
        "Björn", "Heinz", "Karl-Heinz", "Mehmet",
    ],
    families: &[
        "Müller", "Schmidt", "Schneider", "Fischer", "Weber", "Meyer", "Wagner", "Becker", "Schulz", "Hoffmann", "Schäfer",
        "Koch", "Bauer", "Richter", "Klein", "Schröder", "Neumann", "Krüger", "Groß", "Weiß", "von der Heide", "Yılmaz",
        "Müller-Lüdenscheidt", "Jäger", "Böhm", "Kühn", "Zimmermann", "Obermaier",
    ],
    cities: &[
        &["Berlin", "", "10"], &["Hamburg", "", "20"], &["München", "Bayern", "80"], &["Köln", "NRW", "50"],
        &["Düsseldorf", "NRW", "40"], &["Leipzig", "Sachsen", "04"],
    ],
    streets: &[
        "Hauptstraße", "Bahnhofstraße", "Gartenweg", "Schulstraße", "Goethestraße", "Am Markt", "Lindenallee",
        "Karl-Marx-Platz", "Kirchgasse", "Rosenweg", "Schönhauser Allee",
    ],
    number_first: false,
    postcode_rest: "000",
    calling_code: "49",
    phone_prefixes: &["151", "160", "170", "176", "30", "89"],
    phone_rest: 8,
    trunk: "0",
    mail: &["gmx.de", "web.de", "t-online.de", "gmail.com", "freenet.de"],
    legal_forms: &["GmbH", "AG", "GmbH & Co. KG", "KG", "e.K.", "UG (haftungsbeschränkt)"],
    top_level: "de",
    family_first: false,
};

const FRANCE: Region = Region {
    country: "FR",
    share_permille: 70,
    women: &["Marie", "Camille", "Léa", "Chloé", "Manon", "Inès", "Françoise", "Hélène", "Amélie", "Zoé", "Anne-Sophie", "Océane"],
    men: &["Jean", "Pierre", "Michel", "François", "Rémi", "Loïc", "Étienne", "Jean-Luc", "Hugo", "Théo", "Benoît", "Gérard"],
    families: &[
        "Martin", "Bernard", "Dubois", "Thomas", "Robert", "Petit", "Durand", "Leroy", "Moreau", "Lefèvre", "Garnier", "Chevalier",
        "D'Artagnan", "Le Goff", "Béranger", "Château", "Noël", "Guérin", "de La Fontaine", "Benali",
    ],
    cities: &[&["Paris", "", "75"], &["Lyon", "", "69"], &["Marseille", "", "13"], &["Besançon", "", "25"], &["Saint-Étienne", "", "42"]],
    streets: &[
        "rue de la Paix", "avenue Victor Hugo", "boulevard Saint-Michel", "place de l'Église", "rue des Écoles",
        "chemin du Moulin", "allée des Tilleuls",
    ],
    number_first: true,
    postcode_rest: "000",
    calling_code: "33",
    phone_prefixes: &["6", "7", "1", "4"],
    phone_rest: 8,
    trunk: "0",
    mail: &["orange.fr", "free.fr", "gmail.com", "laposte.net", "wanadoo.fr"],
    legal_forms: &["SARL", "SA", "SAS", "EURL", "& Fils SARL"],
    top_level: "fr",
    family_first: false,
};

const SPAIN: Region = Region {
    country: "ES",
    share_permille: 60,
    women: &["María", "Carmen", "Lucía", "Ana", "Begoña", "Concepción", "María José", "Pilar", "Inés", "Montserrat", "Nuria", "Belén"],
    men: &["José", "Antonio", "Manuel", "Juan", "Jesús", "Íñigo", "Francisco", "Raúl", "Andrés", "Joaquín", "José Luis", "Ramón"],
    families: &[
        "García", "Fernández López", "González", "Rodríguez Pérez", "Martín", "Sánchez", "Gómez Ruiz", "Ibáñez", "Núñez", "Muñoz",
        "de la Torre", "Peña", "Castaño", "Etxeberria", "Puig i Ferrer", "Ortega y Gasset",
    ],
    cities: &[&["Madrid", "", "280"], &["Barcelona", "", "080"], &["Valencia", "", "460"], &["A Coruña", "", "150"]],
    streets: &["Calle Mayor", "Avenida de la Constitución", "Plaza de España", "Paseo del Prado", "Calle del Sol", "Carrer de Balmes"],
    number_first: false,
    postcode_rest: "00",
    calling_code: "34",
    phone_prefixes: &["61", "65", "91", "93"],
    phone_rest: 7,
    trunk: "",
    mail: &["gmail.com", "hotmail.es", "telefonica.net", "yahoo.es"],
    legal_forms: &["S.L.", "S.A.", "S.L.U.", "e Hijos S.L."],
    top_level: "es",
    family_first: false,
};

const ITALY: Region = Region {
    country: "IT",
    share_permille: 40,
    women: &["Giulia", "Maria", "Francesca", "Chiara", "Sofia", "Alessandra", "Noemi", "Beatrice", "Ludovica"],
    men: &["Giuseppe", "Marco", "Luca", "Giovanni", "Andrea", "Niccolò", "Salvatore", "Pier Paolo", "Matteo"],
    families: &["Rossi", "Russo", "Ferrari", "Esposito", "Bianchi", "Romano", "D'Angelo", "De Luca", "Lo Presti", "Della Valle"],
    cities: &[&["Roma", "RM", "00"], &["Milano", "MI", "20"], &["Napoli", "NA", "80"], &["Forlì", "FC", "47"]],
    streets: &["Via Roma", "Viale Europa", "Corso Garibaldi", "Piazza San Marco", "Via Giuseppe Verdi", "Vicolo Stretto"],
    number_first: false,
    postcode_rest: "000",
    calling_code: "39",
    phone_prefixes: &["320", "333", "347", "06"],
    phone_rest: 7,
    trunk: "",
    mail: &["libero.it", "gmail.com", "virgilio.it", "tiscali.it"],
    legal_forms: &["S.r.l.", "S.p.A.", "S.a.s.", "S.n.c."],
    top_level: "it",
    family_first: false,
};

const INDIA: Region = Region {
    country: "IN",
    share_permille: 40,
    women: &["Priya", "Ananya", "Lakshmi", "Sunita", "Kavita", "Deepika", "Meenakshi", "Fatima", "Harpreet"],
    men: &["Rahul", "Amit", "Rajesh", "Arjun", "Vijay", "Venkatesh", "Mohammed", "Gurpreet", "Subramanian"],
    families: &["Sharma", "Patel", "Singh", "Kumar", "Reddy", "Iyer", "Khan", "Gupta", "Venkataraman", "Chatterjee", "Nair"],
    cities: &[&["Mumbai", "Maharashtra", "400"], &["Bengaluru", "Karnataka", "560"], &["Chennai", "Tamil Nadu", "600"]],
    streets: &["MG Road", "Station Road", "Gandhi Nagar", "Nehru Street", "Brigade Road"],
    number_first: true,
    postcode_rest: "000",
    calling_code: "91",
    phone_prefixes: &["98", "99", "97", "70"],
    phone_rest: 8,
    trunk: "0",
    mail: &["gmail.com", "rediffmail.com", "yahoo.co.in"],
    legal_forms: &["Pvt. Ltd.", "Private Limited", "Ltd.", "LLP"],
    top_level: "co.in",
    family_first: false,
};

const CHINA: Region = Region {
    country: "CN",
    share_permille: 20,
    women: &["秀英", "丽", "敏", "静", "婷", "雪梅", "芳"],
    men: &["伟", "强", "磊", "洋", "杰", "建国", "军"],
    families: &["王", "李", "张", "刘", "陈", "杨", "欧阳", "司马"],
    cities: &[&["上海", "", "200"], &["北京", "", "100"], &["广州", "广东", "510"]],
    streets: &["南京路", "人民路", "中山北路", "解放大道"],
    number_first: false,
    postcode_rest: "000",
    calling_code: "86",
    phone_prefixes: &["138", "139", "186", "159"],
    phone_rest: 8,
    trunk: "",
    mail: &["qq.com", "163.com", "126.com"],
    legal_forms: &["有限公司", "股份有限公司"],
    top_level: "cn",
    family_first: true,
};

const POLAND: Region = Region {
    country: "PL",
    share_permille: 20,
    women: &["Anna", "Katarzyna", "Małgorzata", "Agnieszka", "Zofia", "Łucja", "Bożena"],
    men: &["Piotr", "Krzysztof", "Andrzej", "Tomasz", "Paweł", "Michał", "Łukasz"],
    families: &["Nowak", "Kowalski", "Wiśniewski", "Wójcik", "Kamiński", "Lewandowski", "Zieliński", "Dąbrowski", "Źródłowski"],
    cities: &[&["Warszawa", "", "00"], &["Kraków", "", "30"], &["Łódź", "", "90"]],
    streets: &["ul. Polna", "ul. Leśna", "al. Jerozolimskie", "ul. Świętego Jana", "pl. Wolności"],
    number_first: false,
    postcode_rest: "-000",
    calling_code: "48",
    phone_prefixes: &["50", "60", "69", "22"],
    phone_rest: 7,
    trunk: "",
    mail: &["wp.pl", "onet.pl", "gmail.com", "o2.pl"],
    legal_forms: &["Sp. z o.o.", "S.A.", "sp. j."],
    top_level: "pl",
    family_first: false,
};

/// Formal given name and what friends call its bearer.
pub const NICKNAMES: &[(&str, &str)] = &[
    ("James", "Jim"), ("James", "Jamie"), ("Michael", "Mike"), ("Robert", "Bob"), ("Robert", "Rob"), ("John", "Jack"),
    ("David", "Dave"), ("William", "Bill"), ("William", "Will"), ("Richard", "Rick"), ("Richard", "Dick"), ("Joseph", "Joe"),
    ("Thomas", "Tom"), ("Christopher", "Chris"), ("Charles", "Charlie"), ("Charles", "Chuck"), ("Daniel", "Dan"),
    ("Matthew", "Matt"), ("Anthony", "Tony"), ("Steven", "Steve"), ("Andrew", "Andy"), ("Andrew", "Drew"), ("Joshua", "Josh"),
    ("Kenneth", "Ken"), ("Timothy", "Tim"), ("Ronald", "Ron"), ("Edward", "Ed"), ("Edward", "Ted"), ("Jeffrey", "Jeff"),
    ("Jacob", "Jake"), ("Nicholas", "Nick"), ("Jonathan", "Jon"), ("Stephen", "Steve"), ("Lawrence", "Larry"),
    ("Benjamin", "Ben"), ("Samuel", "Sam"), ("Gregory", "Greg"), ("Alexander", "Alex"), ("Patrick", "Pat"), ("Raymond", "Ray"),
    ("Jennifer", "Jen"), ("Jennifer", "Jenny"), ("Patricia", "Pat"), ("Patricia", "Trish"), ("Elizabeth", "Liz"),
    ("Elizabeth", "Beth"), ("Elizabeth", "Betty"), ("Jessica", "Jess"), ("Barbara", "Barb"), ("Susan", "Sue"),
    ("Margaret", "Peggy"), ("Margaret", "Maggie"), ("Sandra", "Sandy"), ("Kimberly", "Kim"), ("Amanda", "Mandy"),
    ("Deborah", "Debbie"), ("Stephanie", "Steph"), ("Rebecca", "Becky"), ("Cynthia", "Cindy"), ("Kathleen", "Kathy"),
    ("Christine", "Chris"), ("Samantha", "Sam"), ("Katherine", "Kate"), ("Katherine", "Kathy"), ("Victoria", "Vicky"),
    ("Abigail", "Abby"), ("Theresa", "Terry"), ("Teresa", "Tess"), ("Francisco", "Paco"), ("José", "Pepe"),
    ("Giuseppe", "Beppe"), ("Katharina", "Käthe"), ("Małgorzata", "Gosia"), ("Katarzyna", "Kasia"), ("Wolfgang", "Wolf"),
];

/// Addresses that many unlike people give when they do not want to give one.
pub const JUNK_MAIL: &[&str] = &[
    "test@test.com", "noreply@example.com", "none@none.com", "a@a.com", "n/a", "no@email.com", "asdf@asdf.com", "unknown",
];

/// The same for phones.
pub const JUNK_PHONES: &[&str] = &["0000000000", "9999999999", "1234567890", "555-0100", "n/a", "-", "1111111111"];

/// The same for names.
pub const JUNK_NAMES: &[&str] = &["n/a", "Test", "Unknown", "-", "Guest", "asdf"];

/// First words of company names.
pub const COMPANY_FIRST: &[&str] = &[
    "Northern", "Universal", "Pioneer", "Golden", "Summit", "Blue River", "Atlas", "Evergreen", "Silver", "Harbor", "Redwood",
    "Global", "Crescent", "Titan", "Phoenix", "Quantum", "Sterling", "Cedar", "Iron Bridge", "Meridian", "Vertex", "Lakeside",
    "Granite", "Beacon", "Falcon", "Orchid", "Cobalt", "Zenith", "Prairie", "Alpine",
];

/// Second words of company names, and the industry they belong to.
pub const COMPANY_SECOND: &[(&str, &str)] = &[
    ("Foods", "Food"), ("Logistics", "Transport"), ("Software", "Technology"), ("Consulting", "Services"),
    ("Energy", "Energy"), ("Construction", "Construction"), ("Textiles", "Manufacturing"), ("Pharma", "Health"),
    ("Partners", "Finance"), ("Media", "Media"), ("Tools", "Manufacturing"), ("Systems", "Technology"),
    ("Marine", "Transport"), ("Robotics", "Technology"), ("Bakery", "Food"), ("Insurance", "Finance"),
];

/// Boxes that a whole company reads.
pub const ROLE_MAILBOXES: &[&str] = &["info", "billing", "accounts", "office", "sales", "admin"];
