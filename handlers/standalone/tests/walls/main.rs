//! The walls of the house: what may depend on what, who may name what, and where the outside is read.
//!
//! Every wall is proven twice in one test: it bites on a graph or source made up to break it, and what the workspace really
//! is does not break it. Most walls look at manifests, which name optional dependencies too; where features and third
//! parties decide, cargo's own tree is asked.

mod graph;
mod layers;
mod manifests;
mod source;

use graph::{Declared, DeclaredWall, Tree, TreeWall, declared, metadata, tree};
use source::{Source, SourceWall, sources};

type Failure = Box<dyn std::error::Error>;
type Outcome = Result<(), Failure>;

/// Every package, every feature, every kind of dependency.
const EVERYTHING: &[&str] = &["--workspace", "--all-features", "--edges", "normal,build,dev"];

fn none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn bites(breaches: &[String], offender: &str) {
    assert!(
        breaches.iter().any(|breach| breach.contains(offender)),
        "the wall does not see {offender}; it saw {breaches:?}"
    );
}

/// `wrong` are edges, each of which alone must be seen; the real ones must not be.
fn hold(wall: &DeclaredWall, wrong: &[(&str, &str)]) -> Outcome {
    let real = declared()?;
    for (from, to) in wrong {
        let breaches = wall.breaches(&layers::with(&real, &Declared::new(from, to, false)));
        bites(&breaches, &format!("{from} -> {to}"));
    }
    none(&wall.breaches(&real));
    Ok(())
}

/// `wrong` are packages (`name version`), each of which must be seen two floors below `root`.
fn hold_tree(wall: &TreeWall, real: &Tree, root: &str, wrong: &[&str]) -> Outcome {
    for package in wrong {
        let (name, version) = package.split_once(' ').ok_or("`name version`")?;
        let made_up = format!("0{root} v0.1.0 (/here)\n1between v1.0.0\n2{name} v{version}\n1serde v1.0.0\n");
        bites(&wall.breaches(&Tree::parse(&made_up)?), &format!("{root} -> between -> {package}"));
    }
    none(&wall.breaches(real));
    Ok(())
}

/// `wrong` are files (path, text) with one bad line each.
fn hold_source(wall: &SourceWall, wrong: &[(&str, &str)]) -> Outcome {
    for (path, text) in wrong {
        bites(&wall.breaches(&[Source::new(path, text)]), path);
    }
    none(&wall.breaches(&sources()?));
    Ok(())
}

#[test]
fn every_package_stands_on_a_floor() -> Outcome {
    hold(&layers::EVERY_PACKAGE_HAS_A_FLOOR, &[("mm-new", "serde"), ("mm-web", "mm-new")])
}

#[test]
fn dependencies_run_downward_only() -> Outcome {
    let upward = [
        ("mm-model", "mm-oauth"),
        ("mm-oauth", "mm-engine"),
        ("mm-engine", "mm-embedded"),
        ("mm-web", "mm-sandbox"),
        ("mm-aws", "mm-boot"),
        ("mm-boot", "mm-token"),
        ("mm-token", "mm-standalone"),
    ];
    hold(&layers::DOWNWARD, &upward)?;
    let for_tests = |to| vec![Declared::new("mm-oauth", to, true)];
    none(&layers::DOWNWARD.breaches(&for_tests("mm-sandbox")));
    bites(&layers::DOWNWARD.breaches(&for_tests("mm-embedded")), "mm-oauth -> mm-embedded (dev)");
    Ok(())
}

#[test]
fn the_two_engines_do_not_see_each_other() -> Outcome {
    hold(&layers::ENGINES_APART, &[("mm-embedded", "mm-aws"), ("mm-aws", "mm-embedded")])
}

#[test]
fn web_sees_no_engine_room() -> Outcome {
    hold(&layers::WEB_KNOWS_NO_ENGINE_ROOM, &[("mm-web", "mm-aws"), ("mm-web", "mm-embedded")])
}

#[test]
fn no_handler_sees_another() -> Outcome {
    hold(&layers::HANDLERS_APART, &[("mm-token", "mm-worker"), ("mm-login", "mm-standalone")])
}

#[test]
fn no_function_holds_a_double() -> Outcome {
    hold(
        &layers::NO_DOUBLE_IN_PRODUCTION,
        &[("mm-worker", "mm-sandbox"), ("mm-token", "mm-embedded"), ("mm-boot", "mm-embedded")],
    )?;
    none(&layers::NO_DOUBLE_IN_PRODUCTION.breaches(&[Declared::new("mm-worker", "mm-embedded", true)]));
    Ok(())
}

#[test]
fn the_sandbox_knows_nobody() -> Outcome {
    hold(&layers::SANDBOX_KNOWS_NOBODY, &[("mm-sandbox", "mm-model"), ("mm-sandbox", "mm-oauth")])
}

#[test]
fn only_programs_depend_on_boot() -> Outcome {
    hold(&layers::BOOT_ONLY_FOR_PROGRAMS, &[("mm-web", "mm-boot"), ("mm-aws", "mm-boot")])
}

