//! The process's environment, and the `.env` file beside it.

use std::{collections::BTreeMap, fmt, path::Path};

use crate::ConfigError;

/// Variables and their values. `Debug` shows the names only: some values are secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own variables. Values that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        let variables = std::env::vars_os();
        Self(
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect(),
        )
    }

    /// Adds the variables of a `.env` file, if there is one; the process's own win.
    ///
    /// # Errors
    ///
    /// The file cannot be read or has a line that is no assignment.
    pub fn with_file(mut self, path: &Path) -> Result<Self, ConfigError> {
        if !path.exists() {
            return Ok(self);
        }
        let unreadable = || ConfigError {
            variable: path.display().to_string(),
            shape: "lines of NAME=value".to_owned(),
            remedy: "put a value with spaces or # in it into quotes".to_owned(),
        };
        for pair in dotenvy::from_path_iter(path).map_err(|_| unreadable())? {
            let (name, value) = pair.map_err(|_| unreadable())?;
            self.0.entry(name).or_insert(value);
        }
        Ok(self)
    }

    /// Sets a variable over what the process has: what the command line says.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The variable's value; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
