//! OpenDSR 2.0, the part that is not the wire: who we are as a processor, which identities are understood, and
//! [`callbacks`], which tell controllers what became of their requests. `grpc/opendsr` takes the requests.

pub mod addresses;
pub mod callbacks;
mod signer;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::ClientConfig;

use crate::renewal::Renewed;
use crate::{outgoing, secret};
pub use addresses::CallbackRules;
pub use signer::Signer;

/// The version that is spoken.
pub const API_VERSION: &str = "2.0";

/// Which of our namespaces an identity type is looked up in, when nothing else is said. The types of the specification
/// (section 5.1) and those that controllers send beside them.
pub const IDENTITIES: [(&str, &str); 13] = [
    ("controller_customer_id", "user_id"),
    ("email", "email"),
    ("phone", "phone"),
    ("cookie", "anonymous_id"),
    ("android_advertising_id", "device_id"),
    ("android_id", "device_id"),
    ("fire_advertising_id", "device_id"),
    ("ios_advertising_id", "device_id"),
    ("ios_vendor_id", "device_id"),
    ("microsoft_advertising_id", "device_id"),
    ("microsoft_publisher_id", "device_id"),
    ("roku_advertising_id", "device_id"),
    ("roku_publisher_id", "device_id"),
];

/// How to take requests of controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDsr {
    /// The host that controllers reach us at, with a port where it is not 443: the processor's domain.
    pub domain: String,
    /// The certificate that vouches for what we sign, with those between it and its authority (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM): RSA or ECDSA over P-256.
    pub key: PathBuf,
    /// Identity type and namespace, in place of [`IDENTITIES`] for the types that it names.
    pub identities: Vec<(String, String)>,
    /// Hosts that may be called back, with a port where it is not 443; none: nobody is.
    pub callback_hosts: Vec<String>,
    /// The authority that vouches for these hosts; none: whom this machine trusts.
    pub callback_authority: Option<PathBuf>,
    /// Call hosts whose names lead into private networks or to this machine, and to this machine without TLS too.
    pub allow_private_callbacks: bool,
}

/// A host, with its port if that is not 443.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let uri: http::Uri = format!("https://{text}/").parse().ok()?;
    let plain = uri.path() == "/" && uri.query().is_none() && !text.contains(['@', '/', '?', '#']);
    let place = outgoing::Place::read(&uri.to_string())?;
    plain.then_some((place.host, place.port))
}

/// The namespaces of each identity type: what was said of a type stands in place of what is usual.
fn mapping(said: &[(String, String)]) -> Vec<(String, String)> {
    let usual = IDENTITIES.iter().filter(|(kind, _)| !said.iter().any(|(known, _)| known == kind));
    let mut all: Vec<(String, String)> =
        usual.map(|(kind, namespace)| ((*kind).to_owned(), (*namespace).to_owned())).collect();
    // A type with no namespace is one that is not taken.
    all.extend(said.iter().filter(|(_, namespace)| !namespace.is_empty()).cloned());
    all.sort();
    all.dedup();
    all
}

impl OpenDsr {
    /// Reads `TYPE=NAMESPACE`; with nothing behind the sign the type is not taken.
    ///
    /// # Errors
    /// What it should be.
    pub fn identity(text: &str) -> Result<(String, String), String> {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        match text.split_once('=') {
            Some((kind, namespace)) if !kind.is_empty() && plain(kind) && plain(namespace) => {
                Ok((kind.to_owned(), namespace.to_owned()))
            }
            _ => Err(format!("`{text}`: write TYPE=NAMESPACE, e.g. controller_customer_id=crm_id")),
        }
    }

    /// Whether it can be used, as far as no file has to be read for it.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn check(&self) -> Result<(), String> {
        if host_and_port(&self.domain).is_none() {
            return Err(format!("`{}` is no domain: write a host, e.g. opendsr.example.org", self.domain));
        }
        let bad = self.callback_hosts.iter().find(|host| host_and_port(host).is_none());
        match bad {
            Some(host) => Err(format!("`{host}` is no host to call back: write e.g. controller.example.org")),
            None => Ok(()),
        }
    }
}

/// Who we are to controllers.
#[derive(Debug)]
pub struct Processor {
    /// Our domain, as headers and addresses show it.
    pub domain: String,
    /// Its host.
    pub host: String,
    /// Identity type and namespace.
    pub identities: Vec<(String, String)>,
    /// Who may be called back.
    pub callbacks: CallbackRules,
    how: OpenDsr,
    papers: RwLock<Arc<Papers>>,
}

/// What the files of a processor held when they were read.
#[derive(Debug)]
pub struct Papers {
    /// Tells them from those of another time.
    pub digest: blake3::Hash,
    /// Signs in our name.
    pub signer: Signer,
    /// Whom to believe that they are who is called back.
    pub trust: Arc<ClientConfig>,
}

