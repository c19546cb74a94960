use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

mod https;

const ISSUER: &str = "https://id.example.org/";
const AUDIENCE: &str = "onefold";
/// Seconds since 1970.
const NOW: i64 = 1_800_000_000;
/// The modulus of a key of RSA, 2,048 bits, that was thrown away after it had signed [`RSA_TOKEN`] with OpenSSL: a private key
/// lies nowhere.
const RSA_MODULUS: &str = "svmeW0leUDsWEZ0TK0sMLqMsfsspPspm-n1-fwXl8VtmpU2qhOoUv8WOii_LbdCJiKU3e7hk16E-C1JE1okHmAiLFySgDRbvCAUm\
YOku1BE42kT4US422UG8EonE_WUxnT5FMsN1EHvde-krloq3ykf8mlK1DbuTDR0ENshDq10W3HW-k7-aWaDdxjaa5ji6bOKH4Kvh\
bgORtKmvVs4p8SciC5FN8HxrmsUKaQBbzCmYWIXaQBV5I7MI_QxXIZZpLrrcAdtDUzbo0UyQp4zFVLFosLkci5qmQFO8Xo5RaTeP\
X3EZ1e0K5FYZ2ws2OswcFuFjJXABX_cW-CV0uhOEBw";
/// [`claims`], signed.
const RSA_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiUlMyNTYifQ.eyJpc3MiOiAiaHR0cHM6Ly9pZC5leGFtcGxlL\
m9yZy8iLCAiYXVkIjogIm9uZWZvbGQiLCAic3ViIjogImFkYUBleGFtcGxlLm9yZyIsICJleHAiOiAxODAwMDAwNjAwLCAibmJmI\
jogMTc5OTk5OTk5MCwgImlhdCI6IDE3OTk5OTk5OTAsICJ0ZW5hbnQiOiAibm9ydGgiLCAicm9sZXMiOiBbInJlYWRlciIsICJzd\
GV3YXJkIiwgInN1cGVydXNlciJdfQ.FDRZPY7j6au965gjOflaO_RtEvD_MD6MAncQnXVNaVbAKt60IyEwul4KcQuuU0dmpnyULW\
JFDXzT884r_IuHOVZHHokoQ5bmsoLMob882cyoo7P9jcMeOfCnnAUQWu_JaMmGdfZcRo2auMAmWGEznijA2awJojwMh7LDH8-SV1\
oBv-ZNu1pOSUktasgivsXmaZqO5WNOPY9Y75EVmQQA5FC97cJyVrT9p3e2GjVrdWCNAxg94UkmXc-nePpVFpZIE5wpDR9g0Kf17s\
hOV4GxsYHDvMRID3mL5rT27s-tgH3BPxzWjlXWA6NC_MDhBD7eMLcKEKUzGlODvCHoE216aw";

fn at(seconds: i64) -> ObservedAt {
    ObservedAt(seconds * 1_000_000)
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

/// Somebody who signs.
enum Signer {
    Ed(Box<Ed25519KeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl Signer {
    fn ed(seed: u8) -> Self {
        Self::Ed(Box::new(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()))
    }

    fn ec() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap();
        Self::Ec(Box::new(pair))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
        }
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": id, "x": encoded(pair.public_key())})
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": id, "x": x, "y": y})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }

    /// A token with this head and these claims.
    fn token_with(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        format!("{message}.{}", encoded(self.sign(message.as_bytes())))
    }

    fn token(&self, id: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "typ": "JWT", "kid": id}), claims)
    }
}

fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "kid": "RS256", "n": RSA_MODULUS, "e": "AQAB"})
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada@example.org", "exp": NOW + 600, "nbf": NOW - 10, "iat": NOW - 10,
        "tenant": "north", "roles": ["reader", "steward", "superuser"],
    })
}

/// The claims with one of them otherwise; `null` takes it away.
fn but(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(name),
        value => claims.as_object_mut().unwrap().insert(name.to_owned(), value),
    };
    claims
}

fn issuer(keys: KeysAt) -> Issuer {
    Issuer {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys,
        authority: None,
        roles_claim: "roles".to_owned(),
        role_prefix: String::new(),
        tenant_claim: "tenant".to_owned(),
    }
}

fn list(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

fn tokens(keys: &[Value]) -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, list(keys)).unwrap();
    Tokens::open(issuer(KeysAt::File(path)), [9; 32]).unwrap()
}

