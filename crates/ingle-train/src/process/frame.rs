//! Frames: a kind, a length and a payload.

use std::io::{self, Read, Write};

/// The protocol's version.
pub(super) const VERSION: u32 = 1;

pub(super) const HELLO: u8 = b'H';
pub(super) const STEP: u8 = b'S';
pub(super) const ACT: u8 = b'A';
pub(super) const GET: u8 = b'G';
pub(super) const PUT: u8 = b'P';
pub(super) const REFUSED: u8 = b'E';

/// The longest payload. What claims to be longer is no frame: text on the wrong stream, say.
const LONGEST: u32 = 1 << 30;

/// A frame.
#[derive(Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Reads a frame; none if the stream ends before it begins. Memory is taken as the payload comes in.
    pub(super) fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let mut kind = Vec::with_capacity(1);
        stream.take(1).read_to_end(&mut kind)?;
        let [kind] = kind[..] else { return Ok(None) };
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if ![HELLO, STEP, ACT, GET, PUT, REFUSED].contains(&kind) || length > LONGEST {
            let reason = format!("no frame begins with the byte {kind} and the length {length}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let mut payload = Vec::new();
        let read = stream.take(u64::from(length)).read_to_end(&mut payload)?;
        if read < length as usize {
            let reason = format!("a frame of {length} bytes ended after {read}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        Ok(Some(Self { kind, payload }))
    }

    /// Writes the frame at once.
    pub(super) fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.payload.len()).ok().filter(|length| *length <= LONGEST);
        let Some(length) = length else {
            let reason = format!("a frame of {} bytes is too long", self.payload.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        };
        let mut bytes = Vec::with_capacity(5 + self.payload.len());
        bytes.push(self.kind);
        bytes.extend(length.to_le_bytes());
        bytes.extend(&self.payload);
        stream.write_all(&bytes)?;
        stream.flush()
    }
}

/// Appends reals.
pub(super) fn put_reals(payload: &mut Vec<u8>, values: &[f32]) {
    payload.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Takes numbers off the front of a payload; every length is checked.
pub(super) struct Parser<'a>(pub(super) &'a [u8]);

impl<'a> Parser<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let Some((front, rest)) = self.0.split_at_checked(count) else {
            return Err(format!("{count} bytes were expected where {} are left", self.0.len()));
        };
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn integer(&mut self) -> Result<u32, String> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.bytes(4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn long(&mut self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.bytes(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn reals(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let bytes = self.bytes(count.checked_mul(4).ok_or("a count that overflows")?)?;
        let reals = bytes.chunks_exact(4).map(|bytes| {
            let mut real = [0; 4];
            real.copy_from_slice(bytes);
            f32::from_le_bytes(real)
        });
        Ok(reals.collect())
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let length = self.integer()? as usize;
        String::from_utf8(self.bytes(length)?.to_vec()).map_err(|error| error.to_string())
    }

    pub(super) fn finish(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        let frames = [(STEP, vec![1, 2, 3]), (GET, vec![]), (REFUSED, b"no".to_vec())];
        for (kind, payload) in frames.clone() {
            Frame { kind, payload }.write(&mut bytes).unwrap();
        }
        let mut stream = &bytes[..];
        for (kind, payload) in frames {
            assert_eq!(Frame::read(&mut stream).unwrap(), Some(Frame { kind, payload }));
        }
        assert_eq!(Frame::read(&mut stream).unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut bytes = Vec::new();
        Frame { kind: ACT, payload: vec![7; 9] }.write(&mut bytes).unwrap();
        for end in 1..bytes.len() {
            assert_eq!(
                Frame::read(&mut &bytes[..end]).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof,
                "{end}"
            );
        }
        assert!(Frame::read(&mut &b"Traceback"[..]).is_err());
        let huge = [&[STEP][..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(Frame::read(&mut &huge[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn payloads_are_taken_apart_with_their_lengths_checked() {
        let mut payload = 3_u32.to_le_bytes().to_vec();
        payload.extend(b"abc");
        put_reals(&mut payload, &[1.5, -2.0]);
        let mut parser = Parser(&payload);
        assert_eq!(parser.text().unwrap(), "abc");
        assert_eq!(parser.reals(2).unwrap(), [1.5, -2.0]);
        parser.finish().unwrap();
        let mut parser = Parser(&payload);
        assert!(parser.reals(5).is_err() && parser.reals(usize::MAX).is_err());
        assert!(Parser(&payload).finish().is_err());
        assert!(Parser(&[255, 255, 255, 255, 0]).text().is_err());
    }
}
