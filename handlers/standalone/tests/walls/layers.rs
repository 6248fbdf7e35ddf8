//! The walls between the workspace's own packages, and between them and what others wrote.

use crate::graph::{Declared, DeclaredWall, Node, TreeWall};

/// The floor a package stands on; it may depend on lower floors only. Packages on one floor do not see each other.
fn floor(package: &str) -> Option<u8> {
    Some(match package {
        "mm-model" => 0,
        "mm-oauth" => 1,
        "mm-engine" => 2,
        "mm-web" | "mm-embedded" | "mm-aws" | "mm-sandbox" => 3,
        "mm-boot" => 4,
        "mm-login" | "mm-callback" | "mm-token" | "mm-schedule" | "mm-stream" | "mm-worker" => 5,
        "mm-standalone" => 6,
        _ => return None,
    })
}

fn ours(package: &str) -> bool {
    package.starts_with("mm-")
}

fn function(package: &str) -> bool {
    floor(package) == Some(5)
}

/// The AWS SDK's packages and what they are made of; `aws_lambda_events` is types only, `aws-lc-rs` is cryptography.
fn aws_sdk(package: &str) -> bool {
    ["aws-sdk-", "aws-config", "aws-smithy-", "aws-types", "aws-runtime", "aws-credential-types"]
        .iter()
        .any(|prefix| package.starts_with(prefix))
}

pub(crate) const EVERY_PACKAGE_HAS_A_FLOOR: DeclaredWall = DeclaredWall {
    why: "one of the two stands on no floor: give it its place in `floor`, so that its dependencies are judged",
    breaks: |edge| floor(&edge.from).is_none() || (ours(&edge.to) && floor(&edge.to).is_none()),
};

/// The sandbox is an HTTP server that knows none of us, so anybody's tests may start it.
pub(crate) const DOWNWARD: DeclaredWall = DeclaredWall {
    why: "dependencies run downward only, so that a change is felt above it and nowhere else",
    breaks: |edge| {
        let for_tests = edge.dev && edge.to == "mm-sandbox";
        !for_tests && floor(&edge.to).is_some_and(|to| floor(&edge.from).is_none_or(|from| to >= from))
    },
};

pub(crate) const ENGINES_APART: DeclaredWall = DeclaredWall {
    why: "the embedded and the AWS engine meet at the ports; one that leaned on the other could not be proven by the other",
    breaks: |edge| {
        matches!((edge.from.as_str(), edge.to.as_str()), ("mm-embedded", "mm-aws") | ("mm-aws", "mm-embedded"))
    },
};

pub(crate) const WEB_KNOWS_NO_ENGINE_ROOM: DeclaredWall = DeclaredWall {
    why: "HTTP is the same over every store",
    breaks: |edge| edge.from == "mm-web" && ["mm-aws", "mm-embedded"].contains(&edge.to.as_str()),
};

pub(crate) const HANDLERS_APART: DeclaredWall = DeclaredWall {
    why: "one handler is one function with one role; only the standalone server knows them all",
    breaks: |edge| function(&edge.from) && (function(&edge.to) || edge.to == "mm-standalone"),
};

pub(crate) const NO_DOUBLE_IN_PRODUCTION: DeclaredWall = DeclaredWall {
    why: "the sandbox and the embedded engine have no business inside a cloud function; its tests may use them",
    breaks: |edge| {
        !edge.dev && ["mm-sandbox", "mm-embedded"].contains(&edge.to.as_str()) && edge.from != "mm-standalone"
    },
};

pub(crate) const SANDBOX_KNOWS_NOBODY: DeclaredWall = DeclaredWall {
    why: "a provider that shared our code would share our mistakes",
    breaks: |edge| edge.from == "mm-sandbox" && ours(&edge.to),
};

pub(crate) const BOOT_ONLY_FOR_PROGRAMS: DeclaredWall = DeclaredWall {
    why: "configuration is read once, by a program's main; libraries are given values",
    breaks: |edge| edge.to == "mm-boot" && !function(&edge.from) && edge.from != "mm-standalone",
};

pub(crate) const SDK_ONLY_IN_AWS: DeclaredWall = DeclaredWall {
    why: "the AWS SDK stays behind the ports: it doubles the build and would leak its types",
    breaks: |edge| aws_sdk(&edge.to) && !["mm-aws", "mm-boot"].contains(&edge.from.as_str()),
};

