//! The command line.

use std::{io::Write as _, path::PathBuf};

use clap::Parser;

/// `MultiMusic`'s token backend as one process. Everything else is configured by environment variables and `.env`: see
/// `.env.example`.
#[derive(Debug, Clone, Parser)]
#[command(name = "multimusic", version)]
pub(crate) struct Flags {
    /// Port on 127.0.0.1; over PORT
    #[arg(long)]
    pub(crate) port: Option<u16>,

    /// Directory that keeps everything; over DATA_DIR
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,

    /// Offer the sandbox's twins of the providers; on by itself in `./scripts/dev` without credentials
    #[arg(long)]
    pub(crate) sandbox: bool,

    /// Port of the sandbox on 127.0.0.1
    #[arg(long, default_value_t = 8081)]
    pub(crate) sandbox_port: u16,

    /// How many times faster than real time the clock of product and sandbox runs; with the sandbox only
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) speed: u32,

    /// Life of the sandbox's access tokens in seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=604_800))]
    pub(crate) token_lifetime: Option<u64>,
}

/// Tells the person at the terminal.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // A terminal that is gone needs no telling.
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}
