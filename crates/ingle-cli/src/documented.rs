//! Every command that a page, `--help` or the justfile shows is one that the command line takes, and the configuration
//! on the page of the command line is the default.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::arguments::{Arguments, Command};
use crate::config::RunConfig;
use crate::error::CliError;
use crate::train;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages, with their names.
fn pages() -> Vec<(String, String)> {
    let folder = root().join("docs");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("docs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    paths.sort();
    paths.push(root().join("README.md"));
    paths.push(root().join("demonstrations/README.md"));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("a page"))
    };
    paths.into_iter().map(read).collect()
}

/// The fenced pieces of a page in that language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let start = format!("\n```{language}\n");
    page.split(start.as_str()).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

/// The commands of a piece of shell, each as its words: of as much of the shell as pages use.
fn commands(shell: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let (mut word, mut quote) = (None::<String>, None);
    let joined = shell.replace("\\\n", " ") + "\n";
    let mut letters = joined.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => while letters.next_if(|&letter| letter != '\n').is_some() {},
            (' ' | '\n' | ';' | '|' | '&' | '>', None) => {
                all.last_mut().expect("a command").extend(word.take());
                if letter != ' ' {
                    all.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    all.retain(|words| !words.is_empty());
    all
}

/// The arguments that a command gives to `ingle`, if it does.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let start = words.iter().position(|word| !["if", "while", "!", "do", "then"].contains(&word.as_str()))?;
    let words = &words[start..];
    let after = match words.first()?.as_str() {
        "ingle" => 1,
        "cargo" if words.get(1)? == "run" && !words.iter().any(|word| word == "--example") => {
            words.iter().position(|word| word == "--")? + 1
        }
        _ => return None,
    };
    Some(std::iter::once("ingle".to_owned()).chain(words[after..].iter().cloned()).collect())
}

/// What is wrong with a command.
fn problem(words: &[String]) -> Option<String> {
    let options = match Arguments::try_parse_from(words) {
        Ok(Arguments { command: Command::Train(options) }) => options,
        Ok(_) => return None,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return None;
        }
        Err(error) => return Some(error.to_string()),
    };
    let file = options.config.as_ref().map(|path| root().join(path));
    if options.resume || file.as_ref().is_some_and(|path| !path.exists()) {
        return None;
    }
    match train::resolve(&options, file.as_deref()) {
        Ok(_) => None,
        Err(CliError::Config(problems)) => Some(problems.join("; ")),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_command_that_is_shown_is_taken() {
    let mut shells: Vec<(String, String)> = Vec::new();
    for (name, page) in pages() {
        shells.extend(blocks(&page, "sh").into_iter().map(|block| (name.clone(), block.to_owned())));
    }
    let (mut checked, mut problems) = (0, Vec::new());
    let mut commands_left: Vec<_> = Arguments::command().get_subcommands().cloned().collect();
    while let Some(command) = commands_left.pop() {
        if command.has_subcommands() {
            commands_left.extend(command.get_subcommands().cloned());
            continue;
        }
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples.lines().filter(|line| line.starts_with("  ingle ")).collect::<Vec<_>>();
        if examples.is_empty() {
            problems.push(format!("ingle {} --help shows no example", command.get_name()));
        }
        shells.push((format!("ingle {} --help", command.get_name()), examples.join("\n")));
    }
    for (place, shell) in shells {
        for words in commands(&shell).iter().filter_map(|words| arguments(words)) {
            checked += 1;
            problems
                .extend(problem(&words).map(|problem| format!("{place}: {}: {problem}", words.join(" "))));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 40, "only {checked} commands were found");
}

#[test]
fn the_configuration_on_its_page_is_the_default() {
    let page = fs::read_to_string(root().join("docs/command-line.md")).expect("the page");
    let shown = blocks(&page, "toml").into_iter().next().expect("a configuration");
    assert_eq!(RunConfig::read(shown).expect("a configuration"), RunConfig::default());
    // What it leaves out is shown as a comment: uncommented, all of it is still a configuration.
    let all: String =
        shown.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    RunConfig::read(&all).expect("a configuration");
}

#[test]
fn what_is_wrong_with_a_command_is_seen() {
    let shell = "ingle train sac --set 'a=[1, 2]' \\\n  --seed 3 # a comment\nwhile ! ingle runs; do sleep 1; done\nls|wc";
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        commands(shell),
        [
            words(&["ingle", "train", "sac", "--set", "a=[1, 2]", "--seed", "3"]),
            words(&["while", "!", "ingle", "runs"]),
            words(&["do", "sleep", "1"]),
            words(&["done"]),
            words(&["ls"]),
            words(&["wc"])
        ]
    );
    assert_eq!(arguments(&words(&["while", "!", "ingle", "runs"])), Some(words(&["ingle", "runs"])));
    let run = words(&["cargo", "run", "--release", "--features", "wgpu", "--", "devices"]);
    assert_eq!(arguments(&run), Some(words(&["ingle", "devices"])));
    assert_eq!(arguments(&words(&["cargo", "build"])), None);

    assert_eq!(problem(&words(&["ingle", "train", "sac", "--set", "sac.tau=0.01"])), None);
    assert!(problem(&words(&["ingle", "train", "sac", "--set", "sac.tow=0.01"])).is_some());
    assert!(problem(&words(&["ingle", "train", "sac", "--set", "sac.tau=2"])).is_some());
    assert!(problem(&words(&["ingle", "train", "sac", "--sead", "1"])).is_some());
    assert!(problem(&words(&["ingle", "trayn"])).is_some());
}
