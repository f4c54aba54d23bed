//! Lines for people and programs. A closed pipe is an error like any other, and no panic.

use std::fmt::Arguments;
use std::io::Write;

use crate::error::CliError;

/// Prints a line to standard output.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn line(text: Arguments<'_>) -> Result<(), CliError> {
    writeln!(std::io::stdout(), "{text}").map_err(CliError::Output)
}

/// Prints a line to standard error, if anybody listens.
pub(crate) fn note(text: Arguments<'_>) {
    // There is no place left to complain to.
    let _ = writeln!(std::io::stderr(), "{text}");
}
