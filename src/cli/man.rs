//! `curb man`: the manual pages, made from the same texts as `--help`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, Failure};

/// Write the manual pages: curb.1, and one for each command
///
/// The folder is made if it is not there. `man -l DIR/curb.1` shows a page of it; in /usr/local/share/man/man1, or another folder of
/// MANPATH, `man curb` and `man curb-run` find them.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder to write to
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(args: &ManArgs) -> Result<(), Failure> {
    let to = &args.to;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let written = std::fs::create_dir_all(to).and_then(|()| write(&command, to));
    let n_pages =
        written.with_context(|| format!("manual pages in `{}`", to.display())).map_err(Failure::Configuration)?;
    writeln!(io::stderr(), "{n_pages} pages are written; `man -l {}` shows the first", to.join("curb.1").display())?;
    Ok(())
}

/// Writes the page of a command and those of the commands below it; returns how many.
fn write(command: &Command, to: &Path) -> io::Result<usize> {
    let mut n_pages = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        n_pages += write(below, to)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(to.join(format!("{name}.1")), page(command)?)?;
    Ok(n_pages)
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).source(concat!("curb ", env!("CARGO_PKG_VERSION"))).manual("Curb");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(notes) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        notes_as_they_stand(&notes.to_string()).to_writer(&mut page)?;
    }
    Ok(page)
}

/// What stands below the options. Its lines are tables and examples: joined to a paragraph they could not be read.
fn notes_as_they_stand(notes: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    roff.control("nf", []);
    for line in notes.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_flags_variables_and_notes() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("man1");
        run(&ManArgs { to: to.clone() }).unwrap_or_else(|failure| panic!("{failure:?}"));
        let page = |name: &str| std::fs::read_to_string(to.join(name)).unwrap().replace("\\-", "-");
        for sub in Cli::command().get_subcommands() {
            assert!(page("curb.1").contains(&format!("curb-{}(1)", sub.get_name())), "{}", sub.get_name());
            assert!(page(&format!("curb-{}.1", sub.get_name())).contains(".SH OPTIONS"));
        }
        assert!(page("curb-state-list.1").contains("NAME.state"));
        assert!(page("curb-run.1").contains("--sql-max-rows") && page("curb-run.1").contains("CURB_STATE_DIR"));
        // A backslash that groff took for its own would be lost.
        assert!(page("curb-shell.1").contains("\n\\\\d NAME  "), "{}", page("curb-shell.1"));
        assert!(page("curb.1").contains(".SH NOTES\n.nf\nExit codes: 0 ok"));
    }
}
