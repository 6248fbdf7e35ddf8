//! The walls inside the manifests: one place for versions and features, and a reason for each dependency.

use std::collections::BTreeMap;
use std::fs;

use crate::Failure;
use crate::graph::{metadata, root};

/// The root manifest's text.
pub(crate) fn workspace_manifest() -> Result<String, Failure> {
    Ok(fs::read_to_string(root().join("Cargo.toml"))?)
}

/// Each member's name and its manifest's text.
pub(crate) fn member_manifests() -> Result<Vec<(String, String)>, Failure> {
    let mut manifests = Vec::new();
    for package in metadata()?.packages {
        manifests.push((package.name.to_string(), fs::read_to_string(&package.manifest_path)?));
    }
    Ok(manifests)
}

/// Third-party lines of `[workspace.dependencies]` without a comment above. Packages of one family (`hyper`, `hyper-util`),
/// one under the other, share theirs.
pub(crate) fn uncommented(manifest: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut explained: Option<String> = None;
    for line in section(manifest, |name| name == "workspace.dependencies") {
        if line.starts_with('#') {
            explained = Some(String::new());
            continue;
        }
        let Some(name) = dependency(line).filter(|_| !line.contains("path = ")) else {
            explained = None;
            continue;
        };
        let family = name.split(['-', '_']).next().unwrap_or(name).to_owned();
        match &explained {
            Some(of) if of.is_empty() || *of == family => explained = Some(family),
            _ => {
                breaches.push(format!("Cargo.toml: {name}: say above it what it is for"));
                explained = None;
            }
        }
    }
    breaches
}

/// Dependencies of a member that choose a version, or features of what others wrote, on their own.
pub(crate) fn independent(member: &str, manifest: &str) -> Vec<String> {
    section(manifest, |name| name.ends_with("dependencies"))
        .filter_map(|line| dependency(line).map(|name| (name, line)))
        .filter_map(|(name, line)| {
            let inherits = line.contains(".workspace = true") || line.contains("workspace = true");
            let features = line.contains("features") && !name.starts_with("mm-");
            match (inherits, features) {
                (false, _) => Some(format!("{member}: {name}: its version belongs into the root's [workspace.dependencies]")),
                (true, true) => Some(format!(
                    "{member}: {name}: its features belong into the root's [workspace.dependencies]; a second set compiles it twice"
                )),
                (true, false) => None,
            }
        })
        .collect()
}

/// Whether a member is held by the workspace's lints.
pub(crate) fn inherits_lints(manifest: &str) -> bool {
    section(manifest, |name| name == "lints").any(|line| line == "workspace = true")
}

/// Names that several integration tests bear; `./scripts/test` chooses them by name across the workspace.
pub(crate) fn shared_test_names<'a>(targets: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut homes = BTreeMap::<&str, Vec<&str>>::new();
    for (package, target) in targets {
        homes.entry(target).or_default().push(package);
    }
    homes.retain(|_, packages| packages.len() > 1);
    homes
        .iter()
        .map(|(target, packages)| {
            format!("the integration test `{target}` exists in {}: rename all but one", packages.join(" and "))
        })
        .collect()
}

fn dependency(line: &str) -> Option<&str> {
    let name = line.split([' ', '.', '=']).next()?;
    (!name.is_empty() && !line.starts_with('#')).then_some(name)
}

/// The lines of all sections whose name is wanted.
fn section(manifest: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = wanted(name);
            return false;
        }
        inside
    })
}
