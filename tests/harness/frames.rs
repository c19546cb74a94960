//! HTTP/2 by hand: frames that no client library would send.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    #![allow(missing_docs, reason = "as RFC 9113 names them")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    #![allow(missing_docs, reason = "as RFC 9113 names them")]
    pub const NONE: u8 = 0;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// "You are costing me too much."
pub const ENHANCE_YOUR_CALM: u32 = 11;
/// "Nothing was done; try elsewhere or later."
pub const REFUSED_STREAM: u32 = 7;

/// A frame that came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its kind.
    pub kind: u8,
    /// Of which stream; 0 is the connection.
    pub stream: u32,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    ///
    /// # Panics
    /// When it is of another kind.
    #[must_use]
    pub fn code(&self) -> u32 {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            other => panic!("a frame of kind {other} has no code"),
        };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as HPACK has them, every one spelled out.
#[must_use]
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    fn text(text: &str, out: &mut Vec<u8>) {
        let mut length = text.len();
        if length < 127 {
            out.push(length as u8);
        } else {
            out.push(127);
            length -= 127;
            while length >= 128 {
                out.push((length % 128) as u8 | 128);
                length /= 128;
            }
            out.push(length as u8);
        }
        out.extend_from_slice(text.as_bytes());
    }
    let mut out = Vec::new();
    for (name, value) in headers {
        out.push(0);
        text(name, &mut out);
        text(value, &mut out);
    }
    out
}

/// The headers of a call of this path, with more behind them.
#[must_use]
pub fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "onefold"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    block(&[&usual, more].concat())
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Connects and greets; with a window of this size for the answers of each stream.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr, window: u32) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let mut wire = Self { stream };
        let mut settings = vec![0, 4];
        settings.extend_from_slice(&window.to_be_bytes());
        let greeting = [PREFACE, &frame(kind::SETTINGS, flag::NONE, 0, &settings)].concat();
        wire.send(&greeting).await?;
        Ok(wire)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the other side has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Begins a call on a stream.
    ///
    /// # Errors
    /// When the other side has closed.
    pub async fn begin(&mut self, stream: u32, path: &str) -> io::Result<()> {
        self.send(&frame(kind::HEADERS, flag::END_HEADERS, stream, &call(path, &[]))).await
    }

    /// The next frame; `None` at the end. Settings and pings are answered.
    ///
    /// # Panics
    /// When nothing comes for half a minute.
    pub async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some((head[4], Frame { kind: head[3], stream, payload }))
        };
        let (flags, next) = tokio::time::timeout(Duration::from_secs(30), read).await.expect("something comes")?;
        if next.kind == kind::SETTINGS && flags & flag::ACK == 0 {
            let _ = self.send(&frame(kind::SETTINGS, flag::ACK, 0, &[])).await;
        }
        if next.kind == kind::PING && flags & flag::ACK == 0 {
            let _ = self.send(&frame(kind::PING, flag::ACK, 0, &next.payload)).await;
        }
        Some(next)
    }

    /// The next frame of this kind.
    pub async fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let next = self.next().await?;
            if next.kind == kind {
                return Some(next);
            }
        }
    }

    /// Reads until the other side closes; why it does, if it says so.
    pub async fn farewell(&mut self) -> Option<u32> {
        let mut why = None;
        while let Some(next) = self.next().await {
            if next.kind == kind::GOAWAY {
                why = Some(next.code());
            }
        }
        why
    }
}
