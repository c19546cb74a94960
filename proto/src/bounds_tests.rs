use std::fmt::Write;

use proptest::prelude::*;
use prost::Name;
use prost::encoding::{encode_key, encode_varint};
use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::*;
use crate::v1 as pb;

/// Field numbers and lengths that somebody who means harm would choose, and what becomes of messages of them.
struct Tape<'a>(std::slice::Iter<'a, u8>);

impl Tape<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    /// Fields of this message as the tape says: right ones for the most part, unknown ones, groups, wrong wire types.
    fn message(&mut self, of: &MessageDescriptor, depth: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let fields: Vec<FieldDescriptor> = of.fields().collect();
        while depth > 0 && self.0.len() > 0 {
            let what = self.next();
            match (what % 16, fields.get(usize::from(what / 16) % fields.len().max(1))) {
                (0, _) => break,
                (1, _) => self.unknown(&mut out),
                (2, Some(field)) => {
                    encode_key(field.number(), WireType::Varint, &mut out);
                    encode_varint(u64::from(self.next()), &mut out);
                }
                (_, Some(field)) => self.field(field, depth, &mut out),
                (_, None) => break,
            }
        }
        out
    }

    fn unknown(&mut self, out: &mut Vec<u8>) {
        let number = 1_000 + u32::from(self.next());
        encode_key(number, WireType::StartGroup, out);
        for _ in 0..self.next() % 4 {
            encode_key(1, WireType::LengthDelimited, out);
            out.extend([2, 7, 7]);
        }
        encode_key(number, WireType::EndGroup, out);
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u32, out: &mut Vec<u8>) {
        let bytes = match field.kind() {
            Kind::Message(inner) => self.message(&inner, depth - 1),
            Kind::String | Kind::Bytes => vec![b'a'; usize::from(self.next() % 4)],
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
                encode_key(field.number(), WireType::SixtyFourBit, out);
                out.extend([0; 8]);
                return;
            }
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
                encode_key(field.number(), WireType::ThirtyTwoBit, out);
                out.extend([0; 4]);
                return;
            }
            _ if field.is_list() && self.next().is_multiple_of(2) => {
                (0..self.next() % 5).flat_map(|_| [0x81, 0]).collect()
            }
            _ => {
                encode_key(field.number(), WireType::Varint, out);
                encode_varint(u64::from(self.next() % 2), out);
                return;
            }
        };
        encode_key(field.number(), WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.extend(bytes);
    }
}

/// Elements of each repeated field, counted in the message that came out of a decoder.
fn decoded(message: &DynamicMessage, counts: &mut HashMap<String, u32>) {
    let mut into = |value: &Value| {
        if let Value::Message(inner) = value {
            decoded(inner, counts);
        }
    };
    for (_, value) in message.fields() {
        match value {
            Value::List(items) => items.iter().for_each(&mut into),
            Value::Map(items) => items.values().for_each(&mut into),
            one => into(one),
        }
    }
    for (field, value) in message.fields() {
        let many = match value {
            Value::List(items) => items.len(),
            Value::Map(items) => items.len(),
            _ => continue,
        };
        *counts.entry(field.full_name().to_owned()).or_default() += many as u32;
    }
}

/// What the walk counts, by name; none where it does not get through.
fn walked(name: &str, bytes: &[u8]) -> Option<HashMap<String, u32>> {
    let counts = CONTRACT.count(name, bytes).ok()?;
    Some(CONTRACT.counted.iter().cloned().zip(counts).filter(|(_, count)| *count > 0).collect())
}

/// Requests of every kind of repeated field there is, decoded by the code that servers decode with.
fn by_prost(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    fn again<M: Message + Name + Default>(bytes: &[u8]) -> Option<Vec<u8>> {
        M::decode(bytes).ok().map(|message| message.encode_to_vec())
    }
    match name {
        "onefold.v1.PutFragmentRequest" => again::<pb::PutFragmentRequest>(bytes),
        "onefold.v1.ImportHierarchyRequest" => again::<pb::ImportHierarchyRequest>(bytes),
        "onefold.v1.UpdateTenantRequest" => again::<pb::UpdateTenantRequest>(bytes),
        "onefold.v1.CreateApiKeyRequest" => again::<pb::CreateApiKeyRequest>(bytes),
        "onefold.v1.UpdateConsentPolicyRequest" => again::<pb::UpdateConsentPolicyRequest>(bytes),
        _ => None,
    }
}

