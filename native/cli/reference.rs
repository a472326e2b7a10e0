//! docs/CLI.md: every command with its options and examples, from what the tool itself parses.

use clap::{Arg, Command};

const HEAD: &str = "\
# Command line

<!-- Written by `sealpoint man --markdown`; a test compares it with the code. Do not edit. -->

What holds for every command:

* **Places** are paths, or URIs `file:///x`, `s3://bucket/x`, `s3a://bucket/x`,
  `abfs://container@account.dfs.core.windows.net/x` (or `abfss:`), `gs://bucket/x`, each also with `sealed+` before it. Text
  is taken literally: `%20` is no space. `seal`, `open` and `inspect` take `-` for a stream. Credentials come from the
  environment, as each cloud's own tools take them: [STORES.md](STORES.md).
* **`--config FILE`**, or the variable `SEALPOINT_CONFIG`, names the configuration: [CONFIG.md](CONFIG.md). The examples below
  leave it out.
* **Standard output** is the answer, for programs with `--json`: one document, as each command says below. Errors, warnings
  and progress go to standard error; progress only on a terminal, or with `--progress`. `-v` (or `SEALPOINT_LOG=debug`) says
  more. Progress says the rate, and the time left where it is known how much there is: not of a stream, not while files are
  listed, and not while `rewrap` reads heads, which it does as it lists.
* **Keys** are named `KEK[@VERSION]` as files name them, and as `report` and `inspect` show them.
* **Ctrl-C and SIGTERM** leave nothing half-written: no part of a file, no upload in parts. A second one ends the process at
  once, whatever it is in the middle of.

";

/// The document.
pub fn markdown(mut tool: Command, exit_codes: &str) -> String {
    tool.build();
    let mut out = String::from(HEAD);
    out += "| Exit code | Means |\n| --- | --- |\n";
    for line in exit_codes.lines().skip(1) {
        let (code, means) = line.trim().split_once("  ").unwrap_or_default();
        out += &format!("| {code} | {means} |\n");
    }
    out += "\nMost commands take these, which are not repeated below:\n\n| | |\n| --- | --- |\n";
    let seal = tool.find_subcommand("seal").into_iter().flat_map(Command::get_arguments);
    seal.filter(|arg| is_shared(arg)).for_each(|arg| row(arg, &mut out));
    let path = tool.get_name().to_owned();
    all(&tool, &path, &mut out);
    out
}

/// The configuration, and how stores are reached.
fn is_shared(arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    id == "config" || id.starts_with("store_")
}

/// Everything below it that can be run.
fn all(above: &Command, path: &str, out: &mut String) {
    for command in above.get_subcommands().filter(|command| command.get_name() != "help") {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() { all(command, &path, out) } else { one(command, &path, out) }
    }
}

fn one(command: &Command, path: &str, out: &mut String) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    *out += &format!("\n## `{path}`\n\n{about}.");
    let aliases: Vec<_> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        *out += &format!(" Also: {}.", aliases.join(", "));
    }
    *out += "\n";
    let own = |arg: &&Arg| !arg.is_global_set() && !is_shared(arg) && arg.get_id() != "help";
    let (options, places): (Vec<_>, Vec<_>) = command.get_arguments().filter(own).partition(|arg| !arg.is_positional());
    if !(options.is_empty() && places.is_empty()) {
        *out += "\n| | |\n| --- | --- |\n";
    }
    places.into_iter().chain(options).for_each(|arg| row(arg, out));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (prose, examples) = split(&after);
    if !examples.is_empty() {
        *out += &format!("\n```sh\n{}\n```\n", examples.join("\n"));
    }
    for paragraph in prose {
        *out += &format!("\n{paragraph}\n");
    }
}

fn row(arg: &Arg, out: &mut String) {
    *out += &format!("| `{}` | {} |\n", arg.to_string().replace('|', "\\|"), says(arg));
}

fn says(arg: &Arg) -> String {
    let mut says = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        says += &format!(": {}", values.join(", "));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        says += &format!(" (`{}` by default)", defaults.join(" "));
    }
    says.replace('|', "\\|")
}

/// What stands after the options: paragraphs, and the lines of examples.
pub fn split(after: &str) -> (Vec<String>, Vec<String>) {
    let (mut prose, mut examples) = (Vec::new(), Vec::new());
    for paragraph in after.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let mut lines = paragraph.lines();
        match lines.next() {
            Some("Example:" | "Examples:") => {
                examples.extend(lines.map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned()));
            }
            Some(_) | None => prose.push(paragraph.to_owned()),
        }
    }
    (prose, examples)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::Arguments;

    /// The words of each `sealpoint ...` in a line for a shell.
    fn commands(line: &str) -> Vec<Vec<String>> {
        let (mut all, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), String::new(), None);
        for letter in line.chars().chain(['\n']) {
            match (quote, letter) {
                (Some(open), close) if open == close => quote = None,
                (None, '\'' | '"') => quote = Some(letter),
                (None, ' ' | '|' | '&' | '>' | '\n') => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                    if letter != ' ' {
                        all.push(std::mem::take(&mut words));
                    }
                }
                (_, letter) => word.push(letter),
            }
        }
        let variables = |word: &String| word.split('=').next().is_some_and(|name| name.starts_with("SEALPOINT_"));
        let all = all.into_iter().map(|words| words.into_iter().skip_while(variables).collect::<Vec<_>>());
        all.filter(|words| words.first().is_some_and(|word| word == "sealpoint")).collect()
    }

    fn leaves(above: &Command, found: &mut Vec<Command>) {
        for command in above.get_subcommands().filter(|command| command.get_name() != "help") {
            if command.has_subcommands() { leaves(command, found) } else { found.push(command.clone()) }
        }
    }

    #[test]
    fn every_command_has_examples_and_each_is_what_the_tool_takes() {
        let mut tool = Arguments::command();
        tool.build();
        let mut all = Vec::new();
        leaves(&tool, &mut all);
        assert!(all.len() > 20);
        for command in all {
            let name = command.get_display_name().unwrap_or(command.get_name()).replace('-', " ");
            let (_, examples) = split(&command.get_after_help().map(ToString::to_string).unwrap_or_default());
            let text = examples.join("\n").replace("\\\n", " ");
            let mut own = 0;
            for mut words in text.lines().flat_map(commands) {
                own += usize::from(words.join(" ").replace('-', " ").starts_with(&name));
                // The variable stands for it in the examples.
                if command.get_arguments().any(|arg| arg.get_id() == "config")
                    && !words.contains(&"--config".to_owned())
                {
                    words.extend(["--config".to_owned(), "sealpoint.toml".to_owned()]);
                }
                if let Err(error) = Arguments::try_parse_from(&words) {
                    panic!("{name}: {words:?}: {error}");
                }
            }
            let aliases: Vec<_> = command.get_visible_aliases().collect();
            assert!(own > 0 || !aliases.is_empty() && !examples.is_empty(), "{name} has no example of itself: {text}");
        }
    }

    #[test]
    fn a_line_for_a_shell_is_taken_apart_as_a_shell_does() {
        let line = "SEALPOINT_X='a b' sealpoint a --b 'c d' | jq '.x | y' && sealpoint e > f";
        assert_eq!(commands(line), [&["sealpoint", "a", "--b", "c d"][..], &["sealpoint", "e"]]);
    }
}
