//! State handles, each behind a tag: the constants and the methods of the same name in Flink's
//! `MetadataV2V3SerializerBase`, and `ChannelStateHandleSerializerV1` and `V2`.

use std::io::{Read, Write};

use super::reference::{Extent, Reference, Role};
use super::tape::{Tape, malformed};
use crate::error::{Error, Kind, Result};

const NULL: u8 = 0;
const BYTE_STREAM: u8 = 1;
const FILE: u8 = 2;
const KEY_GROUPS: u8 = 3;
const PARTITIONABLE: u8 = 4;
const INCREMENTAL: u8 = 5;
const RELATIVE: u8 = 6;
const SAVEPOINT_KEY_GROUPS: u8 = 7;
const CHANGELOG: u8 = 8;
const CHANGELOG_BYTES: u8 = 9;
const CHANGELOG_FILES: u8 = 10;
const INCREMENTAL_V2: u8 = 11;
const KEY_GROUPS_V2: u8 = 12;
const CHANGELOG_FILES_V2: u8 = 13;
const CHANGELOG_V2: u8 = 14;
const SEGMENT: u8 = 15;
const EMPTY_SEGMENT: u8 = 16;
const SEGMENT_PARTITIONABLE: u8 = 17;

/// In `ChannelStateHandleSerializerV2`: one channel, to either side, and merged ones.
const CHANNEL: [u8; 2] = [1, 2];
const MERGED_CHANNELS: [u8; 2] = [3, 4];

/// `OperatorStateHandle.Mode` has three values, `CheckpointedStateScope` two.
const MODES: u8 = 3;
const SCOPES: i32 = 2;

/// How deep handles may lie in one another. Flink's own lie three deep: a changelog over key groups over a file.
const MAX_DEPTH: u32 = 8;

/// What is asked for each reference: another path in place of its own, or none.
pub trait Relocation: FnMut(&Reference) -> Result<Option<String>> {}
impl<F: FnMut(&Reference) -> Result<Option<String>>> Relocation for F {}

/// Reads handles from a tape.
pub struct Handles<R: Read, W: Write, F> {
    pub tape: Tape<R, W>,
    each: F,
    pub references: u64,
}

impl<R: Read, W: Write, F: Relocation> Handles<R, W, F> {
    pub fn new(source: R, sink: W, each: F) -> Self {
        Handles { tape: Tape::new(source, sink), each, references: 0 }
    }

    /// `deserializeKeyedStateHandle`
    pub fn keyed(&mut self) -> Result<()> {
        self.keyed_within(0)
    }

    /// `deserializeOperatorStateHandle`
    pub fn operator(&mut self) -> Result<()> {
        let at = self.tape.at();
        let tag = self.tape.u8()?;
        match tag {
            NULL => return Ok(()),
            PARTITIONABLE | SEGMENT_PARTITIONABLE => {}
            _ => return Err(unknown(at, "operator state handle", tag)),
        }
        for _ in 0..self.tape.count()? {
            self.tape.skip_text()?;
            let at = self.tape.at();
            let mode = self.tape.u8()?;
            if mode >= MODES {
                return Err(unknown(at, "distribution mode", mode));
            }
            self.skip_longs()?;
        }
        if tag == SEGMENT_PARTITIONABLE {
            self.path(Role::Operator, Extent::Directory)?;
            self.path(Role::Operator, Extent::Directory)?;
            self.tape.skip(1)?;
        }
        self.stream(Role::Operator, Flavour::AsWritten, 0)
    }

    /// State of either side of channels: `V1` wrote one channel a handle and no tag before it.
    pub fn channels(&mut self, tagged: bool) -> Result<()> {
        for _ in 0..self.tape.count()? {
            let at = self.tape.at();
            let tag = if tagged { self.tape.u8()? } else { CHANNEL[0] };
            if CHANNEL.contains(&tag) {
                // The subtask, and two numbers that name the channel.
                self.tape.skip(3 * 4)?;
                self.skip_longs()?;
                self.tape.skip(8)?;
                self.stream(Role::Channel, Flavour::AsWritten, 0)?;
            } else if MERGED_CHANNELS.contains(&tag) {
                self.tape.skip(4 + 8)?;
                self.stream(Role::Channel, Flavour::AsWritten, 0)?;
                self.skip_bytes()?;
            } else {
                return Err(unknown(at, "channel state handle", tag));
            }
        }
        Ok(())
    }

    /// `deserializeStreamStateHandle`, of an operator's coordinator.
    pub fn coordinator(&mut self) -> Result<()> {
        self.stream(Role::Coordinator, Flavour::AsWritten, 0)
    }

    /// Bytes behind their length, a signed integer.
    pub fn skip_bytes(&mut self) -> Result<()> {
        let length = self.tape.count()?;
        self.tape.skip(length.into())
    }