#[test]
fn a_good_token_of_each_algorithm_says_who_what_and_where() {
    let signers = [Signer::ed(1), Signer::ec()];
    let tokens = tokens(&[signers[0].jwk("EdDSA"), signers[1].jwk("ES256"), rsa_jwk()]);
    let signed = signers.iter().map(|signer| signer.token(signer.algorithm(), &claims()));
    for token in signed.chain([RSA_TOKEN.to_owned()]) {
        for _ in 0..2 {
            let caller = tokens.caller(&token, at(NOW)).unwrap();
            assert_eq!(caller.roles, Roles::of(&[Role::Reader, Role::Steward]), "an unknown role grants nothing");
            assert!(caller.reaches("north") && !caller.reaches("south") && !caller.reaches_all());
            let who = caller.who.to_string();
            assert!(who.starts_with("subject:") && who.len() == 24 && !who.contains("ada"), "{who}");
            assert_eq!(caller.ends_at, Some(at(NOW + 660)));
        }
        // The one that is known is over when its time is over, like any other.
        assert!(tokens.caller(&token, at(NOW + 659)).is_ok());
        assert_eq!(tokens.caller(&token, at(NOW + 660)), Err(Refused::Bad));
    }
    let of = |subject: &str| {
        let token = signers[0].token("EdDSA", &but("sub", json!(subject)));
        tokens.caller(&token, at(NOW)).unwrap().who
    };
    assert_eq!(of("ada@example.org"), tokens.caller(&signers[1].token("ES256", &claims()), at(NOW)).unwrap().who);
    assert_ne!(of("ada@example.org"), of("bob@example.org"));
}

#[test]
fn claims_that_do_not_fit_let_nobody_in() {
    let signer = Signer::ed(1);
    let tokens = tokens(&[signer.jwk("k")]);
    let table = [
        ("exp", json!(NOW - 61), false),
        ("exp", json!(NOW - 59), true),
        ("exp", json!(NOW as f64 + 0.5), true),
        ("exp", json!(-1), false),
        ("exp", json!("9999999999"), false),
        ("exp", Value::Null, false),
        ("exp", json!(u64::MAX), true),
        ("exp", json!(1e300), false),
        ("nbf", json!(NOW + 61), false),
        ("nbf", json!(NOW + 59), true),
        ("nbf", json!("soon"), false),
        ("nbf", Value::Null, true),
        ("iss", json!("https://id.example.org"), false),
        ("iss", json!([ISSUER]), false),
        ("iss", Value::Null, false),
        ("aud", json!("another"), false),
        ("aud", json!(["another", AUDIENCE]), true),
        ("aud", json!(["another"]), false),
        ("aud", json!([]), false),
        ("aud", json!("Onefold"), false),
        ("aud", Value::Null, false),
        ("sub", Value::Null, false),
        ("sub", json!(7), false),
    ];
    for (name, value, good) in table {
        let answer = tokens.caller(&signer.token("k", &but(name, value.clone())), at(NOW));
        assert_eq!(answer.is_ok(), good, "{name} {value}: {answer:?}");
        assert!(good || answer == Err(Refused::Bad), "{name} {value}");
    }
}

#[test]
fn roles_and_tenants_are_found_where_they_are_and_grant_no_more_than_they_say() {
    let signer = Signer::ed(1);
    let none = Roles::default();
    let reader = Roles::of(&[Role::Reader]);
    let table = [
        ("roles", json!({"roles": ["reader"]}), reader),
        ("roles", json!({"roles": "reader other"}), reader),
        ("realm_access.roles", json!({"realm_access": {"roles": ["reader"]}}), reader),
        ("resource_access.one.fold.roles", json!({"resource_access": {"one.fold": {"roles": ["reader"]}}}), reader),
        ("https://onefold.dev/roles", json!({"https://onefold.dev/roles": ["reader"]}), reader),
        ("roles", json!({"roles": ["Reader", "READER", " reader", "reader2", "", 5, null, ["reader"]]}), none),
        ("roles", json!({"roles": {"reader": true}}), none),
        ("roles", json!({}), none),
        ("realm_access.roles", json!({"realm_access": "reader"}), none),
    ];
    for (name, claims, wanted) in table {
        let found = roles(find(claims.as_object().unwrap(), name), "");
        assert_eq!(found, wanted, "{name} {claims}");
    }
    let all = json!(["of-ingest", "of-reader", "of-steward", "of-privacy-officer", "of-auditor", "of-admin", "admin"]);
    assert!(roles(Some(&all), "of-").meet(Roles::of(&[Role::Admin])));
    assert_eq!(roles(Some(&json!(["admin", "reader"])), "of-"), none, "without the prefix it is another system's role");

    let reach_of = |claim: Value| reach(Some(&claim));
    let named = |names: &[&str]| Reach::Tenants(names.iter().map(|name| Box::from(*name)).collect());
    assert_eq!(reach_of(json!("north")), named(&["north"]));
    assert_eq!(reach_of(json!(["north", "tenants/south"])), named(&["north", "south"]));
    assert_eq!(reach_of(json!("*")), Reach::All);
    assert_eq!(reach_of(json!(["north", "*"])), Reach::All);
    for nobody in [json!(true), json!({"*": 1}), json!([]), json!("")] {
        assert_eq!(reach_of(nobody), named(&[]));
    }
    assert_eq!(reach(None), named(&[]), "without the claim no tenant is reached, the default one neither");
    let many: Vec<String> = (0..1_000).map(|number| format!("t{number}")).collect();
    let Reach::Tenants(kept) = reach_of(json!(many)) else { panic!("not all") };
    assert_eq!(kept.len(), TENANTS_MAX);
    let tokens = tokens(&[signer.jwk("k")]);
    let caller = tokens.caller(&signer.token("k", &but("tenant", Value::Null)), at(NOW)).unwrap();
    assert!(!caller.reaches("default") && !caller.reaches_all());
}

