//! The whole of `_metadata`: Flink's `Checkpoints.loadCheckpointMetadata`, and the serializer of each version.

use std::io::{self, Read, Write};

use super::handles::{Handles, Relocation};
use super::reference::Reference;
use super::tape::malformed;
use crate::error::{Kind, Result};

/// The name of the file in a checkpoint's or savepoint's directory.
pub const METADATA: &str = "_metadata";

/// `Checkpoints.HEADER_MAGIC_NUMBER`
const MAGIC: i32 = 0x4960_672d;
/// `MetadataV2V3SerializerBase.MASTER_STATE_MAGIC_NUMBER`
const MASTER_STATE_MAGIC: i32 = 0xc96b_1696_u32 as i32;
/// How a serialised Java object begins (`java.io.ObjectStreamConstants`).
const JAVA_OBJECT: [u8; 4] = [0xac, 0xed, 0, 5];

/// What `_metadata` says besides its references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The version of the format: 4 from Flink 1.15 on, 6 in Flink 2.3.
    pub version: u32,
    /// The number of the checkpoint.
    pub checkpoint_id: u64,
    /// The operators that have state.
    pub operators: u32,
    /// How often files and directories are named; one file may be named many times.
    pub references: u64,
}

/// Gives every reference in the order in which they stand, and reads on to the end of the bytes.
pub fn read(source: impl Read, mut each: impl FnMut(&Reference) -> Result<()>) -> Result<Summary> {
    walk(source, io::sink(), |reference| each(reference).map(|()| None))
}

/// Copies `_metadata`, asking for each reference whether another path is to stand in place of its own. A
/// [relative](Reference::relative) one can be given none.
pub fn relocate(
    source: impl Read,
    sink: impl Write,
    each: impl FnMut(&Reference) -> Result<Option<String>>,
) -> Result<Summary> {
    walk(source, sink, each)
}

fn walk(source: impl Read, sink: impl Write, each: impl Relocation) -> Result<Summary> {
    let mut handles = Handles::new(source, sink, each);
    if handles.tape.i32()? != MAGIC {
        return Err(malformed(0, "it does not begin as metadata of Flink's do"));
    }
    let version = Version::new(handles.tape.i32()?)?;
    let checkpoint_id = handles.tape.size()?;
    for _ in 0..handles.tape.count()? {
        master_state(&mut handles)?;
    }
    let operators = handles.tape.count()?;
    for _ in 0..operators {
        operator(&mut handles, version)?;
    }
    if version.has_properties() {
        let at = handles.tape.at();
        if handles.tape.array()? != JAVA_OBJECT {
            return Err(malformed(at, "the checkpoint's properties are no serialised object of Java's"));
        }
    }
    handles.tape.skip_rest()?;
    Ok(Summary { version: version.0, checkpoint_id, operators, references: handles.references })
}

#[derive(Clone, Copy)]
struct Version(u32);

impl Version {
    fn new(version: i32) -> Result<Version> {
        match version {
            2..=6 => Ok(Version(version as u32)),
            1 => Err(Kind::UnsupportedVersion
                .error("the metadata has version 1, that of Flink 1.1 and 1.2, which Flink itself reads no more")),
            _ => Err(Kind::UnsupportedVersion.error(format_args!(
                "the metadata has version {version}, at byte 4, and this release knows 2 to 6: use a newer release of Sealpoint"
            ))),
        }
    }

    fn has_names(self) -> bool {
        self.0 >= 5
    }

    fn has_coordinators_and_channels(self) -> bool {
        self.0 >= 3
    }

    fn has_properties(self) -> bool {
        self.0 >= 4
    }

    fn tags_channels(self) -> bool {
        self.0 >= 6
    }
}

/// `deserializeMasterState`: what hooks of the JobManager saved.
fn master_state<R: Read, W: Write, F: Relocation>(handles: &mut Handles<R, W, F>) -> Result<()> {
    let at = handles.tape.at();
    if handles.tape.i32()? != MASTER_STATE_MAGIC {
        return Err(malformed(at, "the state of a hook of the JobManager does not begin as such"));
    }
    handles.skip_bytes()
}

/// `deserializeOperatorState`
fn operator<R: Read, W: Write, F: Relocation>(handles: &mut Handles<R, W, F>, version: Version) -> Result<()> {
    if version.has_names() {
        handles.tape.skip_text()?;
        handles.tape.skip_text()?;
    }
    // The id, the parallelism and the greatest one.
    handles.tape.skip(16 + 4 + 4)?;
    if !version.has_coordinators_and_channels() {
        // The "chain length" of before Flink 1.3.
        handles.tape.skip(4)?;
        for _ in 0..handles.tape.count()? {
            handles.tape.skip(4 + 8)?;
            let at = handles.tape.at();
            if handles.tape.i32()? > 0 {
                return Err(malformed(at, "it holds state of Flink 1.1, which Flink itself reads no more"));
            }
            subtask(handles)?;
        }
        return Ok(());
    }
    handles.coordinator()?;
    // Negative: the operator has finished, and no subtask follows.
    let subtasks = handles.tape.i32()?;
    for _ in 0..subtasks {
        // Negative: this subtask has finished.
        if handles.tape.i32()? >= 0 {
            subtask(handles)?;
            handles.channels(version.tags_channels())?;
            handles.channels(version.tags_channels())?;
        }
    }
    Ok(())
}

/// `deserializeSubtaskState`: operator state, managed and raw, then keyed state, managed and raw.
fn subtask<R: Read, W: Write, F: Relocation>(handles: &mut Handles<R, W, F>) -> Result<()> {
    for _ in 0..2 {
        if handles.tape.i32()? != 0 {
            handles.operator()?;
        }
    }
    handles.keyed()?;
    handles.keyed()
}
