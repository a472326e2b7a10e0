//! Single files, wherever they are: standard input and output, files of any kind, objects of a store.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use sealpoint::envelope::sidecar;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::lifecycle::progress::Progress;
use sealpoint::lifecycle::sealed_file::Blocks;
use sealpoint::store::{Location, Scheme, Store, StoreOptions, Writer};
use sealpoint::stream::ReadAt;
use tokio::runtime::Runtime;

use crate::output;

/// What stands for standard input or output.
pub const STREAM: &str = "-";
/// How much is read of a stream at once.
const BLOCK: usize = 256 * 1024;
/// How far back in a stream can be read: a head is read with what follows it, and that is read again.
const BACK: usize = 128 * 1024;
/// How soon it is noticed that a stream is not to be waited for any longer.
const PACE: Duration = Duration::from_millis(50);

/// Where single files are read and written.
pub struct Files {
    runtime: Runtime,
    options: StoreOptions,
    /// How far it is; by it, it is ended.
    pub progress: Arc<Progress>,
}

impl Files {
    pub fn new(options: StoreOptions) -> Result<Files> {
        // With a thread of its own: parts of an upload go on while a stream is waited for.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("start the runtime", &error))?;
        Ok(Files { runtime, options, progress: Arc::default() })
    }

    /// Of an object, so much is read at once.
    pub fn input(&self, place: &str, block: u64) -> Result<Input<'_>> {
        if place == STREAM {
            if io::stdin().is_terminal() {
                aside!("sealpoint: reading from the terminal, end with Ctrl-D");
            }
            return Ok(Input::Stream(Feed::of(|| Ok(Box::new(io::stdin())), &self.progress)));
        }
        let location = Location::parse(place)?;
        if location.kind() == Scheme::File {
            return file(&location, &self.progress).map_err(|error| Error::io(format_args!("open {place}"), &error));
        }
        let store = Store::open(&location, &self.options)?;
        let object = self.read(store.stat(&location))?;
        let object = object.ok_or_else(|| Kind::NotFound.error(format_args!("{location}: there is no such file")))?;
        let blocks = Blocks::new(object.size, block, move |range| self.read(store.read(&location, range)));
        Ok(Input::Object(blocks, object.size))
    }

    /// A new file, or standard output.
    pub fn output(&self, place: &str) -> Result<Output<'_>> {
        if place == STREAM {
            return Ok(Output { files: self, writer: None });
        }
        let location = Location::parse(place)?;
        let store = Store::open(&location, &self.options)?;
        let writer = self.read(store.writer_of_new(&location))?;
        Ok(Output { files: self, writer: Some(writer) })
    }

    /// The sidecar of a file's directory, or of the one above.
    pub fn beside(&self, file: &Location, place: sidecar::Place) -> Result<Option<Vec<u8>>> {
        let directory = match place {
            sidecar::Place::Directory => file.parent(),
            sidecar::Place::Parent => file.parent().and_then(|directory| directory.parent()),
        };
        let Some(directory) = directory else { return Ok(None) };
        let store = Store::open(&directory, &self.options)?;
        let found = self.read(store.read_versioned(&directory.join(sidecar::FILE_NAME)))?;
        Ok(found.map(|(bytes, _)| bytes.into()))
    }

    fn read<R>(&self, reading: impl Future<Output = Result<R>>) -> Result<R> {
        self.runtime.block_on(self.progress.unless_stopped(reading))?
    }
}

/// A file of this machine, or a pipe.
fn file(location: &Location, progress: &Arc<Progress>) -> io::Result<Input<'static>> {
    let path = Path::new("/").join(location.key());
    let found = path.metadata()?;
    if found.is_file() {
        let file = File::open(&path)?;
        return Ok(Input::File(Feed::of(|| Ok(Box::new(file)), progress), found.len()));
    }
    // A pipe opens only once somebody writes into it.
    Ok(Input::Stream(Feed::of(move || Ok(Box::new(File::open(path)?)), progress)))
}

/// What a file is read from, in order: an offset may lie a little before the one that was read last, and no more.
pub enum Input<'a> {
    Stream(Feed),
    File(Feed, u64),
    Object(Blocks<'a>, u64),
}

