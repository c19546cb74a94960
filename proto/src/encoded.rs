//! Answers that are ready before they are asked for.

use std::fmt;

use prost::bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};

/// An answer: a message, or the very bytes that it encodes to. On the wire nobody can tell them apart; bytes that were
/// kept cost no message, none of its texts, and no encoding.
#[derive(Clone, PartialEq)]
pub enum Encoded<M> {
    /// To be encoded.
    Message(M),
    /// Encoded by whoever kept it: the bytes of an `M`.
    Bytes(Bytes),
}

/// Personal data: neither is shown.
impl<M> fmt::Debug for Encoded<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Message(_) => "Encoded::Message(..)",
            Self::Bytes(_) => "Encoded::Bytes(..)",
        })
    }
}

impl<M: Message + Default> Encoded<M> {
    /// The message.
    ///
    /// # Errors
    /// When bytes are none of an `M`.
    pub fn into_message(self) -> Result<M, DecodeError> {
        match self {
            Self::Message(message) => Ok(message),
            Self::Bytes(bytes) => M::decode(bytes),
        }
    }
}

impl<M: Message + Default> Message for Encoded<M> {
    fn encode_raw(&self, out: &mut impl BufMut) {
        match self {
            Self::Message(message) => message.encode_raw(out),
            Self::Bytes(bytes) => out.put_slice(bytes),
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut message = std::mem::replace(self, Self::Bytes(Bytes::new())).into_message()?;
        message.merge_field(tag, wire_type, from, context)?;
        *self = Self::Message(message);
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Message(message) => message.encoded_len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn clear(&mut self) {
        *self = Self::Bytes(Bytes::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{GetProfileResponse, Profile, Withheld};

    #[test]
    fn bytes_and_message_are_the_same_on_the_wire() {
        let profile = Profile { name: "tenants/a/profiles/p".to_owned(), sequence: 7, ..Default::default() };
        let message = GetProfileResponse { profile: Some(profile), withheld: Vec::new() };
        let bytes = Encoded::<GetProfileResponse>::Bytes(message.encode_to_vec().into());
        let made = Encoded::Message(message.clone());
        assert_eq!(bytes.encode_to_vec(), made.encode_to_vec());
        assert_eq!(bytes.encoded_len(), made.encoded_len());
        assert_eq!(bytes.clone().into_message().unwrap(), message);
        // What comes behind is merged into either, as into the message.
        let withheld = vec![Withheld { field: "records".to_owned(), ..Default::default() }];
        let more = GetProfileResponse { profile: None, withheld };
        for mut either in [bytes, made] {
            either.merge(more.encode_to_vec().as_slice()).unwrap();
            let expected = GetProfileResponse { profile: message.profile.clone(), ..more.clone() };
            assert_eq!(either.clone().into_message().unwrap(), expected);
            either.clear();
            assert_eq!(either.into_message().unwrap(), GetProfileResponse::default());
        }
        assert!(Encoded::<GetProfileResponse>::Bytes(Bytes::from_static(&[0x0a, 0x09])).into_message().is_err());
    }
}
