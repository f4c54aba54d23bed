//! Configurations with one thing wrong, many of them: no panic, exit code 2, and a message that names the key or line.
//!
//! `INGLE_MUTATIONS` says how many, `INGLE_FAULT_SEED` which.

use std::path::PathBuf;

use ingle::random::RandomStream;

use crate::config::RunConfig;
use crate::config::tests::resolve;
use crate::error::CliError;

/// Values that hardly any key takes.
const VALUES: [&str; 16] = [
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e999",
    "-0.0",
    "18446744073709551616",
    "9223372036854775807",
    "\"x\"",
    "\"\"",
    "[]",
    "[[1]]",
    "{}",
    "{ x = 1 }",
    "true",
];

/// What was changed, and the texts of which an error must have one in it.
struct Mutation {
    text: Vec<u8>,
    named: Vec<String>,
}

fn mutate(base: &str, random: &mut RandomStream) -> Mutation {
    let lines: Vec<&str> = base.lines().collect();
    let settings: Vec<usize> = (0..lines.len()).filter(|line| lines[*line].contains(" = ")).collect();
    let line = settings[random.index(settings.len())];
    let (key, value) = lines[line].split_once(" = ").unwrap_or_default();
    // A setting that has keys of its own is named as a whole: `sac.temperature`.
    let section = lines[..line].iter().rev().find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    let parts: Vec<&str> = section.unwrap_or_default().splitn(3, '.').collect();
    let whole = parts.get(..2).map(|parts| parts.join("."));
    let named = |key: &str| whole.iter().cloned().chain([key.to_owned()]).collect();
    let replace = |new: String| {
        let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        lines[line] = new;
        lines.join("\n").into_bytes()
    };
    match random.index(6) {
        0 => {
            let text = replace(format!("{key} = {}", VALUES[random.index(VALUES.len())]));
            Mutation { text, named: named(key) }
        }
        1 => Mutation { text: replace(format!("{key}x = {value}")), named: named(&format!("{key}x")) },
        2 => Mutation {
            text: replace(format!("{key} = {value}\n{key} = {value}")),
            named: vec![key.to_owned()],
        },
        3 => {
            let mut text = base.as_bytes().to_vec();
            for _ in 0..=random.index(4) {
                let place = random.index(text.len());
                text[place] = random.index(256) as u8;
            }
            Mutation { text, named: Vec::new() }
        }
        4 => Mutation { text: base.as_bytes()[..random.index(base.len())].to_vec(), named: Vec::new() },
        _ => {
            let mut text = base.as_bytes().to_vec();
            let start = random.index(text.len());
            let end = (start + random.index(40)).min(text.len());
            let copy = text[start..end].to_vec();
            let place = random.index(text.len());
            text.splice(place..place, copy);
            Mutation { text, named: Vec::new() }
        }
    }
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, seed): (u64, u64) = (number("INGLE_MUTATIONS", 400), number("INGLE_FAULT_SEED", 1));
    let bases = ["sac", "rnd+td3", "normalise+ail+sac"].map(|learner| {
        resolve(&[&format!("learner={learner}"), "train.target_return=-5.0"]).unwrap().to_toml().unwrap()
    });
    let memory = PathBuf::from("/dev/shm");
    let directory = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let path = directory.join(format!("ingle-mutation-{}.toml", std::process::id()));
    let mut random = RandomStream::new(seed, 0);
    let mut refused = 0;
    for number in 0..count {
        let Mutation { text, named } = mutate(&bases[random.index(bases.len())], &mut random);
        std::fs::write(&path, &text).unwrap();
        let Err(error) = RunConfig::resolve(Some(&path), &[], Vec::new()) else { continue };
        refused += 1;
        let message = error.to_string();
        let what = format!("seed {seed}, mutation {number}: {message}\n{}", String::from_utf8_lossy(&text));
        assert!(matches!(error, CliError::Config(_) | CliError::Input(_) | CliError::Read { .. }), "{what}");
        assert!(!message.trim().is_empty(), "{what}");
        assert!(named.is_empty() || named.iter().any(|name| message.contains(name)), "{what}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(refused > count / 3, "only {refused} of {count} were refused");
    let bound = 1.0 - 0.05_f64.powf(1.0 / count as f64);
    println!(
        "{count} mutated configurations, seed {seed}: {refused} refused by name, 0 panics (95 % upper bound {bound:.2e})"
    );
}