#[test]
fn only_aws_and_boot_depend_on_the_sdk() -> Outcome {
    hold(
        &layers::SDK_ONLY_IN_AWS,
        &[("mm-engine", "aws-sdk-dynamodb"), ("mm-worker", "aws-config"), ("mm-standalone", "aws-smithy-types")],
    )?;
    none(&layers::SDK_ONLY_IN_AWS.breaches(&[
        Declared::new("mm-aws", "aws-sdk-sqs", false),
        Declared::new("mm-boot", "aws-config", false),
        Declared::new("mm-stream", "aws_lambda_events", false),
        Declared::new("mm-engine", "aws-lc-rs", false),
    ]));
    Ok(())
}

#[test]
fn the_engine_depends_on_no_transport() -> Outcome {
    hold(
        &layers::ENGINE_SPEAKS_NO_TRANSPORT,
        &[("mm-engine", "axum"), ("mm-engine", "http"), ("mm-engine", "reqwest"), ("mm-engine", "aws-sdk-kms")],
    )
}

#[test]
fn the_model_is_built_from_pure_packages() -> Outcome {
    let real = tree(&["--package", "mm-model", "--all-features", "--edges", "normal,build"])?;
    let wrong = [
        "tokio 1.0.0",
        "async-trait 0.1.0",
        "futures-util 0.3.0",
        "chrono 0.4.0",
        "dotenvy 0.15.0",
        "rand_core 0.10.0",
        "getrandom 0.4.0",
        "aws-sdk-sqs 1.0.0",
        "reqwest 0.13.0",
    ];
    hold_tree(&layers::MODEL_IS_PURE, &real, "mm-model", &wrong)
}

#[test]
fn scripts_dev_builds_no_sdk() -> Outcome {
    let real = tree(&["--package", "mm-standalone", "--edges", "normal,build"])?;
    let wrong = ["aws-sdk-dynamodb 1.0.0", "aws-config 1.0.0", "lambda_runtime 1.0.0", "mm-aws 0.1.0"];
    hold_tree(&layers::DEV_BUILDS_NO_SDK, &real, "mm-standalone", &wrong)
}

#[test]
fn there_is_one_tls_stack() -> Outcome {
    let wrong =
        ["ring 0.17.0", "openssl-sys 0.9.0", "native-tls 0.2.0", "hyper 0.14.30", "rustls 0.21.12", "http 0.2.12"];
    hold_tree(&layers::ONE_TLS_STACK, &tree(EVERYTHING)?, "mm-oauth", &wrong)?;
    let present = Tree::parse("0mm-oauth v0.1.0 (/here)\n1rustls v0.23.0\n1hyper v1.0.0\n1http v1.0.0\n")?;
    none(&layers::ONE_TLS_STACK.breaches(&present));
    Ok(())
}

#[test]
fn every_duplicate_version_is_reviewed() -> Outcome {
    let twice = Tree::parse("0mm-web v0.1.0\n1syn v2.0.0\n1serde v1.0.0\n2syn v3.0.0\n")?;
    bites(&layers::unreviewed_duplicates(twice.nodes(), &[]), "syn is built as 2.0.0 and 3.0.0");
    bites(&layers::unreviewed_duplicates(twice.nodes(), &[("syn", ""), ("serde", "")]), "serde is built once");
    none(&layers::unreviewed_duplicates(tree(EVERYTHING)?.nodes(), layers::DUPLICATES));
    Ok(())
}

#[test]
fn every_dependency_says_what_it_is_for() -> Outcome {
    let section = "[workspace.dependencies]\nmm-web = { path = \"shared/web\" }\n";
    let unexplained = format!("{section}# HTTP.\nhyper = \"1\"\ntoml = \"1\"\n");
    bites(&manifests::uncommented(&unexplained), "toml");
    bites(&manifests::uncommented(&format!("{section}# A heading.\n\ntoml = \"1\"\n")), "toml");
    none(&manifests::uncommented(&format!("{section}# HTTP.\nhyper = \"1\"\nhyper-util = \"1\"\n")));
    none(&manifests::uncommented(&manifests::workspace_manifest()?));
    Ok(())
}

#[test]
fn versions_features_and_lints_are_set_in_one_place() -> Outcome {
    bites(&manifests::independent("mm-x", "[dependencies]\nserde = \"1\"\n"), "serde");
    let features = "[dev-dependencies]\ntokio = { workspace = true, features = [\"fs\"] }\n";
    bites(&manifests::independent("mm-x", features), "tokio");
    none(&manifests::independent("mm-x", "[features]\nbrowser = []\n[dependencies]\nserde.workspace = true\n"));
    assert!(!manifests::inherits_lints("[lints.rust]\nunsafe_code = \"allow\"\n"));
    for (member, manifest) in manifests::member_manifests()? {
        none(&manifests::independent(&member, &manifest));
        assert!(manifests::inherits_lints(&manifest), "{member}: add `[lints] workspace = true`");
    }
    Ok(())
}

