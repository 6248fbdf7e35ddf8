//! The binary as a process: started with flags and variables of the test's, watched, stopped, killed.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::ports::free_port;

/// How long a start or an end may take before a test gives up: far beyond what is asked of the product, which tests
/// assert by themselves.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a process is asked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The line that says that everything serves: the last of the announcement when the page is on.
const UP: &str = "Ctrl-C ends.";

/// What the product says about a port that somebody has.
const PORT_IS_TAKEN: &str = "cannot be listened on";

/// How often a start is tried when its port is taken: another test process looking for a port of its own has it for an
/// instant.
const STARTS_MAX: u32 = 10;

/// The pause before another try.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What a process is started with.
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) sandbox_port: u16,
    pub(crate) data_dir: PathBuf,
    variables: Vec<(String, String)>,
    flags: Vec<String>,
    descriptors: Option<u64>,
    home: TempDir,
    starts: AtomicU32,
}

impl Plan {
    /// As `./scripts/dev` does on a fresh machine: the page, the sandbox in the process.
    pub(crate) fn developer() -> Self {
        let plan = Self::bare().variable("DEV_PAGE", "1");
        let sandbox_port = plan.sandbox_port.to_string();
        plan.flag("--sandbox-port").flag(&sandbox_port)
    }

    /// The developer's, with the twins of a sandbox elsewhere.
    pub(crate) fn with_sandbox_at(url: &str) -> Self {
        Self::bare().variable("DEV_PAGE", "1").flag("--sandbox-url").flag(url)
    }

    /// Nothing but a port and a data directory.
    pub(crate) fn bare() -> Self {
        let home = tempfile::tempdir().unwrap();
        let data_dir = home.path().join("data");
        Self {
            port: free_port(),
            sandbox_port: free_port(),
            data_dir,
            variables: Vec::new(),
            flags: Vec::new(),
            descriptors: None,
            home,
            starts: AtomicU32::new(0),
        }
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    pub(crate) fn instead_of_last_flag(mut self, flag: &str) -> Self {
        self.flags.pop();
        self.flag(flag)
    }

    pub(crate) fn data_dir(mut self, data_dir: &Path) -> Self {
        data_dir.clone_into(&mut self.data_dir);
        self
    }

    /// A machine that lets the process have so many descriptors and no more.
    pub(crate) fn descriptors(mut self, most: u64) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Where the product answers.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where the sandbox's rows and keys are.
    pub(crate) fn sandbox_dir(&self) -> PathBuf {
        self.data_dir.join("sandbox")
    }

    /// A file for `.env` and the like: the process's working directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn spawn(&self) -> Product {
        self.spawn_with(&["--port", &self.port.to_string()])
    }

    fn spawn_with(&self, first_flags: &[&str]) -> Product {
        let stderr_path = self.home.path().join(format!("stderr.{}", self.starts.fetch_add(1, Ordering::Relaxed)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_mm-standalone"));
        if let Some(most) = self.descriptors {
            command = Command::new("/bin/sh");
            let script = format!(r#"ulimit -n {most} && exec "$0" "$@""#);
            command.args(["-c", &script, env!("CARGO_BIN_EXE_mm-standalone")]);
        }
        let mut child = command
            .env_clear()
            .env("LOG", "info")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .args(first_flags)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr_path).unwrap())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Product { child: Some(child), lines, said: Vec::new(), stderr_path }
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(&self) -> Product {
        let mut tries = 1;
        loop {
            let mut product = self.spawn();
            let up = timeout(PATIENCE, product.announces(self.has_page())).await.unwrap_or(false);
            if up {
                return product;
            }
            let stderr = product.stderr();
            assert!(
                tries < STARTS_MAX && stderr.contains(PORT_IS_TAKEN),
                "it did not start: {:?}\n{stderr}",
                product.said
            );
            tries += 1;
            sleep(TRY_AGAIN).await;
        }
    }

    fn has_page(&self) -> bool {
        self.variables.iter().any(|(name, _)| name == "DEV_PAGE")
    }

    /// Starts it where it must not serve, and waits for its end.
    pub(crate) async fn refused(&self) -> Ended {
        self.spawn().ended().await
    }
}

impl Plan {
    /// The same without `--port`.
    pub(crate) async fn refused_without_port(&self) -> Ended {
        self.spawn_with(&[]).ended().await
    }
}

/// A process that has ended by itself or by a signal that it heard.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Absent when a signal killed it.
    pub(crate) code: Option<i32>,
    /// The last line on its standard output.
    pub(crate) last_line: String,
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// A refusal for a wrong value: the exit code and the one line.
    pub(crate) fn assert_misconfigured(&self, naming: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:?}");
        self.assert_one_line(naming);
    }

    /// A refusal for another reason.
    pub(crate) fn assert_failed(&self, naming: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.assert_one_line(naming);
    }

    fn assert_one_line(&self, naming: &[&str]) {
        // The log is on the same stream: lines of JSON.
        let told: Vec<&str> = self.stderr.lines().filter(|line| !line.starts_with('{')).collect();
        let [line] = told[..] else { panic!("one line: {self:?}") };
        assert!(line.starts_with("multimusic: "), "{self:?}");
        for name in naming {
            assert!(line.contains(name), "{name} is not in: {line}");
        }
        assert!(self.lines.is_empty(), "nothing is announced: {self:?}");
    }
}

/// A process of the product. Killed, if it still runs, when this is dropped.
pub(crate) struct Product {
    child: Option<Child>,
    lines: mpsc::UnboundedReceiver<String>,
    said: Vec<String>,
    stderr_path: PathBuf,
}

impl Product {
    /// Whether it comes to say that everything serves; not, when it ends before.
    async fn announces(&mut self, has_page: bool) -> bool {
        while let Some(line) = self.lines.recv().await {
            let up = line.contains(UP) || line.contains("providers  ") && !has_page;
            self.said.push(line);
            if up {
                return true;
            }
        }
        false
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What it has logged so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr_path).unwrap_or_default()
    }

    /// `kill -9`. Returns when the process is gone.
    pub(crate) fn kill(mut self) -> String {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.stderr()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(mut self) -> Ended {
        let started = Instant::now();
        let mut child = self.child.take().unwrap();
        let status = timeout(PATIENCE, async {
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status;
                }
                sleep(LOOK_AGAIN).await;
            }
        });
        let Ok(status) = status.await else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it did not end: {}", self.stderr());
        };
        let took = started.elapsed();
        // The reader ends with the pipe.
        while let Some(line) = self.lines.recv().await {
            self.said.push(line);
        }
        Ended {
            code: status.code(),
            last_line: self.said.last().cloned().unwrap_or_default(),
            lines: std::mem::take(&mut self.said),
            stderr: self.stderr(),
            took,
        }
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Ours, by its handle; an error is a process that has ended already.
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}