impl Input<'_> {
    /// The bytes that there are, where that is known before they are read.
    pub fn size(&self) -> u64 {
        match self {
            Input::Stream(_) => 0,
            Input::File(_, size) | Input::Object(_, size) => *size,
        }
    }
}

impl ReadAt for Input<'_> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Stream(feed) | Input::File(feed, _) => feed.read_at(offset, buf),
            Input::Object(blocks, _) => blocks.read_at(offset, buf),
        }
    }
}

/// Bytes that come in order, read by a thread of their own: a read that waits cannot be interrupted, who waits for the
/// thread can.
pub struct Feed {
    blocks: Receiver<io::Result<Vec<u8>>>,
    /// What was read last, the first byte of it at `at`.
    held: Vec<u8>,
    at: u64,
    ended: bool,
    progress: Arc<Progress>,
}

impl Feed {
    fn of(open: impl FnOnce() -> io::Result<Box<dyn Read>> + Send + 'static, progress: &Arc<Progress>) -> Feed {
        let (sender, blocks) = sync_channel(1);
        thread::spawn(move || {
            let mut source = match open() {
                Ok(source) => source,
                Err(error) => return drop(sender.send(Err(error))),
            };
            loop {
                let mut block = vec![0; BLOCK];
                let read = match source.read(&mut block) {
                    Ok(0) => return,
                    Ok(read) => Ok(read),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = read.is_err();
                let sent = sender.send(read.map(|read| {
                    block.truncate(read);
                    block
                }));
                if failed || sent.is_err() {
                    return;
                }
            }
        });
        Feed { blocks, held: Vec::new(), at: 0, ended: false, progress: Arc::clone(progress) }
    }

    /// False at the end.
    fn more(&mut self) -> io::Result<bool> {
        while !self.ended {
            self.progress.check().map_err(io::Error::other)?;
            match self.blocks.recv_timeout(PACE) {
                Ok(block) => {
                    let block = block?;
                    let gone = self.held.len().saturating_sub(BACK);
                    self.held.drain(..gone);
                    self.at += gone as u64;
                    self.held.extend_from_slice(&block);
                    return Ok(true);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
        Ok(false)
    }
}

impl ReadAt for Feed {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let skip =
                offset.checked_sub(self.at).ok_or_else(|| io::Error::other("a stream was to be read backwards"))?;
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            if let Some(held) = self.held.get(skip..).filter(|held| !held.is_empty()) {
                let len = held.len().min(buf.len());
                buf[..len].copy_from_slice(&held[..len]);
                return Ok(len);
            }
            if !self.more()? {
                return Ok(0);
            }
        }
    }
}

/// A new file that appears under its name once it is finished, and leaves nothing if it is dropped before; or standard
/// output.
pub struct Output<'a> {
    files: &'a Files,
    /// None for standard output.
    writer: Option<Writer>,
}

impl Output<'_> {
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.files.progress.check()?;
        match &mut self.writer {
            Some(writer) => self.files.runtime.block_on(writer.write(Bytes::copy_from_slice(bytes))),
            None => output::write(bytes),
        }
    }

    pub fn finish(mut self) -> Result<()> {
        self.files.progress.check()?;
        match self.writer.take() {
            Some(writer) => self.files.runtime.block_on(writer.finish()),
            None => Ok(()),
        }
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        if let Err(error) = self.files.runtime.block_on(writer.abort()) {
            ::log::warn!("what was written could not be removed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_in_order_and_a_head_s_length_back() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let source = io::Cursor::new(bytes.clone());
        let mut feed = Feed::of(|| Ok(Box::new(source)), &Arc::default());
        let mut buf = [0; 1000];
        for offset in [0, 4096, 100, 300_000, 299_000, 999_900] {
            let read = feed.read_at(offset, &mut buf).unwrap();
            assert!(read > 0 && buf[..read] == bytes[offset as usize..][..read], "{offset}");
        }
        assert_eq!(feed.read_at(1_000_000, &mut buf).unwrap(), 0);
        assert!(feed.read_at(0, &mut buf).is_err());
    }

    #[test]
    fn a_stream_that_fails_is_not_a_short_one() {
        let mut feed = Feed::of(|| Err(io::Error::other("gone")), &Arc::default());
        assert_eq!(feed.read_at(0, &mut [0; 9]).unwrap_err().to_string(), "gone");
    }
}
