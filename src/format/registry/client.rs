//! Requests to the registry: short, with a time limit each, tried again once, and at the next address after that.

use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, http};

use super::RegistrySettings;

/// A registry that takes longer for one answer counts as unreachable.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// No schema is longer.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What the registry answered.
pub(super) enum Answer {
    /// What was asked for.
    Ok(Value),
    /// That it does not have or do that.
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The registry's own code.
        code: i64,
        /// Its reason.
        message: String,
    },
}

/// Speaks with a registry.
pub(super) struct Client {
    agent: Agent,
    urls: Vec<String>,
    authorization: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(settings: &RegistrySettings) -> Result<Self, String> {
        let (mut urls, mut user, mut password) = (Vec::new(), settings.user.clone(), settings.password.clone());
        for url in settings.url.split(',').map(str::trim).filter(|url| !url.is_empty()) {
            // IMPORTANT: what stands before the host is a secret and must not reach messages.
            let Some((scheme, rest)) = url.split_once("://").filter(|(s, _)| matches!(*s, "http" | "https")) else {
                return Err("the address of the schema registry must begin with http:// or https://".to_owned());
            };
            let host_end = rest.find('/').unwrap_or(rest.len());
            let (host, path) = rest.split_at_checked(host_end).unwrap_or((rest, ""));
            let host = match host.rsplit_once('@') {
                Some((credentials, host)) => {
                    let (name, secret) = credentials.split_once(':').unwrap_or((credentials, ""));
                    user.get_or_insert_with(|| name.to_owned());
                    password.get_or_insert_with(|| secret.to_owned());
                    host
                }
                None => host,
            };
            urls.push(format!("{scheme}://{host}{}", path.trim_end_matches('/')));
        }
        if urls.is_empty() {
            return Err("the schema registry has no address".to_owned());
        }
        let roots = match &settings.ca_file {
            None => RootCerts::WebPki,
            Some(file) => {
                let unreadable = |e: &dyn std::fmt::Display| format!("certificates `{}`: {e}", file.display());
                let pem = std::fs::read(file).map_err(|e| unreadable(&e))?;
                let items: Vec<PemItem<'static>> =
                    parse_pem(&pem).collect::<Result<_, _>>().map_err(|e| unreadable(&e))?;
                let certificates = items.into_iter().filter_map(|item| match item {
                    PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                });
                RootCerts::from(certificates)
            }
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_redirects(3)
            .user_agent(concat!("curb/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let authorization = user.map(|user| {
            let credentials = format!("{user}:{}", password.unwrap_or_default());
            format!("Basic {}", STANDARD.encode(credentials))
        });
        Ok(Self { agent: config.new_agent(), urls, authorization })
    }

    pub(super) fn get(&self, path: &str) -> Result<Answer, String> {
        self.ask(|url| {
            let request = self.agent.get(format!("{url}/{path}")).header("accept", MEDIA_TYPE);
            match &self.authorization {
                Some(authorization) => request.header("authorization", authorization).call(),
                None => request.call(),
            }
        })
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        let body = body.to_string();
        self.ask(|url| {
            let request = self.agent.post(format!("{url}/{path}")).header("accept", MEDIA_TYPE);
            let request = request.header("content-type", MEDIA_TYPE);
            match &self.authorization {
                Some(authorization) => request.header("authorization", authorization).send(body.as_str()),
                None => request.send(body.as_str()),
            }
        })
    }

    /// Asks one address after the other until one answers; a single one is asked twice.
    fn ask(&self, request: impl Fn(&str) -> Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, String> {
        let again = self.urls.first().filter(|_| self.urls.len() == 1);
        let mut failed = String::new();
        for url in self.urls.iter().chain(again) {
            let answered = request(url).map_err(|e| e.to_string()).and_then(answer);
            match answered {
                Ok(answer) => return Ok(answer),
                Err(reason) => failed = format!("schema registry {url}: {reason}"),
            }
        }
        Err(failed)
    }
}

/// What a response says. One that is not a registry's is an error, as are those that say it does not work.
fn answer(response: http::Response<ureq::Body>) -> Result<Answer, String> {
    let status = response.status().as_u16();
    if matches!(status, 401 | 403) {
        return Err(format!("answered {status}: check user and password"));
    }
    if status >= 500 || status == 429 {
        return Err(format!("answered {status}"));
    }
    let mut text = Vec::new();
    let mut body = response.into_body().into_reader().take(ANSWER_BYTES_MAX + 1);
    body.read_to_end(&mut text).map_err(|e| format!("the answer broke off: {e}"))?;
    if text.len() as u64 > ANSWER_BYTES_MAX {
        return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
    }
    let parsed: Option<Value> = serde_json::from_slice(&text).ok();
    match (status, parsed) {
        (200..=299, Some(answer)) => Ok(Answer::Ok(answer)),
        (_, Some(answer)) if answer.get("error_code").is_some() => {
            let code = answer.get("error_code").and_then(Value::as_i64).unwrap_or(0);
            let message = answer.get("message").and_then(|m| m.as_str()).unwrap_or("no reason given");
            Ok(Answer::Refused { status, code, message: message.chars().take(500).collect() })
        }
        _ => Err(format!("answered {status} as no schema registry does; check the address")),
    }
}
