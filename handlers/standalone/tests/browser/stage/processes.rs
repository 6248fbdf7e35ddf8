//! Processes that end with their test.

use std::process::{Child, Command};

/// A child process, killed by its own id when the test is through with it, passed or failed.
pub(crate) struct Owned(Child);

impl Owned {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        match command.spawn() {
            Ok(child) => Self(child),
            Err(error) => panic!("{} cannot be started: {error}", program.display()),
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // An error is a process that has ended by itself.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
