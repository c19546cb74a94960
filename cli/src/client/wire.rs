//! Messages as proto JSON, and calls as a line for grpcurl. Both come from the descriptors, so they say what the wire says.

use std::sync::OnceLock;

use onefold_proto::v1::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use crate::command::Failure;

fn descriptor(message: &str) -> MessageDescriptor {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set was encoded by our own build")
    });
    let found = pool.get_message_by_name(&format!("onefold.v1.{message}"));
    found.expect("callers name messages of the package by constants, and a test walks the commands")
}

fn dynamic<M: Message>(name: &str, message: &M) -> DynamicMessage {
    DynamicMessage::decode(descriptor(name), message.encode_to_vec().as_slice())
        .expect("a message that was encoded by its generated code decodes by its descriptor")
}

fn value(message: &DynamicMessage, options: &SerializeOptions) -> Value {
    let value = message.serialize_with_options(serde_json::value::Serializer, options);
    // The one way to fail is an `Any` of an unknown type, and the package has none.
    value.unwrap_or(Value::Null)
}

/// The message `onefold.v1.{name}` as proto JSON, every field of it.
pub fn json<M: Message>(name: &str, message: &M) -> Value {
    value(&dynamic(name, message), &SerializeOptions::new().skip_default_fields(false))
}

/// Reads the message `onefold.v1.{name}` from proto JSON.
///
/// # Errors
/// A [`Failure`] that names file and place.
pub fn from_json<M: Message + Default>(name: &str, text: &str, file: &str) -> Result<M, Failure> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(descriptor(name), &mut reader, &options)
        .and_then(|message| reader.end().map(|()| message));
    let message = read.map_err(|error| {
        let fields: Vec<String> = descriptor(name).fields().map(|field| field.json_name().to_owned()).collect();
        Failure::usage(format!(
            "{file}: is no {name} as JSON: {error}\nhint: the fields of {name} are {}; `onefold proto export` tells what they mean",
            fields.join(", ")
        ))
    })?;
    message.transcode_to().map_err(|error| Failure::new(format!("{file}: {error}")))
}

/// The call behind a command, for a terminal with grpcurl.
pub fn grpcurl<M: Message>(address: &str, method: &str, name: &str, request: &M) -> String {
    let request = value(&dynamic(name, request), &SerializeOptions::new()).to_string();
    // The one character that ends a quoted word of the shell.
    let quoted = request.replace('\'', r"'\''");
    if let Some(address) = address.strip_prefix("https://") {
        return format!("grpcurl -cacert CA.pem -d '{quoted}' {address} onefold.v1.{method}");
    }
    format!("grpcurl -plaintext -d '{quoted}' {address} onefold.v1.{method}")
}

#[cfg(test)]
mod tests {
    use onefold_proto::v1 as pb;

    use super::*;

    #[test]
    fn json_has_all_fields_and_reads_back() {
        let source = pb::Source {
            name: "crm".to_owned(),
            contract: Some(pb::DataContract {
                attributes: vec![pb::AttributeRule {
                    name: "a".to_owned(),
                    kind: pb::AttributeKind::Date as i32,
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let value = json("Source", &source);
        assert_eq!((&value["trust"], &value["displayName"]), (&0.into(), &"".into()));
        assert_eq!(value["contract"]["attributes"][0]["kind"], "ATTRIBUTE_KIND_DATE");
        let read: pb::Source = from_json("Source", &value.to_string(), "x").map_err(|f| f.message).unwrap();
        assert_eq!(read, source);
        let told = from_json::<pb::Source>("Source", r#"{"nmae":"x"}"#, "crm.json").map(drop).map_err(|f| f.message);
        let told = told.unwrap_err();
        assert!(told.starts_with("crm.json: ") && told.contains("nmae") && told.contains("displayName"), "{told}");
    }

    #[test]
    fn a_shell_takes_the_call_as_one_word() {
        let request = pb::GetProfileRequest { name: "tenants/o'neill/profiles/p".to_owned(), ..Default::default() };
        let line = grpcurl("a:1", "ProfileService/GetProfile", "GetProfileRequest", &request);
        assert_eq!(
            line,
            r#"grpcurl -plaintext -d '{"name":"tenants/o'\''neill/profiles/p"}' a:1 onefold.v1.ProfileService/GetProfile"#
        );
    }
}
