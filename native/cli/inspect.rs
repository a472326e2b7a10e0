//! `sealpoint inspect`: what the heads of sealed files say.

use clap::Args;
use sealpoint::clock::utc;
use sealpoint::envelope::Head;
use sealpoint::error::Result;
use sealpoint::lifecycle::sealed_file::ENDS;
use sealpoint::store::StoreOptions;
use sealpoint::stream::read_head;
use serde_json::{Map, Value, json};

use crate::progress::Watch;
use crate::report::plain;
use crate::single::Files;
use crate::target::Stores;

/// The arguments of `sealpoint inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
It takes no key and no configuration: nothing of what it prints is verified, and whoever could write the file could have
written it.

Examples:
  sealpoint inspect sealed.bin
  sealpoint inspect s3://bucket/checkpoints/6f7c/chk-42/_metadata
  sealpoint inspect --json chk-42/_metadata | jq '.[].slots[] | {key, version}'

JSON: [{file, algorithm, data_key, created_at_ms, chunk_size, tenant, subject, context: {name: value},
slots: [{provider, key, version}], head_length}]")]
pub struct Inspect {
    #[command(flatten)]
    stores: Stores,
    /// Print JSON: an array with an object for each file
    #[arg(long)]
    json: bool,
    /// Sealed files: paths, URIs, or - for standard input
    #[arg(required = true, value_name = "URI")]
    files: Vec<String>,
}

/// Prints what the heads say.
pub fn run(arguments: &Inspect) -> Result<()> {
    let files = Files::new(arguments.stores.options(StoreOptions::default()))?;
    let watch = Watch::of(&files.progress, false)?;
    let mut heads = Vec::new();
    for place in &arguments.files {
        let (_, head) = read_head(&mut files.input(place, ENDS)?).map_err(|error| error.at(place))?;
        if arguments.json {
            heads.push(in_json(place, &head));
        } else {
            print(place, &head);
        }
    }
    drop(watch);
    if arguments.json {
        say!("{}", Value::Array(heads));
    }
    Ok(())
}

fn in_json(place: &str, head: &Head) -> Value {
    let slots: Vec<_> = head
        .slots
        .iter()
        .map(|slot| json!({"provider": slot.provider, "key": slot.kek, "version": slot.version}))
        .collect();
    let context: Map<_, _> = head.bound.context.pairs().map(|(key, value)| (key.to_owned(), value.into())).collect();
    json!({
        "file": place,
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

fn print(place: &str, head: &Head) {
    let bound = &head.bound;
    say!("{}", plain(place));
    say!("  algorithm   {}, chunks of {} bytes", head.algorithm.name(), bound.chunk_size);
    say!("  data key    {}, file made at {}", bound.data_key_id, utc(bound.created_at_ms));
    say!("  tenant      {}", plain(&bound.tenant));
    if let Some(subject) = &bound.subject {
        say!("  bound to    {}", plain(subject));
    }
    for (key, value) in bound.context.pairs() {
        say!("  context     {} = {}", plain(key), plain(value));
    }
    for slot in &head.slots {
        let (provider, key, version) = (plain(&slot.provider), plain(&slot.kek), plain(&slot.version));
        say!("  wrapped by  {provider} key '{key}', version {version}");
    }
}
