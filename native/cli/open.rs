//! `sealpoint open`: one sealed file, by hand.

use clap::Args;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::lifecycle::sealed_file::THROUGH;
use sealpoint::store::Location;
use sealpoint::stream::{OpenStream, read_head};
use serde_json::json;

use crate::progress::Watch;
use crate::seal::Single;
use crate::single::{Files, STREAM};
use crate::target::Target;

/// The arguments of `sealpoint open`.
#[derive(Debug, Args)]
#[command(after_help = "\
A file appears once all of it is verified. Standard output is given each piece as soon as that one is verified: whether it
was all of them, the exit status says.

Examples:
  sealpoint open --config sealpoint.toml sealed.bin plain.bin
  sealpoint open --verify s3://bucket/checkpoints/6f7c/chk-42/_metadata
  sealpoint open s3://bucket/archive/state.tar - | tar t
  cat sealed.bin | sealpoint open --at /archive/sealed.bin - plain.bin

JSON: {file, output, verified, bytes, tenant}")]
pub struct Open {
    #[command(flatten)]
    target: Target,
    /// Verify all of it and write nothing
    #[arg(long, conflicts_with = "output")]
    verify: bool,
    #[command(flatten)]
    single: Single,
    /// The sealed file: a path, a URI, or - for standard input
    input: String,
    /// The plaintext: a path or URI where nothing is, or - for standard output
    #[arg(required_unless_present = "verify")]
    output: Option<String>,
}

/// Opens it.
pub fn run(arguments: &Open) -> Result<()> {
    let Open { single, input, output, .. } = arguments;
    single.check(output.as_deref().unwrap_or_default())?;
    let engine = arguments.target.engine()?;
    let files = Files::new(arguments.target.store_options())?;
    let watch = Watch::of(&files.progress, single.progress)?;
    let named = |error: Error| if error.message().contains(input) { error } else { error.at(input) };
    let mut source = files.input(input, THROUGH)?;
    files.progress.begin_bytes("opening", "", 0, source.size());
    let (_, head) = read_head(&mut source).map_err(named)?;
    let place = single.place(input)?;
    // Both kinds are opened by hand: a file that is bound to a name, under that name only.
    let expected = match (&head.bound.subject, &place) {
        (Some(_), Some(place)) => Some(place.name()),
        (Some(name), None) => {
            return Err(Kind::InvalidArgument.error(format_args!(
                "the file says that it is bound to the name '{}', and a stream has none: say by --at where it lies",
                name.escape_debug()
            )));
        }
        (None, _) => None,
    };
    let mut beside = |kind| place.as_ref().map_or(Ok(None), |place| files.beside(place, kind));
    let path = place.as_ref().map_or(STREAM.to_owned(), Location::uri);
    let opening = engine.opener_beside(&head, &path, expected, &mut beside)?;
    let mut stream = OpenStream::new(source, opening);
    let mut target = output.as_deref().map(|output| files.output(output)).transpose()?;
    let mut block = vec![0; THROUGH as usize];
    loop {
        let read = stream.read(&mut block).map_err(named)?;
        if read == 0 {
            break;
        }
        files.progress.add_bytes(read as u64);
        if let Some(target) = &mut target {
            target.write(&block[..read])?;
        }
    }
    target.map_or(Ok(()), |target| target.finish())?;
    drop(watch);
    let bytes = stream.position();
    if single.json {
        let tenant = &head.bound.tenant;
        say!("{}", json!({"file": input, "output": output, "verified": true, "bytes": bytes, "tenant": tenant}));
    } else if output.is_none() {
        say!("{input}: verified, {bytes} bytes");
    }
    Ok(())
}