#[test]
fn what_the_issuer_did_not_sign_lets_nobody_in() {
    let (ed, ec, stranger) = (Signer::ed(1), Signer::ec(), Signer::ed(2));
    let mut rsa = rsa_jwk();
    rsa["kid"] = json!("rsa");
    let tokens = tokens(&[ed.jwk("ed"), ec.jwk("ec"), rsa.clone()]);
    let good = ed.token("ed", &claims());
    assert!(tokens.caller(&good, at(NOW)).is_ok());
    let head = |algorithm: &str, id: &str| json!({"alg": algorithm, "kid": id});
    let by = |token: &str| tokens.caller(token, at(NOW));

    let unsigned = format!("{}.{}.", encoded(head("none", "ed").to_string()), encoded(claims().to_string()));
    let mut bad = vec![unsigned, unsigned_as("None"), unsigned_as("NONE"), unsigned_as("nOnE")];
    // A public key taken for a shared secret, in every form in which somebody might.
    for secret in [RSA_MODULUS.as_bytes().to_vec(), rsa.to_string().into_bytes(), ed.jwk("ed").to_string().into_bytes()]
    {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let message = format!("{}.{}", encoded(head(algorithm, "rsa").to_string()), encoded(claims().to_string()));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
            bad.push(format!("{message}.{}", encoded(ring::hmac::sign(&key, message.as_bytes()))));
        }
    }
    // One key's name with another's algorithm, and the other way round.
    for (signer, algorithm, id) in [
        (&ed, "EdDSA", "rsa"),
        (&ed, "RS256", "rsa"),
        (&ed, "RS256", "ed"),
        (&ec, "RS256", "ed"),
        (&ec, "RS384", "rsa"),
        (&ec, "RS512", "rsa"),
        (&ec, "PS256", "rsa"),
        (&ec, "ES256", "ed"),
        (&ec, "ES384", "ec"),
        (&stranger, "EdDSA", "ed"),
    ] {
        bad.push(signer.token_with(&head(algorithm, id), &claims()));
    }
    // What one key signed under another key's name; the head is signed too, so this is the signature alone.
    let (_, rsa_signature) = RSA_TOKEN.rsplit_once('.').unwrap();
    let message = format!("{}.{}", encoded(head("RS256", "rsa").to_string()), encoded(claims().to_string()));
    bad.push(format!("{message}.{rsa_signature}"));
    // A key that the token itself brings along, and what it asks to be understood.
    let bring = |name: &str, value: Value| {
        let mut head = head("EdDSA", "ed");
        head.as_object_mut().unwrap().insert(name.to_owned(), value);
        head
    };
    bad.push(stranger.token_with(&bring("jwk", stranger.jwk("ed")), &claims()));
    bad.push(stranger.token_with(&bring("jku", json!("https://evil.example/keys")), &claims()));
    bad.push(ed.token_with(&bring("crit", json!(["b64"])), &claims()));
    bad.push(ed.token_with(&bring("zip", json!("DEF")), &claims()));
    // Without a name there must be one key alone.
    bad.push(ed.token_with(&json!({"alg": "EdDSA"}), &claims()));
    bad.extend(["", ".", "..", "a.b.c", "....", "é.é.é"].map(str::to_owned));
    bad.push(format!("{good}.{}", encoded("more")));
    bad.push(good.replacen('.', "..", 1));
    bad.push(format!("{good}="));
    for token in &bad {
        assert_eq!(by(token), Err(Refused::Bad), "{token}");
    }
    // A key that nobody knows may be a new one.
    for id in ["new", "", "../ed", "ED"] {
        assert_eq!(by(&ed.token(id, &claims())), Err(Refused::KeyUnknown), "{id:?}");
    }
    let alone = super::tests::tokens(&[ed.jwk("ed")]);
    assert!(alone.caller(&ed.token_with(&json!({"alg": "EdDSA"}), &claims()), at(NOW)).is_ok());
    assert_eq!(alone.caller(&stranger.token_with(&json!({"alg": "EdDSA"}), &claims()), at(NOW)), Err(Refused::Bad));
}

