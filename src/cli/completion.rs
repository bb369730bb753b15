//! `curb completion`: what a shell needs to complete the command line.

use std::any::TypeId;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::builder::ArgAction;
use clap::{Arg, Args, Command, CommandFactory, ValueEnum, ValueHint};
use clap_complete::Generator;
use clap_complete::shells::{Bash, Fish, Zsh};

use super::{Cli, Failure, print};

/// clap's script offers flags wherever a value may stand; who completes a file or a word wants none, unless they began one.
const BASH_WITHOUT_FLAGS: &str = r#"
_curb_values() {
    _curb "$@"
    [[ $2 == -* ]] && return
    local word values=()
    for word in "${COMPREPLY[@]}"; do
        [[ $word == -* ]] || values+=("$word")
    done
    COMPREPLY=("${values[@]}")
}
complete -F _curb_values -o bashdefault -o default curb
"#;

const HOW: &str = "\
What is written is for the shell to read. For this session:

  bash  source <(curb completion bash)
  zsh   source <(curb completion zsh)
  fish  curb completion fish | source

For every session:

  bash  curb completion bash > ~/.local/share/bash-completion/completions/curb    (with the package bash-completion)
  zsh   curb completion zsh > \"${fpath[1]}/_curb\"    (after `autoload -U compinit; compinit` in ~/.zshrc)
  fish  curb completion fish > ~/.config/fish/completions/curb.fish";

/// Print the script by which a shell completes commands, flags, their values, and files
#[derive(Debug, Args)]
#[command(after_help = HOW)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

pub(super) fn run(args: &CompletionArgs) -> Result<(), Failure> {
    print(&script(args.shell)?)
}

fn script(shell: Shell) -> Result<String, Failure> {
    let mut command = hinted(Cli::command());
    command.set_bin_name("curb");
    command.build();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => Bash.try_generate(&command, &mut script)?,
        Shell::Fish => Fish.try_generate(&command, &mut script)?,
        Shell::Zsh => Zsh.try_generate(&command, &mut script)?,
    }
    let script = String::from_utf8(script).map_err(|e| Failure::Failed(anyhow!(e)))?;
    Ok(match shell {
        Shell::Bash => script + BASH_WITHOUT_FLAGS,
        Shell::Fish => script + &fish_values(&command),
        // zsh ends a name at its colon, and would take the rest for a command.
        Shell::Zsh => script.replace(":HOST:PORT:", ":HOST\\:PORT:"),
    })
}

/// What clap's script for fish leaves out: the words that stand behind a command, and that no file does where none belongs.
fn fish_values(command: &Command) -> String {
    let of_command = |sub: &Command| {
        let behind = format!("complete -c curb -n \"__fish_curb_using_subcommand {}\" -f", sub.get_name());
        let positionals: Vec<&Arg> = sub.get_positionals().collect();
        let words: Vec<String> = positionals
            .iter()
            .flat_map(|arg| arg.get_possible_values())
            .map(|value| value.get_name().to_owned())
            .collect();
        let is_file = |arg: &&Arg| matches!(arg.get_value_hint(), ValueHint::FilePath | ValueHint::DirPath);
        if !words.is_empty() {
            format!("{behind} -a \"{}\"\n", words.join(" "))
        } else if positionals.iter().any(is_file) || sub.has_subcommands() {
            String::new()
        } else {
            format!("{behind}\n")
        }
    };
    command.get_subcommands().map(of_command).collect()
}

/// Says of every value what it is, by its type and name, so that files are offered for what is a path and for nothing else.
fn hinted(command: Command) -> Command {
    command.mut_args(hint).mut_subcommands(hinted)
}

fn hint(arg: Arg) -> Arg {
    let takes_a_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if !takes_a_value || !arg.get_possible_values().is_empty() {
        return arg;
    }
    let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let is_folder = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "DIR"));
    arg.value_hint(match (is_path, is_folder) {
        (true, true) => ValueHint::DirPath,
        // A pack may be one file as well as a folder.
        (true, false) => ValueHint::FilePath,
        (false, _) => ValueHint::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shell: Shell) -> String {
        script(shell).unwrap_or_else(|failure| panic!("{failure:?}"))
    }

    #[test]
    fn every_shell_is_told_of_every_command_and_flag() {
        let mut command = Cli::command();
        command.build();
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = of(shell);
            for sub in command.get_subcommands() {
                assert!(script.contains(sub.get_name()), "{shell:?}: {}", sub.get_name());
                for long in sub.get_arguments().filter_map(Arg::get_long) {
                    assert!(script.contains(long), "{shell:?}: {} --{long}", sub.get_name());
                }
            }
        }
    }

    #[test]
    fn shells_are_told_what_their_scripts_would_get_wrong() {
        let fish = of(Shell::Fish);
        assert!(fish.contains("using_subcommand completion\" -f -a \"bash fish zsh\"\n"), "{fish}");
        assert!(fish.contains("using_subcommand sql\" -f\n") && !fish.contains("using_subcommand check\" -f\n"));
        assert!(!of(Shell::Zsh).contains(":HOST:PORT:"));
        assert!(of(Shell::Bash).ends_with("complete -F _curb_values -o bashdefault -o default curb\n"));
    }

    #[test]
    fn files_are_offered_where_a_path_belongs_only() {
        let command = hinted(Cli::command());
        let of = |command_name: &str, id: &str| {
            let found = command.find_subcommand(command_name).unwrap();
            found.get_arguments().find(|a| a.get_id() == id).unwrap().get_value_hint()
        };
        assert_eq!(of("check", "pack"), ValueHint::FilePath);
        assert_eq!(of("run", "state_dir"), ValueHint::DirPath);
        assert_eq!(of("run", "config"), ValueHint::FilePath);
        assert_eq!(of("run", "brokers"), ValueHint::Other);
        assert_eq!(of("sql", "query"), ValueHint::Other);
        assert_eq!(of("sql", "output"), ValueHint::Unknown, "it has words of its own");
    }
}
