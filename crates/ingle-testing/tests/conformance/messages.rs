//! What the compiler says of parts that do not fit, in our words.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

/// Compiles a fixture against a library, which is a file beside this test: metadata only, so nothing is linked.
fn compile(fixture: &Path, library: &Path) -> Output {
    let dependencies = library.parent().expect("a folder");
    let name = fixture.file_stem().expect("a name").to_string_lossy();
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--emit=metadata",
            "--color=never",
            "--crate-name",
            &name,
        ])
        .arg(format!("--extern=ingle={}", library.display()))
        .arg(format!("-Ldependency={}", dependencies.display()))
        .arg("-o")
        .arg(std::env::temp_dir().join(format!("ingle-{}-{name}.rmeta", std::process::id())))
        .arg(fixture)
        .output()
        .unwrap_or_else(|error| panic!("rustc: {error}"))
}

/// Cargo keeps one library for each selection of features: the newest with which what fits compiles.
fn library(fits: &Path) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.parent().expect("a folder");
    let mut libraries: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(folder)
        .expect("the folder of this test")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("libingle-")
                && Path::new(&name).extension().is_some_and(|ending| ending == "rlib")
        })
        .map(|entry| (entry.metadata().and_then(|data| data.modified()).expect("a time"), entry.path()))
        .collect();
    libraries.sort();
    let mut said = format!("there is no libingle-*.rlib in {}", folder.display());
    for (_, library) in libraries.into_iter().rev() {
        let output = compile(fits, &library);
        if output.status.success() {
            return library;
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    panic!("what fits does not compile: {said}");
}

#[test]
fn parts_that_do_not_fit_are_refused_in_our_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let fits = folder.join("compiles.rs");
    let library = library(&fits);
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).expect("the fixtures") {
        let fixture = entry.expect("an entry").path();
        if fixture == fits {
            continue;
        }
        let source = std::fs::read_to_string(&fixture).expect("a fixture");
        let messages: Vec<&str> =
            source.lines().filter_map(|line| line.strip_prefix("// Message: ")).collect();
        assert!(!messages.is_empty(), "{} expects no message", fixture.display());
        let output = compile(&fixture, &library);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} compiles", fixture.display());
        for message in messages {
            assert!(said.contains(message), "{}: no '{message}' in:\n{said}", fixture.display());
        }
        checked += 1;
    }
    assert!(checked > 0, "no fixtures in {}", folder.display());
}