fn unsigned_as(algorithm: &str) -> String {
    let head = json!({"alg": algorithm, "kid": "ed"});
    format!("{}.{}.{}", encoded(head.to_string()), encoded(claims().to_string()), encoded([0; 64]))
}

#[test]
fn a_token_that_was_touched_anywhere_lets_nobody_in() {
    let signer = Signer::ed(1);
    let tokens = tokens(&[signer.jwk("k")]);
    let good = signer.token("k", &claims());
    for at_byte in 0..good.len() {
        for bit in 0..7 {
            let mut bent = good.clone().into_bytes();
            bent[at_byte] ^= 1 << bit;
            let bent = String::from_utf8(bent).unwrap();
            assert!(tokens.caller(&bent, at(NOW)).is_err(), "bit {bit} of byte {at_byte}");
        }
        assert!(tokens.caller(&good[..at_byte], at(NOW)).is_err(), "cut at {at_byte}");
    }
    let huge = signer.token("k", &but("padding", json!("x".repeat(TOKEN_BYTES_MAX))));
    assert_eq!(tokens.caller(&huge, at(NOW)), Err(Refused::Bad));
    let large = signer.token("k", &but("padding", json!("x".repeat(4_000))));
    assert!(tokens.caller(&large, at(NOW)).is_ok());
}

#[test]
fn keys_that_are_no_good_are_left_out_and_a_list_without_any_is_refused() {
    let good = Signer::ed(1).jwk("k");
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key.as_object_mut().unwrap().insert(name.to_owned(), value);
        key
    };
    let useless = [
        with("use", json!("enc")),
        with("alg", json!("HS256")),
        with("crv", json!("Ed448")),
        json!({"kty": "oct", "kid": "k", "k": encoded([7; 32])}),
        json!({"kty": "XYZ", "kid": "k"}),
        json!(5),
    ];
    for key in useless {
        assert!(Keys::parse(list(std::slice::from_ref(&key)).as_bytes()).is_err(), "{key}");
        let beside = Keys::parse(list(&[key.clone(), good.clone()]).as_bytes()).unwrap();
        assert!(beside.find(None, jsonwebtoken::Algorithm::EdDSA).is_ok(), "{key}");
    }
    let many: Vec<Value> = (0..65).map(|_| good.clone()).collect();
    for (text, why) in [
        ("", "no JSON"),
        ("[]", "no list"),
        ("{\"keys\": 5}", "no list"),
        ("{\"keys\": []}", "no key"),
        (&list(&many), "more than 64"),
        (&" ".repeat(300 << 10), "longer"),
    ] {
        let told = Keys::parse(text.as_bytes()).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    // A key of 1,024 bits is a key of RSA and signs nothing here: what checks signatures refuses it.
    let small = json!({"kty": "RSA", "kid": "k", "n": encoded([0xff; 128]), "e": "AQAB"});
    let tokens = tokens(&[small]);
    let forged = format!(
        "{}.{}.{}",
        encoded(json!({"alg": "RS256", "kid": "k"}).to_string()),
        encoded(claims().to_string()),
        encoded([1; 128])
    );
    assert_eq!(tokens.caller(&forged, at(NOW)), Err(Refused::Bad));
}

#[tokio::test]
async fn a_key_that_was_replaced_signs_no_more_and_its_successor_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let (old, new) = (Signer::ed(1), Signer::ed(2));
    std::fs::write(&path, list(&[old.jwk("old")])).unwrap();
    let tokens = Arc::new(Tokens::open(issuer(KeysAt::File(path.clone())), [9; 32]).unwrap());
    let (first, second) = (old.token("old", &claims()), new.token("new", &claims()));
    assert!(tokens.caller(&first, at(NOW)).is_ok());
    assert_eq!(tokens.caller(&second, at(NOW)), Err(Refused::KeyUnknown));
    let following = tokio::spawn(Tokens::follow(Arc::downgrade(&tokens)));
    // A file that is half written changes nothing.
    std::fs::write(&path, "{\"keys\": [").unwrap();
    tokio::time::sleep(FILE_LOOKED_AT_EVERY + Duration::from_secs(1)).await;
    assert!(tokens.caller(&first, at(NOW)).is_ok());
    std::fs::write(&path, list(&[new.jwk("new")])).unwrap();
    let begun = tokio::time::Instant::now();
    while tokens.caller(&second, at(NOW)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(tokens.caller(&first, at(NOW)), Err(Refused::KeyUnknown), "though it was known to be good");
    following.abort();
}

#[test]
fn only_https_is_asked_for_keys() {
    for bad in ["http://id.example.org/keys", "ftp://id.example.org", "id.example.org/keys", "https://", "file:///etc"]
    {
        assert!(Tokens::open(issuer(KeysAt::Url(bad.to_owned())), [9; 32]).is_err(), "{bad}");
    }
}
