//! `golden/<provider>/<case>.http` is an answer as it came over the wire, `<case>.expected` is what it must mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use mm_model::Timestamp;

use super::{Verdict, judge};
use crate::catalogue::Catalogue;

/// Wed, 25 Nov 2026 12:00:00 GMT, which the dates in the cases refer to.
const NOW: Timestamp = Timestamp::from_unix(1_795_608_000);

/// Every provider that has cases: the built-in ones, and those of `golden/providers.toml`.
fn providers() -> Catalogue {
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.extend(Catalogue::parse(include_str!("../../golden/providers.toml")).unwrap()).unwrap();
    catalogue
}

struct Case {
    status: u16,
    retry_after: Option<String>,
    body: String,
}

impl Case {
    /// Reads status line, headers, an empty line and the body; the file's last line break is not the body's.
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{}: no empty line", path.display()));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<String, &str> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("{}: not a header: {line}", path.display())))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        Self {
            status,
            retry_after: headers.get("retry-after").map(ToString::to_string),
            body: body.strip_suffix('\n').unwrap_or(body).to_owned(),
        }
    }
}

fn wait(span: Option<Duration>) -> String {
    span.map_or("no wait named".to_owned(), |span| format!("wait {} s", span.as_secs()))
}

/// The verdict as the `.expected` files write it, the cases' invented tokens included.
fn render(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Refreshed(answer) => {
            let mut text = "refreshed\n".to_owned();
            let refresh_token = answer.refresh_token.as_ref().map_or("(kept)", |token| token.expose());
            writeln!(text, "access_token = {}", answer.access_token.expose()).unwrap();
            writeln!(text, "refresh_token = {refresh_token}").unwrap();
            writeln!(text, "expires_in = {} s", answer.expires_in.as_secs()).unwrap();
            writeln!(text, "scope = {}", answer.scope.as_deref().unwrap_or("(unchanged)")).unwrap();
            writeln!(text, "account = {}", answer.account.as_ref().map_or("(none)", |id| id.as_str())).unwrap();
            text
        }
        Verdict::Refused { reason } => format!("refused: {reason}\n"),
        Verdict::Misconfigured { error } => format!("misconfigured: {error}\n"),
        Verdict::Throttled { retry_after } => format!("throttled: {}\n", wait(*retry_after)),
        Verdict::Unavailable { cause, may_have_been_processed, retry_after } => {
            let processed = if *may_have_been_processed { "may have been processed" } else { "not processed" };
            format!("unavailable: {cause}, {processed}, {}\n", wait(*retry_after))
        }
    }
}

fn files(folder: &Path, extension: &str) -> BTreeSet<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn every_golden_answer_means_what_is_expected() {
    let catalogue = providers();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut with_cases = BTreeSet::new();
    let mut wrong = String::new();
    for folder in fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let id = folder.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let provider = catalogue.get(&id).unwrap_or_else(|| panic!("no provider for {}", folder.display()));
        let (answers, expectations) = (files(&folder, "http"), files(&folder, "expected"));
        let expected_of: BTreeSet<PathBuf> = answers.iter().map(|path| path.with_extension("expected")).collect();
        assert_eq!(expected_of, expectations, "each answer has one expectation and the other way round");
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            2 * answers.len(),
            "nothing else lies in {}",
            folder.display()
        );
        for path in answers {
            let case = Case::read(&path);
            let verdict = judge(provider, case.status, case.retry_after.as_deref(), case.body.as_bytes(), NOW);
            let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
            let found = render(&verdict);
            if found != expected {
                writeln!(wrong, "{}\nexpected: {expected}found: {found}", path.display()).unwrap();
            }
            with_cases.insert(id.clone());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let known: BTreeSet<_> = catalogue.iter().map(|provider| provider.id.clone()).collect();
    assert_eq!(with_cases, known, "every provider has cases");
}