/// `aws-lc-rs` is arithmetic and tokio here is locks and timers; both are the same wherever the engine runs.
pub(crate) const ENGINE_SPEAKS_NO_TRANSPORT: DeclaredWall = DeclaredWall {
    why: "the engine is use cases over ports: it names no HTTP server or client, no event shape, no database",
    breaks: |edge| {
        let transport = [
            "axum",
            "aws_lambda_events",
            "hyper",
            "hyper-util",
            "http",
            "http-body-util",
            "lambda_http",
            "lambda_runtime",
            "reqwest",
            "rusqlite",
            "tower",
            "tower-http",
            "oauth2",
            "jsonwebtoken",
            "cookie",
        ];
        edge.from == "mm-engine" && !edge.dev && (transport.contains(&edge.to.as_str()) || aws_sdk(&edge.to))
    },
};

/// Over everything that `mm-model` is built from.
pub(crate) const MODEL_IS_PURE: TreeWall = TreeWall {
    why: "the model decides from what it is given: no async, no clock, no environment, no dice, no I/O, no SDK",
    banned: |node| {
        let name = node.name.as_str();
        let prefixes = [
            "async-",
            "futures",
            "tokio",
            "rand",
            "getrandom",
            "dotenv",
            "hyper",
            "aws",
            "lambda",
            "tracing-subscriber",
        ];
        let names = [
            "smol", "mio", "polling", "chrono", "time", "jiff", "fastrand", "envy", "reqwest", "axum", "http", "tower",
            "rusqlite", "oauth2", "ureq", "socket2", "uuid", "ulid",
        ];
        prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name)
    },
};

/// Over everything that `./scripts/dev` builds.
pub(crate) const DEV_BUILDS_NO_SDK: TreeWall = TreeWall {
    why: "./scripts/dev is from clone to first page in minutes; the AWS SDK and the Lambda runtime wait behind features",
    banned: |node| aws_sdk(&node.name) || node.name.starts_with("lambda_") || node.name == "mm-aws",
};

/// Over everything, with every feature.
pub(crate) const ONE_TLS_STACK: TreeWall = TreeWall {
    why: "one TLS stack: rustls over aws-lc; a second is a second set of advisories, and half a minute of compiling",
    banned: |node| {
        let others = [
            "ring",
            "openssl",
            "openssl-sys",
            "native-tls",
            "tokio-native-tls",
            "hyper-tls",
            "boring",
            "boring-sys",
            "mbedtls",
            "s2n-tls",
        ];
        let outdated = match node.name.as_str() {
            "rustls" => (node.version.major, node.version.minor) < (0, 23),
            "hyper" | "http" => node.version.major < 1,
            _ => false,
        };
        outdated || others.contains(&node.name.as_str())
    },
};

/// Packages that are built in more than one version, each with whoever holds the old one back and the way out.
pub(crate) const DUPLICATES: &[(&str, &str)] = &[
    ("base64", "serde_dynamo has 0.21, aws_lambda_events, jsonwebtoken and oauth2 0.22; gone when they move"),
    (
        "cpufeatures",
        "sha2 0.10 below oauth2 has 0.2, chacha20 below proptest 0.3; gone with oauth2's next major version",
    ),
    ("getrandom", "rand 0.8 below oauth2 has 0.2; gone with oauth2's next major version"),
    ("rand", "oauth2 has 0.8, proptest 0.10; gone with oauth2's next major version"),
    ("rand_chacha", "as rand; our own tests have 0.10"),
    ("rand_core", "as rand"),
    ("syn", "thiserror 1, tracing and zeroize derive with 2, everybody else with 3; compile time only"),
    ("thiserror", "oauth2 has 1; gone with its next major version"),
    ("thiserror-impl", "as thiserror"),
    ("untrusted", "aws-lc-rs has 0.7, rustls-webpki 0.9; each a few hundred lines"),
];

/// Duplicates that nobody has reviewed, and reviewed ones that are no more.
pub(crate) fn unreviewed_duplicates<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    reviewed: &[(&str, &str)],
) -> Vec<String> {
    let mut versions = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for node in nodes {
        versions.entry(&node.name).or_default().push(node.version.to_string());
    }
    versions.retain(|_, found| found.len() > 1);
    let unknown =
        versions.iter().filter(|(name, _)| !reviewed.iter().any(|(known, _)| known == *name)).map(|(name, found)| {
            format!("{name} is built as {}: align them, or list it with its reason", found.join(" and "))
        });
    let stale = reviewed
        .iter()
        .filter(|(name, _)| !versions.contains_key(name))
        .map(|(name, _)| format!("{name} is built once now: take it off the list"));
    unknown.chain(stale).collect()
}

/// The real edges plus one that is wrong, for the proof that a wall bites.
pub(crate) fn with(edges: &[Declared], wrong: &Declared) -> Vec<Declared> {
    edges.iter().cloned().chain([wrong.clone()]).collect()
}
