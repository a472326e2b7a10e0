//! `sealpoint completions` and `sealpoint man`: the command line as shells and man(1) want it.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use sealpoint::error::{Error, Result};

use crate::{output, reference};

/// The arguments of `sealpoint completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sealpoint completions bash > /etc/bash_completion.d/sealpoint")]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

/// The arguments of `sealpoint man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sealpoint man | man -l -\n  sealpoint man --folder /usr/local/share/man/man1")]
pub struct Man {
    /// Write a page for each subcommand as well, into this folder, which must exist
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print docs/CLI.md instead: every command, its options and examples
    #[arg(long, conflicts_with = "folder")]
    markdown: bool,
}

/// Prints the completions.
pub fn completions(arguments: &Completions, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "sealpoint", &mut script);
    output::write(&script)
}

/// Prints the page, or writes all of them.
pub fn man(arguments: &Man, command: Command, exit_codes: &str) -> Result<()> {
    if arguments.markdown {
        return output::write(reference::markdown(command, exit_codes).as_bytes());
    }
    if let Some(folder) = &arguments.folder {
        let written = clap_mangen::generate_to(command, folder);
        return written.map_err(|error| Error::io(format_args!("write the pages to {}", folder.display()), &error));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|error| Error::io("make the page", &error))?;
    output::write(&page)
}
