//! `sealpoint seal`, `open` and `inspect`: single files, by hand.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::envelope::Head;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::stream::{OpenStream, SealStream, read_head, sidecars_beside};

/// How much is read from a file at once.
const BLOCK: usize = 1024 * 1024;

/// The arguments of `sealpoint seal`.
#[derive(Debug, Args)]
pub struct Seal {
    /// The configuration
    #[arg(long, env = "SEALPOINT_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Bind the file to its own name: it can then be opened under that name only
    #[arg(long)]
    bind_name: bool,
    /// The plaintext file, or - for standard input
    input: PathBuf,
    /// The sealed file to write; it must not exist
    output: PathBuf,
}

/// The arguments of `sealpoint open`.
#[derive(Debug, Args)]
pub struct Open {
    /// The configuration
    #[arg(long, env = "SEALPOINT_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Verify all of it and write nothing
    #[arg(long, conflicts_with = "output")]
    verify: bool,
    /// The sealed file
    input: PathBuf,
    /// Where the plaintext goes: a file that does not exist, or - for standard output
    #[arg(required_unless_present = "verify")]
    output: Option<PathBuf>,
}

/// The arguments of `sealpoint inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Sealed files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Seals one file.
pub fn seal(arguments: &Seal) -> Result<()> {
    let engine = EncryptionEngine::open(EncryptionConfig::load(&arguments.config)?)?;
    let mut input = input(&arguments.input)?;
    let path = absolute(&arguments.output);
    let subject = if arguments.bind_name { file_name(&arguments.output) } else { None };
    write_new(&arguments.output, |output| {
        let mut stream = SealStream::new(engine.sealer(&path, subject)?);
        let (mut block, mut sealed) = (vec![0; BLOCK], Vec::new());
        loop {
            let read = input.read(&mut block).map_err(|error| Error::io("read the plaintext", &error))?;
            if read == 0 {
                stream.finish(&mut sealed)?;
            } else {
                stream.update(&block[..read], &mut sealed)?;
            }
            write(output, &sealed)?;
            sealed.clear();
            if read == 0 {
                return Ok(());
            }
        }
    })
}

/// Opens one file.
pub fn open(arguments: &Open) -> Result<()> {
    let engine = EncryptionEngine::open(EncryptionConfig::load(&arguments.config)?)?;
    let mut source = open_file(&arguments.input)?;
    let place = |error: Error| error.at(arguments.input.display());
    let (_, head) = read_head(&mut source).map_err(place)?;
    // Both kinds are opened by hand: a file that is bound to a name, under that name only.
    let expected = head.bound.subject.as_ref().and_then(|_| file_name(&arguments.input));
    let opening =
        engine.opener_beside(&head, &absolute(&arguments.input), expected, &mut sidecars_beside(&arguments.input))?;
    let mut stream = OpenStream::new(source, opening);
    let mut copy = |output: &mut dyn Write| {
        let mut block = vec![0; BLOCK];
        loop {
            match stream.read(&mut block).map_err(place)? {
                0 => return Ok(stream.position()),
                read => write(output, &block[..read])?,
            }
        }
    };
    match &arguments.output {
        None => {
            let length = copy(&mut io::sink())?;
            println!("{}: verified, {length} bytes", arguments.input.display());
            Ok(())
        }
        Some(output) if output == Path::new("-") => copy(&mut io::stdout().lock()).map(|_| ()),
        Some(output) => write_new(output, |file| copy(file).map(|_| ())),
    }
}

/// Prints what the heads of files say, without any key: none of it is verified.
pub fn inspect(arguments: &Inspect) -> Result<()> {
    let mut described = Vec::new();
    for path in &arguments.files {
        let (_, head) = read_head(&mut open_file(path)?).map_err(|error| error.at(path.display()))?;
        if arguments.json {
            described.push(json(path, &head));
        } else {
            print_head(path, &head);
        }
    }
    if arguments.json {
        println!("{}", serde_json::Value::Array(described));
    }
    Ok(())
}

fn json(path: &Path, head: &Head) -> serde_json::Value {
    let slots: Vec<_> = head
        .slots
        .iter()
        .map(|slot| serde_json::json!({"provider": slot.provider, "key": slot.kek, "version": slot.version}))
        .collect();
    let context: serde_json::Map<_, _> =
        head.bound.context.pairs().map(|(key, value)| (key.to_owned(), value.into())).collect();
    serde_json::json!({
        "file": path.to_string_lossy(),
        "algorithm": head.algorithm.name(),
        "data_key": head.bound.data_key_id.to_string(),
        "created_at_ms": head.bound.created_at_ms,
        "chunk_size": head.bound.chunk_size,
        "tenant": head.bound.tenant,
        "subject": head.bound.subject,
        "context": context,
        "slots": slots,
        "head_length": head.len(),
    })
}

fn print_head(path: &Path, head: &Head) {
    let bound = &head.bound;
    println!("{}", path.display());
    println!("  algorithm   {}, chunks of {} bytes", head.algorithm.name(), bound.chunk_size);
    println!("  data key    {}, file made at {} ms since 1970", bound.data_key_id, bound.created_at_ms);
    println!("  tenant      {}", bound.tenant);
    if let Some(subject) = &bound.subject {
        println!("  bound to    {subject}");
    }
    for (key, value) in bound.context.pairs() {
        println!("  context     {key} = {value}");
    }
    for slot in &head.slots {
        println!("  wrapped by  {} key '{}', version {}", slot.provider, slot.kek, slot.version);
    }
}

fn input(path: &Path) -> Result<Box<dyn Read>> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            eprintln!("sealpoint: reading the plaintext from the terminal, end with Ctrl-D");
        }
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(open_file(path)?))
}

fn open_file(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::io(format_args!("open {}", path.display()), &error))
}

/// Fills a file that appears under its name only once it is whole: it is owner-only, synced, and never replaces another.
fn write_new(path: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let doing = |verb: &str| format!("{verb} {}", path.display());
    if path.symlink_metadata().is_ok() {
        return Err(Kind::InvalidArgument.error(format_args!("{} exists already", path.display())));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.part", std::process::id()));
    let partial = PathBuf::from(partial);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .map_err(|error| Error::io(doing("create"), &error))?;
    let result = fill(&mut file).and_then(|()| {
        file.sync_all().map_err(|error| Error::io(doing("sync"), &error))?;
        // Unlike a rename, a link never replaces what another process put there meanwhile.
        std::fs::hard_link(&partial, path).map_err(|error| Error::io(doing("create"), &error))
    });
    // Gone in either case; if it cannot be removed, the name says what it is.
    let _ = std::fs::remove_file(&partial);
    result
}

fn write(output: &mut (impl Write + ?Sized), bytes: &[u8]) -> Result<()> {
    output.write_all(bytes).map_err(|error| Error::io("write the output", &error))
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}
