//! The package graph, as small as the walls need it: what the manifests declare, and what cargo would build.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::Failure;

/// Cargo's answers depend on the platform; the walls are held for the one that CI and the functions run on.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// A dependency as a member's manifest writes it, whether or not a feature has switched it on.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) dev: bool,
}

impl Declared {
    pub(crate) fn new(from: &str, to: &str, dev: bool) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), dev }
    }

    fn describe(&self) -> String {
        let kind = if self.dev { " (dev)" } else { "" };
        format!("{} -> {}{kind}", self.from, self.to)
    }
}

/// Which declared dependencies must not be, and why.
pub(crate) struct DeclaredWall {
    pub(crate) why: &'static str,
    pub(crate) breaks: fn(&Declared) -> bool,
}

impl DeclaredWall {
    pub(crate) fn breaches(&self, edges: &[Declared]) -> Vec<String> {
        edges
            .iter()
            .filter(|edge| edge.from != edge.to && (self.breaks)(edge))
            .map(|edge| format!("{}: {}", edge.describe(), self.why))
            .collect()
    }
}

/// One package of a tree. Cargo never builds two of the same name and version here: there is one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) version: Version,
}

/// Which packages must not be in a tree, and why.
pub(crate) struct TreeWall {
    pub(crate) why: &'static str,
    pub(crate) banned: fn(&Node) -> bool,
}

impl TreeWall {
    pub(crate) fn breaches(&self, tree: &Tree) -> Vec<String> {
        tree.nodes()
            .filter(|node| (self.banned)(node))
            .map(|node| format!("{}: {}", tree.path_to(node), self.why))
            .collect()
    }
}

/// What cargo builds, features resolved: who depends on whom, from the roots down.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    roots: BTreeSet<Node>,
    below: BTreeMap<Node, BTreeSet<Node>>,
}

impl Tree {
    /// Reads `cargo tree --prefix depth --format {p}`: `1serde v1.0.0 (/a/path) (*)`, the depth first. A subtree is printed
    /// once and later replaced by `(*)`, so edges are gathered by package.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut tree = Self::default();
        let mut above: Vec<Node> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let depth: usize = line[..digits].parse()?;
            let mut words = line[digits..].split(' ');
            let (Some(name), Some(version)) = (words.next(), words.next()) else {
                return Err(format!("cargo tree printed a line without a version: {line}").into());
            };
            let node = Node { name: name.to_owned(), version: Version::parse(version.trim_start_matches('v'))? };
            if depth > above.len() {
                return Err(format!("cargo tree skipped a level: {line}").into());
            }
            above.truncate(depth);
            tree.below.entry(node.clone()).or_default();
            if let Some(parent) = above.last() {
                tree.below.entry(parent.clone()).or_default().insert(node.clone());
            } else {
                tree.roots.insert(node.clone());
            }
            above.push(node);
        }
        Ok(tree)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.below.keys()
    }

    /// The shortest way from a root, for a message that says whom to talk to.
    fn path_to(&self, target: &Node) -> String {
        let mut came_from: BTreeMap<&Node, Option<&Node>> = self.roots.iter().map(|root| (root, None)).collect();
        let mut queue: VecDeque<&Node> = self.roots.iter().collect();
        while let Some(node) = queue.pop_front() {
            for next in self.below.get(node).into_iter().flatten() {
                if !came_from.contains_key(next) {
                    came_from.insert(next, Some(node));
                    queue.push_back(next);
                }
            }
        }
        let mut steps = vec![format!("{} {}", target.name, target.version)];
        let mut at = target;
        while let Some(Some(parent)) = came_from.get(at) {
            steps.push(parent.name.clone());
            at = parent;
        }
        steps.reverse();
        steps.join(" -> ")
    }
}

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What cargo knows of the members, without resolving what they depend on.
pub(crate) fn metadata() -> Result<Metadata, Failure> {
    Ok(MetadataCommand::new()
        .cargo_path(env!("CARGO"))
        .current_dir(root())
        .no_deps()
        .other_options(vec!["--locked".to_owned()])
        .exec()?)
}

/// Every dependency of every member, as declared.
pub(crate) fn declared() -> Result<Vec<Declared>, Failure> {
    let mut edges = Vec::new();
    for package in metadata()?.packages {
        for dependency in &package.dependencies {
            let dev = dependency.kind == DependencyKind::Development;
            edges.push(Declared::new(&package.name, &dependency.name, dev));
        }
    }
    Ok(edges)
}

/// The tree that cargo builds for this selection of packages, features and kinds of dependencies.
pub(crate) fn tree(selection: &[&str]) -> Result<Tree, Failure> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--prefix", "depth", "--format", "{p}", "--target", PLATFORM])
        .args(selection)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo tree {selection:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Tree::parse(&String::from_utf8(output.stdout)?)
}
