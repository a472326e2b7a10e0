//! `sealpoint seal`: one file, by hand.

use clap::Args;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::lifecycle::sealed_file::THROUGH;
use sealpoint::store::Location;
use sealpoint::stream::{ReadAt, SealStream};
use serde_json::json;

use crate::progress::Watch;
use crate::single::{Files, STREAM};
use crate::target::{Target, location};

/// The arguments of `sealpoint seal`.
#[derive(Debug, Args)]
#[command(after_help = "\
The output appears once it is whole, and never in the place of another file; a file of this machine is its owner's alone. What
is uploaded in parts, more than 16 MiB, could replace an object that appears in the moment in which it is finished.

Examples:
  sealpoint seal --config sealpoint.toml plain.bin sealed.bin
  tar c state | sealpoint seal - s3://bucket/archive/state.tar
  sealpoint seal --bind-name --at s3://bucket/archive/a.bin a.bin - | aws s3 cp - s3://bucket/archive/a.bin

JSON: {file, output, bytes, sealed_bytes}")]
pub struct Seal {
    #[command(flatten)]
    target: Target,
    /// Bind the file to its own name: it can then be opened under that name only
    #[arg(long)]
    bind_name: bool,
    #[command(flatten)]
    single: Single,
    /// The plaintext: a path, a URI, or - for standard input
    input: String,
    /// The sealed file, which must not exist: a path, a URI, or - for standard output
    output: String,
}

/// What `seal` and `open` have in common.
#[derive(Debug, Args)]
pub struct Single {
    /// Where the sealed file lies, or will, if not where it is read or written: its tenant and its name go by that
    #[arg(long, value_name = "URI")]
    at: Option<String>,
    /// Print JSON, unless the output goes to standard output
    #[arg(long)]
    pub json: bool,
    /// Show on standard error how far it is, even if that is no terminal
    #[arg(long)]
    pub progress: bool,
}

impl Single {
    /// Where the sealed file lies, if it lies anywhere.
    pub fn place(&self, sealed: &str) -> Result<Option<Location>> {
        let place = self.at.as_deref().or(Some(sealed).filter(|place| *place != STREAM));
        place.map(location).transpose()
    }

    /// Refuses two things on one stream.
    pub fn check(&self, output: &str) -> Result<()> {
        if self.json && output == STREAM {
            return Err(Kind::InvalidArgument.error("--json: the output itself goes to standard output"));
        }
        Ok(())
    }
}

/// Seals it.
pub fn run(arguments: &Seal) -> Result<()> {
    let Seal { single, input, output, .. } = arguments;
    single.check(output)?;
    let place = single.place(output)?;
    let subject = match (&place, arguments.bind_name) {
        (Some(place), true) => Some(place.name()),
        (None, true) => return Err(Kind::InvalidArgument.error("--bind-name: give the name by --at")),
        (_, false) => None,
    };
    let engine = arguments.target.engine()?;
    let files = Files::new(arguments.target.store_options())?;
    let watch = Watch::of(&files.progress, single.progress)?;
    let mut source = files.input(input, THROUGH)?;
    files.progress.begin_bytes("sealing", "", 0, source.size());
    let sealing = engine.sealer(&place.as_ref().map_or(STREAM.to_owned(), Location::uri), subject)?;
    let mut stream = SealStream::new(sealing);
    let mut target = files.output(output)?;
    let (mut block, mut sealed) = (vec![0; THROUGH as usize], Vec::new());
    let (mut bytes, mut sealed_bytes) = (0, 0);
    loop {
        let read =
            source.read_at(bytes, &mut block).map_err(|error| Error::io(format_args!("read {input}"), &error))?;
        if read == 0 {
            stream.finish(&mut sealed)?;
        } else {
            stream.update(&block[..read], &mut sealed)?;
        }
        target.write(&sealed)?;
        bytes += read as u64;
        sealed_bytes += sealed.len() as u64;
        files.progress.add_bytes(read as u64);
        sealed.clear();
        if read == 0 {
            break;
        }
    }
    target.finish()?;
    drop(watch);
    if single.json {
        say!("{}", json!({"file": input, "output": output, "bytes": bytes, "sealed_bytes": sealed_bytes}));
    }
    Ok(())
}
