//! docs/CONFIG.md, written from the table of options.

use std::fmt::Write;

use crate::config::options::{self, Default, Kind, Opt};
use crate::config::value::{show_duration, show_size};

/// The whole reference in Markdown.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    for option in options::ALL {
        entry(&mut out, option);
    }
    out
}

const HEAD: &str = "\
# Configuration

<!-- Written by `sealpoint config reference`; a test compares it with the code. Do not edit. -->

One grammar, three places:

* Flink's configuration, each key led by `sealpoint.`: `sealpoint.kms.provider: local`
* a TOML file, for the command line, C and Rust, without the prefix: `kms.provider = \"local\"`, or the same in tables
* environment variables, which override both: `SEALPOINT_KMS_PROVIDER=local`

A key that is not listed here is an error that names the nearest one, and so are values out of range and keys that
contradict each other. Durations are a number and a unit: `ms`, `s`, `min`, `h`, `d`. Sizes are bytes, or a number
and a unit: `kb`, `mb`, `gb`, `tb`, powers of 1024. Lists are separated by commas; TOML also takes `[\"a\", \"b\"]`.
`sealpoint config check <file>` prints the policy that a file amounts to.

Variables named `SEALPOINT_CONFIG` and `SEALPOINT_LOG` belong to the command line; those that Kubernetes sets for a
service called `sealpoint` are ignored.
";

fn entry(out: &mut String, option: &Opt) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\n## `{}`\n\n{}\n\n", option.key, option.doc);
    let _ = writeln!(out, "* Value: {}", values(&option.kind));
    let default = match option.default {
        Default::Value(text) => format!("`{text}`"),
        Default::Derived(words) => words.to_owned(),
        Default::None => "none".to_owned(),
        Default::Required("") => "none; required".to_owned(),
        Default::Required(when) => format!("none; required {when}"),
    };
    let _ = writeln!(out, "* Default: {default}");
    let _ = writeln!(out, "* Example: `{}: {}`", option.key, option.example);
    if let Some(variable) = option.variable() {
        let _ = writeln!(out, "* Environment: `{variable}`");
    }
    let _ = writeln!(out, "* Since: {}", option.since);
}

fn values(kind: &Kind) -> String {
    let words = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match kind {
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Count(least, most) => format!("a whole number from {least} to {most}"),
        Kind::Duration(least, most) => format!("a duration from {} to {}", show_duration(*least), show_duration(*most)),
        Kind::Size(least, most) => format!("a size from {} to {}", show_size(*least), show_size(*most)),
        Kind::PowerOfTwo(least, most) => {
            format!("a size that is a power of two, from {} to {}", show_size(*least), show_size(*most))
        }
        Kind::Choice(all) => format!("one of {}", words(all)),
        Kind::Choices(all) => format!("a list of {}", words(all)),
        Kind::Text => "a text".to_owned(),
        Kind::List => "a list of texts".to_owned(),
        Kind::Path => "a path of this machine".to_owned(),
    }
}
