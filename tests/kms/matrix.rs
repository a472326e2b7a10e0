//! What became of every case, as a table: a line a case, a column a provider.

use std::fmt;
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

    /// Writes target/kms-matrix.md.
    pub fn write(&self) {
        let path = root().join("target/kms-matrix.md");
        fs::write(&path, self.to_string()).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(case, _)| case.len()).max().unwrap_or_default();
        let mut line = |first: &str, cells: &mut dyn Iterator<Item = &str>| {
            write!(f, "| {first:width$} |")?;
            for (provider, cell) in self.providers.iter().zip(cells) {
                write!(f, " {cell:0$} |", provider.len().max("passed".len()))?;
            }
            writeln!(f)
        };
        line("case", &mut self.providers.iter().copied())?;
        line("---", &mut self.providers.iter().map(|_| "---"))?;
        let mut rows = self.rows.iter();
        rows.try_for_each(|(case, cells)| line(case, &mut cells.iter().copied().chain(std::iter::repeat(""))))
    }
}

/// Where it is; it is put at the end if it is nowhere.
fn position<T>(list: &mut Vec<T>, is: impl Fn(&T) -> bool, new: T) -> usize {
    list.iter().position(is).unwrap_or_else(|| {
        list.push(new);
        list.len() - 1
    })
}
