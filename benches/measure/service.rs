//! `curb run` as an operator starts it: a process of its own, seen through its `/metrics` and through the kernel.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Used, used};
use crate::scrape::{Reading, get};

/// How often the service is asked how far it is. Below a hundredth of what is measured.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How a service is started.
pub(crate) struct Start<'a> {
    pub(crate) curb: &'a Path,
    pub(crate) pack: &'a Path,
    pub(crate) brokers: &'a str,
    pub(crate) pipeline: &'a str,
    pub(crate) shards: u32,
    pub(crate) dir: &'a Path,
}

/// A running service; killed when it is dropped.
pub(crate) struct Service {
    child: Mutex<Child>,
    pid: u32,
    address: SocketAddr,
    log: PathBuf,
}

impl Service {
    pub(crate) fn start(start: &Start<'_>) -> Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let log = start.dir.join(format!("{}.log", start.pipeline));
        let mut command = Command::new(start.curb);
        command.arg("run").arg(start.pack).args(["--brokers", start.brokers, "--pipeline", start.pipeline]);
        command.args(["--shards", &start.shards.to_string(), "--http", &address.to_string(), "--create-topics"]);
        command.arg("--state-dir").arg(start.dir.join("state"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).spawn();
        let child = child.with_context(|| format!("could not start {}", start.curb.display()))?;
        Ok(Self { pid: child.id(), child: Mutex::new(child), address, log })
    }

    /// Waits until all tables have been read.
    pub(crate) fn wait_until_loaded(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let status = get(self.address, "/api/status").ok();
            let status: Option<serde_json::Value> = status.and_then(|s| serde_json::from_str(&s).ok());
            if status.is_some_and(|s| s.pointer("/loaded").is_some_and(|l| l == true)) {
                return Ok(());
            }
            self.check(started, Duration::from_secs(180))?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it has committed so many records of each source since `before`; returns when that was, and its measurements.
    pub(crate) fn wait_until_consumed(
        &self,
        before: &Reading,
        wanted: &[(&str, u64)],
        timeout: Duration,
    ) -> Result<(Instant, Reading)> {
        let started = Instant::now();
        loop {
            let reading = self.reading()?;
            let now = Instant::now();
            if wanted.iter().all(|(source, n)| reading.consumed(source) - before.consumed(source) >= *n) {
                return Ok((now, reading));
            }
            self.check(started, timeout)?;
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Fails if it has ended, or does not get on.
    fn check(&self, started: Instant, timeout: Duration) -> Result<()> {
        let log = || {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(10)..].join("\n")
        };
        if let Some(status) = self.child().try_wait()? {
            bail!("curb run has ended with {status}:\n{}", log());
        }
        if started.elapsed() > timeout {
            bail!("curb run did not get on in {} s:\n{}", timeout.as_secs(), log());
        }
        Ok(())
    }

    /// Its measurements now.
    pub(crate) fn reading(&self) -> Result<Reading> {
        Reading::take(self.address)
    }

    /// What it has used so far.
    pub(crate) fn used(&self) -> Result<Used> {
        used(self.pid)
    }

    /// Holds it still, so that records can pile up in front of it; well below its session timeout.
    pub(crate) fn hold(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    pub(crate) fn release(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// Ends it after the running epoch.
    pub(crate) fn end(self) -> Result<()> {
        self.signal("-TERM")?;
        let started = Instant::now();
        while self.child().try_wait()?.is_none() {
            if started.elapsed() > Duration::from_secs(60) {
                bail!("curb run did not end");
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").args([signal, &self.pid.to_string()]).status()?;
        if sent.success() { Ok(()) } else { bail!("could not send {signal} to curb run") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After an error it may be running still, or be held.
        let mut child = self.child();
        if matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
