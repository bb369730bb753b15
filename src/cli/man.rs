//! `curb man`: the manual pages, made from the same texts as `--help`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{Cli, Failure};

/// Write the manual pages: curb.1, and one for each command
///
/// The folder is made if it is not there. `man -l DIR/curb.1` reads a page in it; in /usr/local/share/man/man1, or another folder of
/// MANPATH, `man curb` and `man curb-run` find them.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder to write to
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(args: &ManArgs) -> Result<(), Failure> {
    let to = &args.to;
    let written = std::fs::create_dir_all(to).and_then(|()| clap_mangen::generate_to(Cli::command(), to));
    written.with_context(|| format!("manual pages in `{}`", to.display())).map_err(Failure::Configuration)?;
    writeln!(io::stderr(), "written; `man -l {}` begins", to.join("curb.1").display())?;
    Ok(())
}
