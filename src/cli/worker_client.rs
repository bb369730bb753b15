//! A running worker over HTTP, as `curb sql`, `curb shell`, `curb pause` and `curb resume` reach it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::Failure;
use crate::server::REQUEST_HEADER;

/// Longer than a query may take, and than the server keeps a connection without an answer.
const PATIENCE: Duration = Duration::from_secs(65);
/// How often a question is asked again that the worker has no time for at the moment.
const RETRIES_MAX: u32 = 10;
/// How long is waited before that: no longer than this, whatever the worker says, and so long where it says nothing.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Where a worker serves HTTP, and what it asks for.
#[derive(Clone, Debug, Args)]
pub(super) struct WorkerArgs {
    /// Where the worker serves HTTP
    #[arg(long, value_name = "ADDR", env = "CURB_HTTP", default_value = "127.0.0.1:8642")]
    http: String,
    /// The same as a URL, as https://curb.example; --http then has no effect
    #[arg(long, value_name = "URL", env = "CURB_URL")]
    url: Option<String>,
    /// A file whose first line is the token that the worker asks for
    #[arg(long, value_name = "FILE", env = "CURB_HTTP_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the certificates to trust for https, instead of those that browsers trust
    #[arg(long, value_name = "FILE", env = "CURB_CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// A worker that can be asked.
pub(super) struct WorkerClient {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl WorkerArgs {
    pub(super) fn client(&self) -> Result<WorkerClient, Failure> {
        let tls = match &self.ca_file {
            Some(path) => TlsConfig::builder().root_certs(certificates(path).map_err(Failure::Configuration)?).build(),
            None => TlsConfig::default(),
        };
        let config = Agent::config_builder().timeout_global(Some(PATIENCE)).tls_config(tls).max_redirects(0);
        let token = self.token_file.as_deref().map(token).transpose().map_err(Failure::Configuration)?;
        Ok(WorkerClient { agent: config.http_status_as_error(false).build().into(), base: self.base(), token })
    }

    /// A worker that listens on all addresses is asked on this machine's own.
    fn base(&self) -> String {
        match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.http.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")),
        }
    }
}

fn certificates(path: &Path) -> anyhow::Result<RootCerts> {
    let text = std::fs::read(path).with_context(|| format!("`{}`", path.display()))?;
    let items = parse_pem(&text).collect::<Result<Vec<_>, _>>().with_context(|| format!("`{}`", path.display()))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    anyhow::ensure!(!certificates.is_empty(), "`{}` holds no certificate in PEM", path.display());
    Ok(RootCerts::new_with_certs(&certificates))
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("token file `{}`", path.display()))?;
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    first.map(str::to_owned).ok_or_else(|| anyhow!("token file `{}` holds no token", path.display()))
}

impl WorkerClient {
    /// Where it is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The JSON at a path.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let request = self.token.iter().fold(request, |r, token| r.header("authorization", format!("Bearer {token}")));
        let answer = self.read(request.call().map_err(|e| self.unreachable(&e))?)?;
        parsed(&answer)
    }

    /// What the worker answers to a text. While it is asked too much it is asked again, so that a script of many queries goes through.
    pub(super) fn post(&self, path: &str, accept: &str, body: &str) -> Result<String, Failure> {
        let mut retries = 0..RETRIES_MAX;
        loop {
            let request = self.agent.post(format!("{}{path}", self.base));
            let bearer = self.token.iter().map(|token| format!("Bearer {token}"));
            let request = bearer.fold(request, |r, token| r.header("authorization", token));
            let request = request.header(REQUEST_HEADER, "1").header("accept", accept).content_type("text/plain");
            let answer = request.send(body).map_err(|e| self.unreachable(&e))?;
            match retry_after(&answer) {
                Some(wait) if retries.next().is_some() => std::thread::sleep(wait),
                _ => return self.read(answer),
            }
        }
    }

    fn read(&self, mut answer: Response<Body>) -> Result<String, Failure> {
        let code = answer.status();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|e| self.unreachable(&e))?;
        if code.is_success() {
            return Ok(text);
        }
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(finding) = said["text"].as_str() {
            write!(io::stderr(), "{finding}")?;
            return Err(Failure::Refused);
        }
        let reason = said["error"].as_str().map_or_else(|| format!("the worker answers {code}"), str::to_owned);
        let hint = said["hint"].as_str().map(|hint| format!(". {hint}")).unwrap_or_default();
        let reason = format!("{reason}{hint}");
        Err(match code.as_u16() {
            401 if self.token.is_none() => Failure::Configuration(anyhow!("{reason}; name its file with --token-file")),
            401 | 403 => Failure::Configuration(anyhow!("{reason}")),
            _ => Failure::Failed(anyhow!("{reason}")),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let base = &self.base;
        Failure::Unreachable(anyhow!(
            "no worker answers at {base}: {error}; say where it serves with --http ADDR or --url URL"
        ))
    }
}

/// How long to wait before a question is asked again; none if that would not help, or take too long.
fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    let said = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = said.map_or(RETRY_WAIT, Duration::from_secs);
    (answer.status().as_u16() == 429 && wait <= RETRY_WAIT_MAX).then_some(wait)
}

/// What should be JSON.
pub(super) fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|e| Failure::Failed(anyhow!(e).context("the answer is not that of a worker")))
}
