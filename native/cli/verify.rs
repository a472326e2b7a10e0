//! `sealpoint verify`: whether checkpoints and savepoints are whole.

use std::sync::Arc;

use clap::Args;
use sealpoint::error::Result;
use sealpoint::lifecycle::Reach;
use sealpoint::lifecycle::problem::Problem;
use sealpoint::lifecycle::sidecars::Sidecar;
use sealpoint::lifecycle::verify::{self, Depth, Manifests, Verdict, Verified};
use sealpoint::store::Location;
use serde_json::{Value, json};

use crate::output::{self, Answer, Reporting};
use crate::progress::Watch;
use crate::target::{self, Target};

/// The arguments of `sealpoint verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 all is well; 3 something is wrong; 1 whether something is wrong could not be found out.

Examples:
  sealpoint verify --config sealpoint.toml s3://bucket/checkpoints/6f7c.../chk-42
  sealpoint verify --config sealpoint.toml --quick --json /savepoints/savepoint-6f7c-0a1b2c
  sealpoint verify --config sealpoint.toml s3://bucket/checkpoints/6f7c...

JSON: {whole, checkpoints: [{directory, checkpoint, files, open_ended, manifest, problems}],
sidecars: [{file, entries, unused, problems}], unfinished: [URI], unreferenced: [URI], files, bytes},
problems: [{problem, code, message}]")]
pub struct Verify {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    reporting: Reporting,
    /// Read the head and the end of each file only: damage in between is not found
    #[arg(long)]
    quick: bool,
    /// Give each checkpoint that is whole and has no manifest one: from then on a file that is replaced by an older one of
    /// its name is noticed
    #[arg(long, conflicts_with_all = ["quick", "require_manifest"])]
    write_manifest: bool,
    /// A checkpoint without a manifest is not whole
    #[arg(long)]
    require_manifest: bool,
    /// A checkpoint, a savepoint, or a directory with some, such as a job's
    #[arg(value_name = "URI")]
    uri: String,
}

/// Verifies, and says what is wrong.
pub fn run(arguments: &Verify) -> Result<Answer> {
    let root = target::location(&arguments.uri)?;
    let threads = arguments.reporting.threads.map(usize::from);
    let reach = Arc::new(Reach::new(arguments.target.engine()?, arguments.target.store_options(), threads));
    let depth = if arguments.quick { Depth::Ends } else { Depth::Through };
    let manifests = match (arguments.write_manifest, arguments.require_manifest) {
        (true, _) => Manifests::Write,
        (false, true) => Manifests::Require,
        (false, false) => Manifests::Compare,
    };
    let watch = Watch::of(reach.progress(), arguments.reporting.progress)?;
    let found = verify::verify(&reach, &root, depth, manifests)?;
    drop(watch);
    if arguments.reporting.json {
        say!("{}", in_json(&found));
    } else {
        print(&found, depth);
    }
    Ok(if found.is_incomplete() {
        Answer::Failed
    } else if found.is_whole() {
        Answer::Yes
    } else {
        Answer::No
    })
}

fn print(found: &Verified, depth: Depth) {
    for checkpoint in &found.checkpoints {
        let Verdict { directory, files, open_ended, manifest, problems, .. } = checkpoint;
        match problems.len() {
            0 if *manifest => say!("{directory}: whole, {files} files, as in its manifest"),
            0 => say!("{directory}: whole, {files} files; it has no manifest"),
            count => say!("{directory}: {count} of {files} files are not as they should be"),
        }
        if *open_ended > 0 {
            say!(
                "  {open_ended} files are still merged into, or were when their writer was killed: whole as far as it needs"
            );
        }
        print_problems(problems);
    }
    for sidecar in &found.sidecars {
        let Sidecar { location, entries, unused, problems } = sidecar;
        say!("{location}: renewed slots of {entries} data keys, {unused} of them of no file here");
        print_problems(problems);
    }
    for (directories, what) in
        [(&found.unfinished, "never completed, or being written"), (&found.unreferenced, "no checkpoint here needs it")]
    {
        for place in directories {
            say!("{place}: {what}");
        }
    }
    let how = if depth == Depth::Ends { "heads and ends verified" } else { "verified" };
    say!("{} files {how}, {} of plaintext", found.files, output::bytes(found.bytes));
}

fn print_problems(problems: &[Problem]) {
    for problem in problems {
        say!("  {problem}");
    }
}

fn in_json(found: &Verified) -> Value {
    let checkpoints: Vec<Value> = found
        .checkpoints
        .iter()
        .map(|checkpoint| {
            json!({
                "directory": checkpoint.directory.uri(),
                "checkpoint": checkpoint.checkpoint_id,
                "files": checkpoint.files,
                "open_ended": checkpoint.open_ended,
                "manifest": checkpoint.manifest,
                "problems": problems_in_json(&checkpoint.problems),
            })
        })
        .collect();
    let sidecars: Vec<Value> = found
        .sidecars
        .iter()
        .map(|sidecar| {
            json!({
                "file": sidecar.location.uri(), "entries": sidecar.entries, "unused": sidecar.unused,
                "problems": problems_in_json(&sidecar.problems),
            })
        })
        .collect();
    let uris = |places: &[Location]| places.iter().map(Location::uri).collect::<Vec<_>>();
    json!({
        "whole": found.is_whole(),
        "checkpoints": checkpoints,
        "sidecars": sidecars,
        "unfinished": uris(&found.unfinished),
        "unreferenced": uris(&found.unreferenced),
        "files": found.files,
        "bytes": found.bytes,
    })
}

/// Problems, as every command gives them.
pub fn problems_in_json(problems: &[Problem]) -> Vec<Value> {
    let described = |problem: &Problem| json!({"problem": problem.what.name(), "code": problem.error.code().0, "message": problem.error.message()});
    problems.iter().map(described).collect()
}
