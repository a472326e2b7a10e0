//! The section of docs/KEY_SERVICES.md that says what is tested; it is written by the suite and checked by it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use crate::cases::{self, Case, Needs};
use crate::child::root;
use crate::provider::Provider;

/// The name of the check; `WRITE_KMS_DOC=1` makes it write the section.
pub const TEST: &str = "documentation::is_current";

const HEADING: &str = "## What is tested";

/// The section is what the suite says, and no reason stands for a case that does not exist.
pub fn check(providers: &[Box<dyn Provider>]) {
    let known: BTreeSet<&str> = cases::all().iter().map(|case| case.name).collect();
    for provider in providers {
        for (case, _) in provider.not_applicable() {
            assert!(known.contains(case), "{} excuses itself from {case}, which is no case", provider.name());
        }
        for case in provider.afflicted() {
            assert!(known.contains(case), "{} fails on demand in {case}, which is no case", provider.name());
        }
    }
    let path = root().join("docs/KEY_SERVICES.md");
    let document = fs::read_to_string(&path).unwrap_or_default();
    let (before, _, after) = split(&document);
    let expected = format!("{before}{}{after}", section(providers));
    if std::env::var_os("WRITE_KMS_DOC").is_some() {
        fs::write(&path, expected).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    } else {
        assert!(document == expected, "`make kms-doc` brings '{HEADING}' of {} up to date", path.display());
    }
}

/// What stands before the section, the section, and what stands behind it.
fn split(document: &str) -> (&str, &str, &str) {
    let start = document.find(HEADING).unwrap_or(document.len());
    let behind = start + HEADING.len().min(document.len() - start);
    let end = document[behind..].find("\n## ").map_or(document.len(), |at| behind + at + 1);
    (&document[..start], &document[start..end], &document[end..])
}

fn section(providers: &[Box<dyn Provider>]) -> String {
    let mut text = format!(
        "{HEADING}\n\n\
         <!-- Written by `make kms-doc` from tests/kms; a test checks that it is current. -->\n\
         Every key service is held to one contract by `make test-kms`: clients of ours against a server that speaks the\n\
         service's wire protocol, through a proxy that fails on demand. `target/kms-matrix.md` then says what became of\n\
         every case.\n\n\
         | Key service | Server in the tests |\n| --- | --- |\n"
    );
    for provider in providers {
        let _ = writeln!(text, "| `{}` | {} |", provider.name(), provider.server());
    }
    text += "\n| Case | What it holds a client to |\n| --- | --- |\n";
    for case in cases::all() {
        let _ = writeln!(text, "| `{}` | {} |", case.name, case.what);
    }
    let own: Vec<(&str, Case)> = providers
        .iter()
        .flat_map(|provider| provider.own_cases().into_iter().map(|case| (provider.name(), case)))
        .collect();
    if !own.is_empty() {
        text += "\nBeyond that, of one service each:\n\n| Case | What it holds the client to |\n| --- | --- |\n";
        for (provider, case) in own {
            let _ = writeln!(text, "| `{provider}::{}` | {} |", case.name, case.what);
        }
    }
    text += "\nWhat cannot be tested, and why:\n\n| Key service | Cases | Reason |\n| --- | --- | --- |\n";
    for provider in providers {
        let mut reasons: Vec<(&str, String)> = Vec::new();
        for case in cases::all() {
            let Some(why) = provider.excuse(&case) else { continue };
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, names)) => *names += &format!(", `{}`", case.name),
                None => reasons.push((why, format!("`{}`", case.name))),
            }
        }
        for (why, names) in reasons {
            let _ = writeln!(text, "| `{}` | {names} | {why} |", provider.name());
        }
    }
    text += "\n### Against a real cloud\n\n\
        `make test-cloud PROVIDER=aws` (or `azure`, `gcp`) runs the same suite with your own key, and with the credentials that the\n\
        client finds as it always does. Variables name the key, after its options: `KMS_AWS_REGION` and `KMS_AWS_KEY_ID` for\n\
        `kms.aws.region` and `kms.aws.key-id`; `KMS_AZURE_VAULT_URL` and `KMS_AZURE_KEY_NAME`; `KMS_GCP_PROJECT`,\n\
        `KMS_GCP_LOCATION`, `KMS_GCP_KEY_RING` and `KMS_GCP_KEY_NAME`; and so on. One that is missing is named, and nothing is\n\
        run then. It makes some hundred requests and changes nothing. We have not run it ourselves: no cloud has been called in\n\
        the making of Sealpoint. Left out, by name:\n\n";
    for needs in [Needs::Server, Needs::Faults] {
        let cases = cases::all().into_iter().filter(|case| case.needs == needs);
        let names: Vec<_> = cases.map(|case| format!("`{}`", case.name)).collect();
        let _ = writeln!(text, "* {}: {}.", names.join(", "), needs.absent_in_a_cloud());
    }
    text.push('\n');
    text
}
