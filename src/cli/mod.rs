//! The command line: one file per command, and the only place that prints.
//!
//! Data goes to stdout, everything else to stderr. The exit code says what kind of failure it was.

mod check;
mod completion;
mod config;
mod demo;
mod diff;
mod docs;
mod doctor;
mod duration;
mod explain;
mod http_args;
mod load;
mod log;
mod man;
mod pause;
mod registry_args;
mod replay;
mod run;
mod service;
mod settings;
mod shell;
mod simulate;
mod sql;
mod sql_limits;
mod state;
mod test;
mod trace;
mod why;
mod worker_client;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use self::settings::Refused;

/// What every command ends with; scripts and Kubernetes go by it.
const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 a check or a query failed, 2 usage, 3 configuration, 4 worker or brokers unreachable, 5 fenced by a newer instance,
6 stopped because going on would break a promise.

`curb demo` shows all of it at work, `curb COMMAND --help` says more of a command.";

/// SQL rules over Kafka topics, exactly once.
#[derive(Debug, Parser)]
#[command(name = "curb", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::CheckArgs),
    Completion(completion::CompletionArgs),
    Config(config::ConfigArgs),
    Demo(demo::DemoArgs),
    Diff(diff::DiffArgs),
    Docs(docs::DocsArgs),
    // Boxed: it has many options.
    Doctor(Box<doctor::DoctorArgs>),
    Explain(explain::ExplainArgs),
    Man(man::ManArgs),
    Pause(pause::PauseArgs),
    Replay(replay::ReplayArgs),
    /// Let the rows of a paused sink go, also those that its max_rate held back
    Resume(pause::PauseArgs),
    // Boxed: it has many options.
    Run(Box<run::RunArgs>),
    Shell(shell::ShellArgs),
    // Boxed: it has many options.
    Simulate(Box<simulate::SimulateArgs>),
    Sql(sql::SqlArgs),
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
    let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let variables: Vec<(String, String)> = variables.collect();
    let (cli, configuration) = match settings::parse::<Cli>(args.into_iter().collect(), &variables) {
        Ok(parsed) => parsed,
        Err(Refused::Usage(error)) => {
            // Help and version arrive here too. When not even that can be printed, the exit code is left.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
        Err(Refused::Configuration(error)) => return end(Err(Failure::Configuration(error))),
    };
    let _spans = match &cli.command {
        Command::Run(args) => log::to_stderr("info", args.settings.log_format),
        // What goes wrong is what it reports.
        Command::Doctor(_) => log::to_stderr("off", LogForm::Text),
        // The crashes that a test is put through are no news.
        Command::Test(_) => log::to_stderr("off", LogForm::Text),
        // Why a cluster does not answer stands in the error that the command ends with.
        _ => log::to_stderr("warn,curb::kafka::client=off", LogForm::Text),
    };
    for property in configuration.exposed_secrets() {
        tracing::warn!(
            property,
            "a secret that is given with -X can be seen by everybody on this machine who lists processes: name a file that \
             holds it under [kafka.property_files] in the --config file, or use the environment"
        );
    }
    let outcome = match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Completion(args) => completion::run(args),
        Command::Config(args) => config::run(args, &configuration),
        Command::Demo(args) => demo::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Docs(args) => docs::run(args),
        Command::Doctor(args) => doctor::run(args, &configuration),
        Command::Explain(args) => explain::run(args),
        Command::Man(args) => man::run(args),
        Command::Pause(args) => pause::run(args, pause::Wish::Pause),
        Command::Replay(args) => replay::run(args),
        Command::Resume(args) => pause::run(args, pause::Wish::Resume),
        Command::Run(args) => run::run(args, &configuration),
        Command::Shell(args) => shell::run(args),
        Command::Simulate(args) => simulate::run(args, &configuration),
        Command::Sql(args) => sql::run(args),
        Command::State(args) => state::run(args, &configuration),
        Command::Test(args) => test::run(args),
        Command::Why(args) => why::run(args, &configuration),
    };
    end(outcome)
}

/// Says what went wrong, and with which exit code the program ends.
fn end(outcome: Result<(), Failure>) -> ExitCode {
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
