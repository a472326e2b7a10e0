//! Questions that only the typed name of a thing answers.

use std::io::{BufRead, IsTerminal};

use sealpoint::error::{Error, Kind, Result};

/// Goes on only if `name` was given by `--confirm`, or is typed now.
pub fn confirm(name: &str, given: Option<&str>) -> Result<()> {
    let typed = match given {
        Some(given) => given.to_owned(),
        None if std::io::stdin().is_terminal() => {
            aside!("Type {name} to go on:");
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.map_err(|error| Error::io("read the answer", &error))?;
            line.trim_end_matches(['\n', '\r']).to_owned()
        }
        None => {
            return Err(Kind::InvalidArgument
                .error(format_args!("nobody is there to ask: give --confirm '{name}' if that is what you want")));
        }
    };
    if typed == name {
        return Ok(());
    }
    Err(Kind::InvalidArgument.error(format_args!("'{}' is not '{name}': nothing was done", typed.escape_debug())))
}
