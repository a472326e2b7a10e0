//! Bytes that are read once, from the front, and copied on the way.

use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::ops::Range;

use super::text;
use crate::error::{Error, Kind, Result};

/// How much of what is passed over is held at once.
const BLOCK: usize = 16 * 1024;

/// A source, and a sink that is given every byte read from it, but for the texts put in the place of others.
pub struct Tape<R: Read, W: Write> {
    source: BufReader<R>,
    sink: BufWriter<W>,
    at: u64,
}

impl<R: Read, W: Write> Tape<R, W> {
    pub fn new(source: R, sink: W) -> Tape<R, W> {
        Tape { source: BufReader::with_capacity(BLOCK, source), sink: BufWriter::with_capacity(BLOCK, sink), at: 0 }
    }

    /// The offset of the next byte in the source.
    pub fn at(&self) -> u64 {
        self.at
    }

    pub fn u8(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A number of things that follow.
    pub fn count(&mut self) -> Result<u32> {
        let at = self.at;
        let count = self.i32()?;
        u32::try_from(count).map_err(|_| malformed(at, format_args!("the count {count} is negative")))
    }

    /// A length or an offset in a file.
    pub fn size(&mut self) -> Result<u64> {
        let at = self.at;
        let size = self.i64()?;
        u64::try_from(size).map_err(|_| malformed(at, format_args!("the size {size} is negative")))
    }

    /// Passes over so many bytes.
    pub fn skip(&mut self, mut bytes: u64) -> Result<()> {
        let mut block = [0; BLOCK];
        while bytes > 0 {
            let part = bytes.min(BLOCK as u64) as usize;
            self.fill(&mut block[..part])?;
            self.put(&block[..part])?;
            bytes -= part as u64;
        }
        Ok(())
    }

    /// Passes over all that is left.
    pub fn skip_rest(&mut self) -> Result<()> {
        let mut block = [0; BLOCK];
        loop {
            match self.source.read(&mut block) {
                Ok(0) => return self.sink.flush().map_err(writing),
                Ok(read) => {
                    self.put(&block[..read])?;
                    self.at += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(reading(error)),
            }
        }
    }

    /// Passes over a text.
    pub fn skip_text(&mut self) -> Result<()> {
        let length = self.array().map(u16::from_be_bytes)?;
        self.skip(length.into())
    }

    /// A text and where it stands. It is not copied: [`put_text`](Self::put_text) follows, with this text or another.
    pub fn hold_text(&mut self) -> Result<(String, Range<u64>)> {
        let start = self.at;
        let mut length = [0; 2];
        self.fill(&mut length)?;
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        self.fill(&mut bytes)?;
        let text = text::decode(&bytes).ok_or_else(|| malformed(start, "a path is no text of Java's"))?;
        Ok((text, start..self.at))
    }

    pub fn put_text(&mut self, text: &str) -> Result<()> {
        let bytes = text::encode(text);
        let length = u16::try_from(bytes.len())
            .map_err(|_| Kind::InvalidArgument.error("Flink's metadata cannot hold a path of more than 65535 bytes"))?;
        self.put(&length.to_be_bytes())?;
        self.put(&bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        self.put(&bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.source.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Kind::Truncated.error(format_args!(
                "the metadata ends inside the {} bytes that begin at byte {}",
                bytes.len(),
                self.at
            )),
            _ => reading(error),
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(writing)
    }
}

/// What is wrong with the bytes from `at` on.
pub fn malformed(at: u64, what: impl std::fmt::Display) -> Error {
    Kind::Malformed.error(format_args!("the metadata is malformed at byte {at}: {what}"))
}

fn reading(error: std::io::Error) -> Error {
    Error::io("read the metadata", &error)
}

fn writing(error: std::io::Error) -> Error {
    Error::io("write the metadata", &error)
}
