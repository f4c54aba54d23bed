//! The pages that people read: every link leads somewhere, the book holds every page, and Rust on a page is quoted from
//! a file that is compiled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use ingle_testing::report;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The path without `.` and `..`; it may leave the folder that it is relative to.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.iter().collect()
}

/// All files below `folder` with that ending, but for hidden ones, builds and runs; relative to `base`, sorted.
fn files(base: &Path, folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(base.join(folder))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        let below = folder.join(&name);
        if name.starts_with('.') {
            continue;
        }
        if entry.is_dir() {
            if !(folder.as_os_str().is_empty() && ["target", "runs"].contains(&name.as_str())) {
                files(base, &below, ending, found);
            }
        } else if entry.extension().is_some_and(|own| own == ending) {
            found.push(below);
        }
    }
}

/// The Markdown pages of the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root(), Path::new(""), "md", &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root().join(&path)).expect("a page");
        (path, text)
    };
    found.into_iter().map(read).collect()
}

/// A fenced piece of a page.
struct Block {
    line: usize,
    language: String,
    /// The file that it is quoted from: a comment `<!-- FILE -->` on the line before.
    source: Option<String>,
    code: Vec<String>,
}

/// The lines outside of fences with their numbers, and what is inside.
fn parts(text: &str) -> (Vec<(usize, &str)>, Vec<Block>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::<Block>::new());
    let mut open = false;
    let mut before = "";
    for (index, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(_), true) => open = false,
            (Some(language), false) => {
                open = true;
                let source = before.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                blocks.push(Block {
                    line: index + 1,
                    language: language.to_owned(),
                    source: source.map(str::to_owned),
                    code: Vec::new(),
                });
            }
            (None, true) => blocks.last_mut().expect("a fence").code.push(line.to_owned()),
            (None, false) => prose.push((index + 1, line)),
        }
        before = line;
    }
    (prose, blocks)
}

/// What a page links to, with line numbers: `[text](target)` outside of code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in parts(text).0 {
        // Code spans are every other piece between backticks.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for rest in plain.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            found.push((number, target.to_owned()));
        }
    }
    found
}

/// The anchors of a page's headings, as code hosts and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in parts(text).0 {
        let Some(heading) = line.strip_prefix('#') else { continue };
        let heading = heading.trim_start_matches('#').trim();
        let slug: String = heading
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let again = (1..).map(|count| format!("{slug}-{count}"));
        let free = std::iter::once(slug.clone()).chain(again).find(|slug| !found.contains(slug));
        found.extend(free);
    }
    found
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://")
        || ["mailto:", "data:", "javascript:"].iter().any(|start| target.starts_with(start))
}

/// Whether `code` stands in `source`, indented or not. A line `// ...` leaves lines out.
fn is_quoted(code: &[String], source: &str) -> bool {
    let source: Vec<&str> = source.lines().collect();
    let mut from = 0;
    for part in code.split(|line| line.trim() == "// ...") {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        let part = without_indentation(trimmed(&part));
        let found = (from..=source.len().saturating_sub(part.len())).find(|&start| {
            without_indentation(&source[start..(start + part.len()).min(source.len())]) == part
        });
        match found {
            Some(start) => from = start + part.len(),
            None => return false,
        }
    }
    true
}

/// Without the empty lines at both ends.
fn trimmed<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(start, |last| last + 1);
    &lines[start..end]
}

