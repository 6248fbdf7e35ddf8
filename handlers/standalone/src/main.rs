//! The standalone server: the whole product in one process, on the embedded engine.

mod flags;
mod run;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

/// The exit code for a missing or wrong value, as for wrong flags.
const EXIT_CONFIG: u8 = 2;

/// How long what is left of the work may hold up the end of the process: a write to a file, at most.
const LEFTOVERS_END_WITHIN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let flags = flags::Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run::run(flags));
            runtime.shutdown_timeout(LEFTOVERS_END_WITHIN);
            ended
        }
        Err(error) => Err(run::Failure::Start(error.into())),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            flags::complain(&format!("multimusic: {failure}"));
            if failure.is_configuration() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}
