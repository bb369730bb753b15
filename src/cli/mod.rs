//! The command line: one file per command, and the only place that prints.
//!
//! Data goes to stdout, everything else to stderr. The exit code says what kind of failure it was.

mod check;
mod demo;
mod docs;
mod explain;
mod http_args;
mod load;
mod log;
mod pause;
mod replay;
mod run;
mod service;
mod simulate;
mod state;
mod test;
mod trace;
mod why;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// SQL rules over Kafka topics, exactly once.
#[derive(Debug, Parser)]
#[command(name = "curb", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::CheckArgs),
    Demo(demo::DemoArgs),
    Docs(docs::DocsArgs),
    Explain(explain::ExplainArgs),
    Pause(pause::PauseArgs),
    Replay(replay::ReplayArgs),
    /// Let the rows of a paused sink go, also those that its max_rate held back
    Resume(pause::PauseArgs),
    // Boxed: it has many options.
    Run(Box<run::RunArgs>),
    Simulate(simulate::SimulateArgs),
    State(state::StateArgs),
    Test(test::TestArgs),
    Why(why::WhyArgs),
}

/// How a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputForm {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogForm {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a command failed, and the exit code that says so.
#[derive(Debug)]
enum Failure {
    /// The SQL was refused; the findings have been printed. Exit code 1.
    Refused,
    /// The run failed. Exit code 1.
    Failed(anyhow::Error),
    /// The command was called wrongly. Exit code 2.
    Usage(anyhow::Error),
    /// Files or settings must be changed first. Exit code 3.
    Configuration(anyhow::Error),
    /// The cluster does not answer. Exit code 4.
    Unreachable(anyhow::Error),
    /// A newer instance has taken over. Exit code 5.
    Fenced(anyhow::Error),
    /// Going on would break a promise; a person must decide. Exit code 6.
    Policy(anyhow::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Configuration(_) => 3,
            Self::Unreachable(_) => 4,
            Self::Fenced(_) => 5,
            Self::Policy(_) => 6,
        })
    }

    fn error(&self) -> Option<&anyhow::Error> {
        match self {
            Self::Refused => None,
            Self::Failed(error)
            | Self::Usage(error)
            | Self::Configuration(error)
            | Self::Unreachable(error)
            | Self::Fenced(error)
            | Self::Policy(error) => Some(error),
        }
    }
}

/// What went wrong while printing is a failure like any other, but a reader who stopped reading is none.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(anyhow::Error::new(error).context("output could not be printed"))
    }
}

/// Runs the command that `args` name, program first, and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version arrive here too. When not even that can be printed, the exit code is left.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let _spans = match &cli.command {
        Command::Run(args) => log::to_stderr("info", args.log_format),
        // The crashes that a test is put through are no news.
        Command::Test(_) => log::to_stderr("off", LogForm::Text),
        _ => log::to_stderr("warn", LogForm::Text),
    };
    let outcome = match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Docs(args) => docs::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Pause(args) => pause::run(args, pause::Wish::Pause),
        Command::Replay(args) => replay::run(args),
        Command::Resume(args) => pause::run(args, pause::Wish::Resume),
        Command::Run(args) => run::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::State(args) => state::run(args),
        Command::Test(args) => test::run(args),
        Command::Why(args) => why::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(error) = failure.error() {
                let _ = writeln!(io::stderr(), "error: {error:#}");
            }
            failure.exit_code()
        }
    }
}

/// Prints data. A reader that has closed the pipe has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}
