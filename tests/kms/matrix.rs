//! What became of every case, as a table: a line a case, a column a provider.

use std::fmt::Write;
use std::fs;

use crate::child::root;
use crate::runner::Outcome;

/// The table.
pub struct Matrix {
    providers: Vec<&'static str>,
    rows: Vec<(&'static str, Vec<&'static str>)>,
}

impl Matrix {
    pub fn new<'o>(outcomes: impl Iterator<Item = ((&'static str, &'static str), &'o Outcome)>) -> Matrix {
        let mut matrix = Matrix { providers: Vec::new(), rows: Vec::new() };
        for ((provider, case), outcome) in outcomes {
            let column = position(&mut matrix.providers, |known| *known == provider, provider);
            let row = position(&mut matrix.rows, |(known, _)| *known == case, (case, Vec::new()));
            let cells = &mut matrix.rows[row].1;
            cells.resize(cells.len().max(column + 1), "");
            cells[column] = match outcome {
                Outcome::Passed => "passed",
                Outcome::Failed(_) => "FAILED",
                Outcome::NotApplicable(_) => "n/a",
                Outcome::Skipped(_) => "not run",
            };
        }
        matrix
    }

    /// Prints it and writes target/kms-matrix.md.
    pub fn publish(&self) {
        let text = self.to_markdown();
        println!("\n{text}");
        let path = root().join("target/kms-matrix.md");
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    fn to_markdown(&self) -> String {
        let width = self.rows.iter().map(|(case, _)| case.len()).max().unwrap_or_default();
        let mut text = String::new();
        let mut line = |first: &str, cells: &mut dyn Iterator<Item = &str>| {
            let _ = write!(text, "| {first:width$} |");
            for (provider, cell) in self.providers.iter().zip(cells) {
                let _ = write!(text, " {cell:0$} |", provider.len().max("passed".len()));
            }
            text.push('\n');
        };
        line("case", &mut self.providers.iter().copied());
        line("---", &mut self.providers.iter().map(|_| "---"));
        for (case, cells) in &self.rows {
            line(case, &mut cells.iter().copied().chain(std::iter::repeat("")));
        }
        text
    }
}

/// Where it is; it is put at the end if it is nowhere.
fn position<T>(list: &mut Vec<T>, is: impl Fn(&T) -> bool, new: T) -> usize {
    list.iter().position(is).unwrap_or_else(|| {
        list.push(new);
        list.len() - 1
    })
}