    fn keyed_within(&mut self, depth: u32) -> Result<()> {
        let at = self.tape.at();
        check_depth(at, depth)?;
        let tag = self.tape.u8()?;
        match tag {
            NULL => {}
            KEY_GROUPS | KEY_GROUPS_V2 | SAVEPOINT_KEY_GROUPS => {
                self.tape.skip(4)?;
                self.skip_longs()?;
                self.stream(Role::Keyed, Flavour::AsWritten, depth + 1)?;
                if tag == KEY_GROUPS_V2 {
                    self.tape.skip_text()?;
                }
            }
            INCREMENTAL | INCREMENTAL_V2 => {
                self.tape.skip(8)?;
                self.tape.skip_text()?;
                self.tape.skip(if tag == INCREMENTAL_V2 { 4 + 4 + 8 } else { 4 + 4 })?;
                self.stream(Role::Keyed, Flavour::AsWritten, depth + 1)?;
                // The shared files, then the private ones.
                for _ in 0..2 {
                    for _ in 0..self.tape.count()? {
                        self.tape.skip_text()?;
                        self.stream(Role::Keyed, Flavour::AsWritten, depth + 1)?;
                    }
                }
                if tag == INCREMENTAL_V2 {
                    self.tape.skip_text()?;
                }
            }
            CHANGELOG | CHANGELOG_V2 => {
                self.tape.skip(4 + 4 + 8)?;
                // The materialised part, then the changes since.
                for _ in 0..2 {
                    for _ in 0..self.tape.count()? {
                        self.keyed_within(depth + 1)?;
                    }
                }
                self.tape.skip(if tag == CHANGELOG_V2 { 8 + 8 } else { 8 })?;
                self.tape.skip_text()?;
            }
            CHANGELOG_BYTES => {
                self.tape.skip(4 + 4 + 8 + 8)?;
                for _ in 0..self.tape.count()? {
                    self.tape.skip(4)?;
                    self.skip_bytes()?;
                }
                self.tape.skip_text()?;
            }
            CHANGELOG_FILES | CHANGELOG_FILES_V2 => {
                self.tape.skip(4 + 4)?;
                for _ in 0..self.tape.count()? {
                    self.tape.skip(8)?;
                    self.stream(Role::Changelog, Flavour::Changes, depth + 1)?;
                }
                self.tape.skip(8 + 8)?;
                self.tape.skip_text()?;
                if tag == CHANGELOG_FILES_V2 {
                    self.tape.skip_text()?;
                }
            }
            _ => return Err(unknown(at, "keyed state handle", tag)),
        }
        Ok(())
    }

    /// `deserializeStreamStateHandle`
    fn stream(&mut self, role: Role, flavour: Flavour, depth: u32) -> Result<()> {
        let at = self.tape.at();
        check_depth(at, depth)?;
        let tag = self.tape.u8()?;
        match tag {
            NULL | EMPTY_SEGMENT => Ok(()),
            FILE => {
                let length = self.tape.size()?;
                self.path(role, flavour.extent(length))
            }
            RELATIVE => self.relative(role, flavour),
            SEGMENT => {
                let (start, length) = (self.tape.size()?, self.tape.size()?);
                let at = self.tape.at();
                let scope = self.tape.i32()?;
                if !(0..SCOPES).contains(&scope) {
                    return Err(unknown(at, "scope", scope));
                }
                if start.checked_add(length).is_none() {
                    return Err(malformed(at, "a segment ends beyond the longest file"));
                }
                self.path(role, Extent::Segment { start, length })?;
                self.tape.skip_text()
            }
            BYTE_STREAM => {
                self.tape.skip_text()?;
                self.skip_bytes()
            }
            KEY_GROUPS => {
                self.tape.skip(4)?;
                self.skip_longs()?;
                self.stream(role, flavour, depth + 1)
            }
            _ => Err(unknown(at, "stream state handle", tag)),
        }
    }

    /// A path whose sizes came before it, and which may be given another.
    fn path(&mut self, role: Role, extent: Extent) -> Result<()> {
        let (path, span) = self.tape.hold_text()?;
        let reference = Reference { role, extent, path, relative: false, span };
        self.references += 1;
        let other = (self.each)(&reference)?;
        self.tape.put_text(other.as_deref().unwrap_or(&reference.path))
    }

    /// A path whose size comes after it. It stays as it is: wherever `_metadata` goes, the file goes with it.
    fn relative(&mut self, role: Role, flavour: Flavour) -> Result<()> {
        let (path, span) = self.tape.hold_text()?;
        self.tape.put_text(&path)?;
        let extent = flavour.extent(self.tape.size()?);
        let reference = Reference { role, extent, path, relative: true, span };
        self.references += 1;
        match (self.each)(&reference)? {
            None => Ok(()),
            Some(_) => {
                Err(Kind::InvalidArgument.error("a file beside its metadata is moved with it, not renamed in it"))
            }
        }
    }

    fn skip_longs(&mut self) -> Result<()> {
        let count = self.tape.count()?;
        self.tape.skip(u64::from(count) * 8)
    }
}

/// What the length in a handle counts.
#[derive(Clone, Copy)]
enum Flavour {
    AsWritten,
    Changes,
}

impl Flavour {
    fn extent(self, length: u64) -> Extent {
        match self {
            Flavour::AsWritten => Extent::Whole(length),
            Flavour::Changes => Extent::Unsized,
        }
    }
}

fn check_depth(at: u64, depth: u32) -> Result<()> {
    if depth > MAX_DEPTH { Err(malformed(at, "state handles lie too deep in one another")) } else { Ok(()) }
}

fn unknown(at: u64, what: &str, tag: impl std::fmt::Display) -> Error {
    malformed(
        at,
        format_args!(
            "the {what} {tag} is unknown: a newer Flink wrote it, or the metadata is damaged; use a newer release of Sealpoint"
        ),
    )
}
