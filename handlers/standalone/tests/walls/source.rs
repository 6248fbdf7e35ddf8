//! The walls that Cargo does not see: what the sources may name, and where.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::graph::root;

/// A file under `handlers` or `shared`, by its path from the workspace's root.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    /// What a program is built from: no comments, no test modules. Line numbers are kept.
    code: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: code_of(text) }
    }

    /// Tests may do what programs may not; they lie in `tests` directories, `tests.rs` files and test modules.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The files of a program and of no library: its `main.rs`, and `run`, which the main that assembles most keeps apart.
    fn is_main(&self) -> bool {
        let program = self.path.strip_prefix("handlers/").and_then(|path| path.split_once("/src/"));
        program.is_some_and(|(_, file)| matches!(file, "main.rs" | "run.rs") || file.starts_with("run/"))
    }
}

/// What a line of a program must not name, where that is forbidden, and why.
pub(crate) struct SourceWall {
    pub(crate) why: &'static str,
    pub(crate) judges: fn(&Source) -> bool,
    pub(crate) names: fn(&str) -> bool,
}

impl SourceWall {
    pub(crate) fn breaches(&self, sources: &[Source]) -> Vec<String> {
        let mut breaches = Vec::new();
        for source in sources.iter().filter(|source| !source.is_test() && (self.judges)(source)) {
            for (index, line) in source.code.iter().enumerate() {
                if (self.names)(line) {
                    breaches.push(format!("{}:{}: `{}`: {}", source.path, index + 1, line.trim(), self.why));
                }
            }
        }
        breaches
    }
}

pub(crate) const ENVIRONMENT_ONLY_IN_BOOT: SourceWall = SourceWall {
    why: "the environment is read once, in shared/boot, where a wrong value can be named with its remedy",
    judges: |source| !source.path.starts_with("shared/boot/"),
    names: |line| {
        line.contains("std::env")
            || line.contains("dotenvy::")
            || (line.contains("use std::{") && has_word(line, "env"))
    },
};

pub(crate) const BOOT_ONLY_IN_MAIN: SourceWall = SourceWall {
    why: "only a program's main.rs, and its run, assembles from configuration; everything else is given values",
    judges: |source| !source.is_main() && !source.path.starts_with("shared/boot/"),
    names: |line| has_word(line, "mm_boot"),
};

pub(crate) const NOTHING_IS_PRINTED: SourceWall = SourceWall {
    why: "write to a given handle or to tracing: what is printed past both has no level, no redaction and no test",
    judges: |_| true,
    names: |line| {
        ["println!", "eprintln!", "print!", "eprint!", "dbg!"]
            .iter()
            .any(|name| has_word(line, name.trim_end_matches('!')) && line.contains(name))
    },
};

pub(crate) const MODEL_DOES_NOTHING: SourceWall = SourceWall {
    why: "the model decides from what it is given: no async, no I/O, no clock, no environment, no threads",
    judges: |source| source.path.starts_with("shared/model/"),
    names: |line| {
        let rooms = ["std::fs", "std::net", "std::env", "std::io", "std::thread", "std::process"];
        let words = ["async", "SystemTime", "Instant"];
        line.contains(".await")
            || rooms.iter().any(|room| line.contains(room))
            || words.iter().any(|word| has_word(line, word))
    },
};

pub(crate) const ENGINE_NAMES_NO_MACHINERY: SourceWall = SourceWall {
    why: "the engine speaks the domain's words: no database, queue, function or HTTP status has a name here",
    judges: |source| source.path.starts_with("shared/engine/"),
    names: |line| {
        let line = line.to_lowercase();
        ["dynamo", "sqs", "lambda", "statuscode", "status_code", "sqlite", "eventbridge"]
            .iter()
            .any(|name| line.contains(name))
    },
};

/// What is read from outside the program, and must be read in one file so that tests can own it.
pub(crate) const CLOCK: &[&str] = &["SystemTime::now", "Instant::now"];
pub(crate) const DICE: &[&str] = &["rand::fill", "SystemRandom::new", "CsrfToken::new_random", "new_random_sha256"];

/// The files that read it, when there are several. Clippy knows tokio's `Instant`, a socket deadline, from the clock's, and
/// refuses the latter unless the lint is answered: so a file counts that has both the reading and the answer.
pub(crate) fn read_in_several_files(sources: &[Source], readings: &[&str]) -> Vec<String> {
    let has = |source: &Source, text: &str| source.code.iter().any(|line| line.contains(text));
    let files: Vec<String> = sources
        .iter()
        .filter(|source| !source.is_test() && has(source, "clippy::disallowed_methods"))
        .filter(|source| readings.iter().any(|reading| has(source, reading)))
        .map(|source| source.path.clone())
        .collect();
    if files.len() > 1 { files } else { Vec::new() }
}

/// Names in capitals, as variables have, that these sources quote and the document does not mention.
pub(crate) fn unmentioned_variables(sources: &[Source], document: &str) -> Vec<String> {
    let is_name = |text: &&str| text.len() > 3 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let lines = sources.iter().filter(|source| !source.is_test()).flat_map(|source| &source.code);
    let names: BTreeSet<&str> = lines.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(is_name).collect();
    names.into_iter().filter(|name| !document.contains(name)).map(str::to_owned).collect()
}

/// Paths that say nothing about what is inside.
pub(crate) fn nameless(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .map(|source| &source.path)
        .filter(|path| {
            ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"]
                .iter()
                .any(|name| path.ends_with(&format!("/{name}")))
        })
        .map(|path| format!("{path}: name the module after its noun, as `noun.rs` beside `noun/`"))
        .collect()
}

/// A text of the workspace, by its path from the root.
pub(crate) fn document(path: &str) -> Result<String, Failure> {
    Ok(fs::read_to_string(root().join(path))?)
}

/// Every Rust file of the workspace.
pub(crate) fn sources() -> Result<Vec<Source>, Failure> {
    let root = root();
    let mut found = Vec::new();
    for room in ["handlers", "shared"] {
        walk(&root, &PathBuf::from(room), &mut found)?;
    }
    Ok(found)
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<Source>) -> Result<(), Failure> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path))?;
            found.push(Source::new(&path.to_string_lossy(), &text));
        }
    }
    Ok(())
}

/// Whether `word` stands in `line` as a whole identifier.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

/// Blanks comments and test modules. Not a parser: rustfmt's layout is relied upon, where a module's closing brace stands
/// in the column of its attribute.
fn code_of(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens_tests =
            line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if opens_tests {
            code.push(String::new());
            for line in lines.by_ref() {
                code.push(String::new());
                if line == "}" {
                    break;
                }
            }
            continue;
        }
        let kept = line.split_once("// ").map_or(line, |(before, _)| before);
        code.push(if line.trim_start().starts_with("//") { String::new() } else { kept.to_owned() });
    }
    code
}
