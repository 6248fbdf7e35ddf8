# shellcheck shell=bash
# What the entry points in this directory share. Sourced, never run; the caller stands in the repository's root.

say() { printf '%s\n' "$*"; }

# die MESSAGE: one line with the remedy, exit code 2 (setup is wrong, as opposed to 1: a test failed).
die() {
  printf '%s\n' "$*" >&2
  exit 2
}

has() { command -v "$1" >/dev/null 2>&1; }

# apt_install PACKAGE...: false when this machine has no apt-get, or we are neither root nor allowed to sudo unasked.
apt_install() {
  local as_root=()
  has apt-get || return 1
  if [[ $EUID -ne 0 ]]; then
    has sudo && sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  say "installing $* (apt-get)"
  "${as_root[@]}" apt-get update -qq >/dev/null &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need_toolchain: Rust as new as the workspace asks, and a C compiler and linker (SQLite and aws-lc are C).
need_toolchain() {
  local wanted found
  { has cargo && has rustc; } || die "cargo is missing: install Rust from https://rustup.rs, then start again"
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(rustc --version | cut -d' ' -f2)
  [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) == "$wanted" ]] ||
    die "Rust $found is older than $wanted: run 'rustup update stable', then start again"
  has cc || apt_install build-essential || die "cc is missing: install a C compiler (Debian: build-essential), then start again"
}

# need_component NAME: a component of the Rust toolchain, named as its cargo command is (fmt, clippy).
need_component() {
  local component=$1
  [[ $component == fmt ]] && component=rustfmt
  cargo "$1" --version >/dev/null 2>&1 && return
  { has rustup && rustup component add "$component"; } ||
    die "cargo $1 is missing: run 'rustup component add $component', then start again"
}