fn without_indentation(lines: &[&str]) -> Vec<String> {
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let least = lines.iter().filter(|line| !line.is_empty()).map(indentation).min().unwrap_or(0);
    lines.iter().map(|line| line.get(least..).unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_link_on_a_page_leads_somewhere() {
    let mut problems = Vec::new();
    for (path, text) in pages() {
        let folder = path.parent().unwrap_or(Path::new(""));
        for (line, target) in links(&text) {
            if is_elsewhere(&target) {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { path.clone() } else { normal(&folder.join(file)) };
            let place = root().join(&file);
            if !place.exists() {
                problems.push(format!("{}:{line}: there is no {}", path.display(), file.display()));
            } else if !anchor.is_empty() {
                let there = fs::read_to_string(&place).is_ok_and(|text| anchors(&text).contains(anchor));
                if !there {
                    problems.push(format!("{}:{line}: {} has no #{anchor}", path.display(), file.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_book_has_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).expect("the contents");
    let listed: Vec<PathBuf> =
        links(&summary).into_iter().map(|(_, target)| normal(&Path::new("docs").join(target))).collect();
    let mut there: Vec<PathBuf> = pages().into_iter().map(|(path, _)| path).collect();
    there.retain(|path| path.starts_with("docs") && !path.ends_with("SUMMARY.md"));
    for page in there {
        let count = listed.iter().filter(|listed| **listed == page).count();
        assert_eq!(count, 1, "docs/SUMMARY.md is to have {} once", page.display());
    }
}

#[test]
fn rust_on_a_page_is_code_that_is_compiled() {
    let mut problems = Vec::new();
    for (path, text) in pages() {
        for block in parts(&text).1.iter().filter(|block| block.language == "rust") {
            let place = format!("{}:{}", path.display(), block.line);
            let Some(source) = &block.source else {
                problems.push(format!(
                    "{place}: say where this code is compiled, in a line `<!-- examples/NAME.rs -->` just before it"
                ));
                continue;
            };
            match fs::read_to_string(root().join(source)) {
                Err(error) => problems.push(format!("{place}: {source}: {error}")),
                Ok(text) if is_quoted(&block.code, &text) => {}
                Ok(_) => problems.push(format!("{place}: this is not what {source} has")),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The values of an attribute in a page of HTML.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// `%C3%A9` as `é`.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        if let (b'%', Some(byte)) = (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What does not lead anywhere in a book as mdBook built it.
fn broken(book: &Path) -> Vec<String> {
    let mut found = Vec::new();
    files(book, Path::new(""), "html", &mut found);
    // One long page for printing, and one that may be shown at any address: neither has addresses of its own.
    found.retain(|path| !["print.html", "404.html"].iter().any(|name| path.ends_with(name)));
    assert!(found.len() > 10, "{} has {} pages", book.display(), found.len());
    let mut problems = Vec::new();
    for page in found {
        let html = fs::read_to_string(book.join(&page)).expect("a page");
        let folder = page.parent().unwrap_or(Path::new(""));
        for target in attributes(&html, "href").into_iter().chain(attributes(&html, "src")) {
            let target = percent_decoded(&target.replace("&amp;", "&"));
            if is_elsewhere(&target) || target.is_empty() {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { page.clone() } else { normal(&folder.join(file)) };
            let place = book.join(&file);
            if !place.exists() {
                problems.push(format!("{}: there is no {}", page.display(), file.display()));
            } else if !anchor.is_empty() && file.extension().is_some_and(|ending| ending == "html") {
                let html = fs::read_to_string(&place).expect("a page");
                if !attributes(&html, "id").contains(&anchor) {
                    problems.push(format!("{}: {} has no #{anchor}", page.display(), file.display()));
                }
            }
        }
    }
    problems
}

#[test]
fn every_link_of_the_built_book_leads_somewhere() {
    let Some(book) = std::env::var_os("INGLE_BOOK") else {
        report(
            "SKIPPED links of the built book: INGLE_BOOK does not say where it is (`just book` builds it)",
        );
        return;
    };
    let problems = broken(Path::new(&book));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn what_is_wrong_with_a_page_is_seen() {
    let page = "# One, two: `x` (y)\n## One\n## One\n[a](b.md#c) `[no](link)` [d](e.md)\n```rust\n[no](link)\n# no heading\n```\n";
    assert_eq!(links(page), [(4, "b.md#c".into()), (4, "e.md".into())]);
    assert_eq!(anchors(page), ["one-two-x-y", "one", "one-1"].map(String::from).into());

    let source = "fn main() {\n    let a = 1;\n\n    if a > 0 {\n        run();\n    }\n}\n";
    let quoted = |code: &str| is_quoted(&code.lines().map(str::to_owned).collect::<Vec<_>>(), source);
    assert!(quoted("let a = 1;\n\nif a > 0 {\n    run();\n}"));
    assert!(quoted("let a = 1;\n// ...\n    run();"));
    assert!(!quoted("let a = 2;"));
    assert!(!quoted("run();\n// ...\nlet a = 1;"), "in another order");
    assert!(!quoted("let a = 1;\nif a > 0 {"), "a line is missing");

    let page = "<!-- x.rs -->\n```rust\ncode\n```\n\n```sh\nls\n```\n";
    let sources: Vec<_> = parts(page).1.into_iter().map(|block| (block.line, block.source)).collect();
    assert_eq!(sources, [(2, Some("x.rs".into())), (6, None)]);

    assert_eq!(percent_decoded("%CF%80-x%"), "π-x%");
    assert_eq!(normal(Path::new("docs/../a/./b.md")), Path::new("a/b.md"));

    let book = std::env::temp_dir().join(format!("ingle-book-{}", std::process::id()));
    fs::create_dir_all(&book).expect("a folder");
    for number in 0..11 {
        let next = if number == 10 { "nowhere.html".to_owned() } else { format!("{}.html#top", number + 1) };
        let id = if number == 5 { "bottom" } else { "top" };
        let html =
            format!("<h1 id=\"{id}\"></h1><a href=\"{next}\"></a><img src=\"https://example.org/x.png\">");
        fs::write(book.join(format!("{number}.html")), html).expect("a page");
    }
    let problems = broken(&book);
    fs::remove_dir_all(&book).expect("the folder");
    assert_eq!(problems, ["10.html: there is no nowhere.html", "4.html: 5.html has no #top"]);
}