/// What every RPC is asked with.
static REQUESTS: LazyLock<Vec<MessageDescriptor>> = LazyLock::new(|| {
    let of = |service: prost_reflect::ServiceDescriptor| service.methods().map(|m| m.input()).collect::<Vec<_>>();
    let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    pool.services().flat_map(of).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Nothing that a decoder makes of any bytes is more than was counted, and what it takes is let through.
    #[test]
    fn no_decoder_makes_more_of_a_message_than_was_counted(
        which in any::<prop::sample::Index>(),
        tape in prop::collection::vec(any::<u8>(), 0..400),
        cut in prop::option::of(any::<prop::sample::Index>()),
        flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let of = which.get(&REQUESTS);
        let mut bytes = Tape(tape.iter()).message(of, 8);
        if let Some((at, byte)) = flip.filter(|_| !bytes.is_empty()) {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Some(cut) = cut.filter(|_| !bytes.is_empty()) {
            bytes.truncate(cut.index(bytes.len()));
        }
        let name = of.full_name();
        let made = [Some(bytes.clone()), by_prost(name, &bytes)].into_iter().flatten();
        for message in made.filter_map(|made| DynamicMessage::decode(of.clone(), made.as_slice()).ok()) {
            let walked = walked(name, &bytes);
            prop_assert!(walked.is_some(), "{name}: refused, and a decoder takes it");
            let walked = walked.unwrap_or_default();
            let mut counts = HashMap::new();
            decoded(&message, &mut counts);
            for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                prop_assert!(walked.get(&field).is_some_and(|walked| *walked >= count), "{field}: {count}, {walked:?}");
            }
        }
    }

    /// What a client would send is counted exactly.
    #[test]
    fn what_is_counted_is_what_is_there(
        which in any::<prop::sample::Index>(),
        tape in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let of = which.get(&REQUESTS);
        let sent = Tape(tape.iter()).message(of, 8);
        let Ok(message) = DynamicMessage::decode(of.clone(), sent.as_slice()) else { return Ok(()) };
        let mut counts = HashMap::new();
        decoded(&message, &mut counts);
        counts.retain(|_, count| *count > 0);
        prop_assert_eq!(walked(of.full_name(), &message.encode_to_vec()), Some(counts));
    }
}

#[test]
fn every_repeated_field_of_a_request_is_counted_and_refused_over_its_bound() {
    /// The ways from a message to its repeated fields.
    fn ways(of: &MessageDescriptor, way: &mut Vec<FieldDescriptor>, out: &mut Vec<Vec<FieldDescriptor>>) {
        for field in of.fields() {
            way.push(field.clone());
            if field.cardinality() == Cardinality::Repeated {
                out.push(way.clone());
            }
            if let Kind::Message(inner) = field.kind() {
                assert!(way.len() < 20, "messages that hold themselves: {}", field.full_name());
                ways(&inner, way, out);
            }
            way.pop();
        }
    }
    let mut seen = 0;
    for request in REQUESTS.iter() {
        let mut all = Vec::new();
        ways(request, &mut Vec::new(), &mut all);
        for way in all {
            seen += 1;
            let last = way.last().unwrap();
            let most = most(last.full_name());
            let message = |elements: u32| {
                let mut bytes = Vec::new();
                if matches!(last.kind(), Kind::Message(_) | Kind::String | Kind::Bytes) {
                    for _ in 0..elements {
                        encode_key(last.number(), WireType::LengthDelimited, &mut bytes);
                        bytes.push(0);
                    }
                } else {
                    encode_key(last.number(), WireType::LengthDelimited, &mut bytes);
                    encode_varint(u64::from(elements), &mut bytes);
                    bytes.extend(std::iter::repeat_n(0, elements as usize));
                }
                for around in way.iter().rev().skip(1) {
                    let inner = std::mem::take(&mut bytes);
                    encode_key(around.number(), WireType::LengthDelimited, &mut bytes);
                    encode_varint(inner.len() as u64, &mut bytes);
                    bytes.extend(inner);
                }
                bytes
            };
            let mut field = String::new();
            for (at, step) in way.iter().enumerate() {
                write!(field, "{}{}", if at > 0 { "." } else { "" }, step.name()).unwrap();
            }
            let name = request.full_name();
            assert_eq!(admit(name, &message(most)), Ok(()), "{name}: {field}");
            let refused = Err(Refused::TooMany(TooMany { field: field.clone(), most }));
            assert_eq!(admit(name, &message(most + 1)), refused, "{name}: {field}");
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn fields_with_a_bound_of_their_own_are_there() {
    for (field, most) in LARGER {
        assert!(CONTRACT.counted.iter().any(|known| known == field), "{field}");
        assert!(*most > ELEMENTS_MAX, "{field}");
    }
}

#[test]
fn elements_in_different_places_count_together() {
    let consents = (0..40)
        .map(|_| pb::FragmentConsent {
            saying: Some(pb::ConsentSaying { signals: vec![pb::ConsentSignal::default(); 30], ..Default::default() }),
            identifier: None,
        })
        .collect();
    let fragment = pb::Fragment { consents, ..Default::default() };
    let request = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
    let refused = admit("onefold.v1.PutFragmentRequest", &request.encode_to_vec());
    let field = "fragment.consents.saying.signals".to_owned();
    assert_eq!(refused, Err(Refused::TooMany(TooMany { field, most: ELEMENTS_MAX })));
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let long = vec![0_u8; 2_000];
    let table: [(&str, Vec<u8>); 5] = [
        ("a field beyond the end", [&[0x12, 0xff, 0x7f][..], &long].concat()),
        ("a field beyond the message around it", [&[0x12, 3, 0x22, 0x80, 0x0f][..], &long].concat()),
        ("no field has the number 0", long.clone()),
        ("a group that does not end", [&[0x0b][..], &[0x10, 1].repeat(1_000)].concat()),
        ("a wire type that there is not", [&[0x0f][..], &long].concat()),
    ];
    for (what, bytes) in table {
        assert_eq!(admit("onefold.v1.PutFragmentRequest", &bytes), Err(Refused::Unreadable), "{what}");
        assert!(pb::PutFragmentRequest::decode(bytes.as_slice()).is_err(), "{what}");
    }
    assert_eq!(admit("onefold.v1.GetProfileRequest", &long), Err(Refused::Unreadable));
    assert_eq!(admit("grpc.health.v1.HealthCheckRequest", &long), Ok(()), "not of the contract");
}

#[test]
fn a_refusal_is_read_as_it_was_written() {
    let many = TooMany { field: "fragment.consents".to_owned(), most: 1_024 };
    assert_eq!(TooMany::read(&many.to_string()), Some(many));
    let told_already = "1 field(s) are not valid: rows: at most 7 in all are taken in one message";
    for other in ["", "identifiers: at most 64", "x: at most y in all are taken in one message", told_already] {
        assert_eq!(TooMany::read(other), None, "{other}");
    }
}