#[test]
fn integration_tests_have_names_of_their_own() -> Outcome {
    bites(&manifests::shared_test_names([("mm-a", "faults"), ("mm-b", "faults")].into_iter()), "`faults`");
    let metadata = metadata()?;
    let targets = metadata.packages.iter().flat_map(|package| {
        let tests = package.targets.iter().filter(|target| target.is_test());
        tests.map(|target| (package.name.as_str(), target.name.as_str()))
    });
    none(&manifests::shared_test_names(targets));
    Ok(())
}

#[test]
fn the_environment_is_read_in_boot_only() -> Outcome {
    hold_source(
        &source::ENVIRONMENT_ONLY_IN_BOOT,
        &[
            ("shared/web/src/a.rs", "let port = std::env::var(\"PORT\");"),
            ("handlers/standalone/src/main.rs", "use std::{env, fs};"),
            ("handlers/token/src/b.rs", "dotenvy::dotenv().ok();"),
        ],
    )
}

#[test]
fn every_variable_is_documented() -> Outcome {
    let made_up = Source::new("shared/boot/src/a.rs", "env.get(\"NEW_LIMIT\"); env.get(\"PORT\");");
    bites(&source::unmentioned_variables(&[made_up], "| `PORT` |"), "NEW_LIMIT");
    let boot: Vec<Source> =
        sources()?.into_iter().filter(|source| source.path.starts_with("shared/boot/src/")).collect();
    for path in [".env.example", "README.md"] {
        let missing = source::unmentioned_variables(&boot, &source::document(path)?);
        assert!(missing.is_empty(), "{path} does not mention {missing:?}");
    }
    Ok(())
}

#[test]
fn only_main_uses_boot() -> Outcome {
    hold_source(
        &source::BOOT_ONLY_IN_MAIN,
        &[
            ("handlers/standalone/src/server.rs", "use mm_boot::Configuration;"),
            ("handlers/standalone/src/pump/run.rs", "use mm_boot::Configuration;"),
            ("shared/web/src/main.rs", "mm_boot::telemetry();"),
        ],
    )
}

#[test]
fn nothing_is_printed() -> Outcome {
    hold_source(
        &source::NOTHING_IS_PRINTED,
        &[("shared/web/src/a.rs", "    println!(\"{x}\");"), ("shared/oauth/src/b.rs", "dbg!(x);")],
    )?;
    let in_tests =
        "fn a() {}\n// println!(\"no\")\n#[cfg(test)]\nmod tests {\n    fn b() {\n        println!();\n    }\n}\n";
    none(&source::NOTHING_IS_PRINTED.breaches(&[Source::new("shared/web/src/a.rs", in_tests)]));
    let after_tests = format!("{in_tests}fn c() {{ eprintln!() }}\n");
    bites(&source::NOTHING_IS_PRINTED.breaches(&[Source::new("shared/web/src/a.rs", &after_tests)]), "a.rs:9");
    Ok(())
}

#[test]
fn the_model_does_nothing() -> Outcome {
    hold_source(
        &source::MODEL_DOES_NOTHING,
        &[
            ("shared/model/src/a.rs", "pub async fn a() {}"),
            ("shared/model/src/b.rs", "use std::fs::File;"),
            ("shared/model/src/c.rs", "let now: SystemTime;"),
        ],
    )
}

#[test]
fn the_engine_names_no_machinery() -> Outcome {
    hold_source(
        &source::ENGINE_NAMES_NO_MACHINERY,
        &[
            ("shared/engine/src/a.rs", "struct DynamoStore;"),
            ("shared/engine/src/b.rs", "fn lambda_deadline() {}"),
            ("shared/engine/src/c.rs", "Err(StatusCode::CONFLICT)"),
        ],
    )
}

#[test]
fn clock_and_dice_are_read_in_one_file_each() -> Outcome {
    let reading = |path, call| {
        Source::new(path, &format!("#[expect(clippy::disallowed_methods, reason = \"\")]\nlet x = {call};"))
    };
    let clock = reading("shared/engine/src/a.rs", "std::time::SystemTime::now()");
    let dice = reading("shared/engine/src/b.rs", "aws_lc_rs::rand::fill(&mut bytes)");
    let second_clock = reading("shared/web/src/c.rs", "Instant::now()");
    let socket = Source::new("shared/web/src/d.rs", "use tokio::time::Instant;\nlet until = Instant::now() + LIMIT;");
    bites(&source::read_in_several_files(&[clock.clone(), second_clock], source::CLOCK), "shared/web/src/c.rs");
    bites(
        &source::read_in_several_files(
            &[dice.clone(), reading("shared/web/src/e.rs", "SystemRandom::new()")],
            source::DICE,
        ),
        "shared/web/src/e.rs",
    );
    none(&source::read_in_several_files(&[clock, dice, socket], source::CLOCK));
    let sources = sources()?;
    none(&source::read_in_several_files(&sources, source::CLOCK));
    none(&source::read_in_several_files(&sources, source::DICE));
    Ok(())
}

#[test]
fn modules_are_named_after_their_nouns() -> Outcome {
    bites(&source::nameless(&[Source::new("shared/web/src/utils.rs", "")]), "utils.rs");
    bites(&source::nameless(&[Source::new("shared/web/src/session/mod.rs", "")]), "mod.rs");
    none(&source::nameless(&sources()?));
    Ok(())
}
