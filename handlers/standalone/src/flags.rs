//! The command line.

use std::{io::Write as _, path::PathBuf};

use clap::Parser;
use mm_model::limits::PROVIDER_PROCESSING_MAX;
use url::Url;

/// Fastest clock. Leases run on it and sockets do not: at this speed a call to the sandbox may take half a second before it
/// would outlive its lease, which a busy machine keeps.
pub(crate) const SPEED_MAX: u32 = 120;

const _: () = assert!(PROVIDER_PROCESSING_MAX.as_millis() / SPEED_MAX as u128 >= 500, "a local call needs its time");

/// `MultiMusic`'s token backend as one process. Everything else is configured by environment variables and `.env`: see
/// `.env.example`.
#[derive(Debug, Clone, Parser)]
#[command(name = "multimusic", version)]
pub(crate) struct Flags {
    /// Port on 127.0.0.1; over PORT
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// Directory that keeps everything; over DATA_DIR
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,

    /// Offer the sandbox's twins of the providers; on by itself in `./scripts/dev` without credentials
    #[arg(long)]
    pub(crate) sandbox: bool,

    /// Port of the sandbox on 127.0.0.1
    #[arg(long, default_value_t = 8081, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) sandbox_port: u16,

    /// For development: the twins of a sandbox that another process runs at this address, http://localhost:PORT, so that it
    /// outlives this one. On this machine only
    #[arg(long, conflicts_with_all = ["sandbox_port", "token_lifetime"])]
    pub(crate) sandbox_url: Option<Url>,

    /// How many times faster than real time the clock of product and sandbox runs, 1 to 120; with the sandbox only
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(SPEED_MAX)))]
    pub(crate) speed: u32,

    /// Life of the sandbox's access tokens in seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=604_800))]
    pub(crate) token_lifetime: Option<u64>,

    /// Instead of serving: put the answers that only this log file holds (`refresh.unsaved`) on the lane of the stopped server,
    /// with whose other flags and variables this is to be called
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
}

/// Tells why the server does not run.
pub(crate) fn complain(line: &str) {
    // A terminal that is gone needs no telling.
    let _gone = writeln!(std::io::stderr().lock(), "{line}");
}

/// Tells the person at the terminal.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // A terminal that is gone needs no telling.
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}
