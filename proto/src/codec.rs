//! How servers read messages: counted first ([`crate::bounds`]), then decoded.

use std::marker::PhantomData;

use prost::bytes::Buf;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::bounds::{self, Refused};

/// prost's codec behind a count of what messages bring.
#[derive(Clone, Debug)]
pub struct Counted<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Counted<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Counted<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CountedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountedDecoder(ProstDecoder::default())
    }
}

/// Decodes what [`bounds::admit`] lets through.
#[derive(Clone, Debug)]
pub struct CountedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Name + Default> Decoder for CountedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Small ones, which are nearly all, cost a comparison.
        if from.remaining() > bounds::ELEMENTS_MAX as usize {
            let bytes = from.chunk();
            if bytes.len() < from.remaining() {
                return Err(Status::internal("a message came in pieces"));
            }
            bounds::admit(&U::full_name(), bytes).map_err(status)?;
        }
        self.0.decode(from)
    }
}

fn status(refused: Refused) -> Status {
    match refused {
        Refused::TooMany(many) => Status::invalid_argument(many.to_string()),
        // As prost says it.
        Refused::Unreadable => {
            Status::internal("failed to decode Protobuf message: a field does not end where it says")
        }
    }
}