impl Papers {
    /// Of the files as they are. Taken before they are read, so that what is replaced in between is looked at again.
    fn digest(how: &OpenDsr) -> Result<blake3::Hash, String> {
        let mut hasher = blake3::Hasher::new();
        let key = secret::read_file(&how.key).map_err(|error| format!("{} {error}", how.key.display()))?;
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key.as_bytes());
        for path in std::iter::once(&how.certificate).chain(&how.callback_authority) {
            let bytes = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        Ok(hasher.finalize())
    }

    fn read(how: &OpenDsr, host: &str) -> Result<Self, String> {
        let digest = Self::digest(how)?;
        let signer = Signer::read(&how.certificate, &how.key, host)?;
        Ok(Self { digest, signer, trust: outgoing::trusting(how.callback_authority.as_deref())? })
    }
}

impl Processor {
    /// Reads key and certificate.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub fn read(how: &OpenDsr) -> Result<Arc<Self>, String> {
        how.check()?;
        let host = host_and_port(&how.domain).map(|(host, _)| host).unwrap_or_default();
        Ok(Arc::new(Self {
            papers: RwLock::new(Arc::new(Papers::read(how, &host)?)),
            how: how.clone(),
            domain: how.domain.clone(),
            host,
            identities: mapping(&how.identities),
            callbacks: CallbackRules {
                hosts: how.callback_hosts.iter().filter_map(|host| host_and_port(host)).collect(),
                allow_private: how.allow_private_callbacks,
            },
        }))
    }

    /// Key, certificate and trust as they are now.
    #[must_use]
    pub fn papers(&self) -> Arc<Papers> {
        Arc::clone(&self.papers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The headers of what was signed, under the names of this version and of the one before (section 10.1).
    #[must_use]
    pub fn headers<'a>(&'a self, signature: &'a str) -> [(&'static str, &'a str); 4] {
        [
            ("x-opendsr-processor-domain", &self.host),
            ("x-opendsr-signature", signature),
            ("x-opengdpr-processor-domain", &self.host),
            ("x-opengdpr-signature", signature),
        ]
    }

    /// Where what is below this path lies for controllers.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.domain)
    }
}

impl Renewed for Processor {
    const WHAT: &'static str = "key and certificate of OpenDSR";

    fn look(&self) -> Result<bool, String> {
        if Papers::digest(&self.how)? == self.papers().digest {
            return Ok(false);
        }
        let papers = Arc::new(Papers::read(&self.how, &self.host)?);
        *self.papers.write().unwrap_or_else(PoisonError::into_inner) = papers;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_type_stands_in_place_of_what_is_usual() {
        let said: Vec<_> = ["email=email", "email=login", "controller_customer_id=crm_id", "cookie="]
            .map(|text| OpenDsr::identity(text).unwrap())
            .to_vec();
        let all = mapping(&said);
        let of = |kind: &str| -> Vec<&str> {
            all.iter().filter(|(known, _)| known == kind).map(|(_, namespace)| namespace.as_str()).collect()
        };
        assert_eq!(of("email"), ["email", "login"]);
        assert_eq!(of("controller_customer_id"), ["crm_id"]);
        assert!(of("cookie").is_empty(), "not taken");
        assert_eq!(of("ios_advertising_id"), ["device_id"]);
        for bad in ["email", "=email", "e mail=x", "email=a b"] {
            assert!(OpenDsr::identity(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn key_and_certificate_are_replaced_without_a_restart_and_what_does_not_fit_changes_nothing() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        let issue = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (before, after) = (issue(), issue());
        put("cert.pem", &before.cert.pem());
        put("key.pem", &before.signing_key.serialize_pem());
        put("ca.pem", &before.cert.pem());
        let how = OpenDsr {
            domain: "localhost".to_owned(),
            certificate: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            identities: Vec::new(),
            callback_hosts: Vec::new(),
            callback_authority: Some(dir.path().join("ca.pem")),
            allow_private_callbacks: false,
        };
        let processor = Processor::read(&how).unwrap();
        let first = processor.papers();
        assert_eq!(processor.look(), Ok(false));
        // One of two files is in place: they do not fit, and those of before stay.
        put("key.pem", &after.signing_key.serialize_pem());
        processor.look().unwrap_err();
        assert_eq!(processor.papers().digest, first.digest);
        put("cert.pem", &after.cert.pem());
        assert_eq!(processor.look(), Ok(true));
        let second = processor.papers();
        assert_ne!(second.signer.certificates, first.signer.certificates);
        assert!(!Arc::ptr_eq(&second.trust, &first.trust));
        assert_eq!(processor.look(), Ok(false));
        put("ca.pem", &after.cert.pem());
        assert_eq!(processor.look(), Ok(true), "whom to believe is replaced too");
    }

    #[test]
    fn a_domain_is_a_host_and_nothing_more() {
        for (text, want) in [
            ("opendsr.example.org", Some(("opendsr.example.org", 443))),
            ("OpenDSR.example.org:8443", Some(("opendsr.example.org", 8443))),
            ("[::1]:9", Some(("::1", 9))),
            ("https://example.org", None),
            ("example.org/path", None),
            ("who@example.org", None),
            ("", None),
        ] {
            assert_eq!(host_and_port(text), want.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }
}
