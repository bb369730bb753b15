//! Every bootstrap server by itself: its name, its port, its protocol, its login, and what it speaks.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::stream::SourceError;

use super::super::client::create;
use super::super::settings::Settings;

/// How long a connection may take to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a server that accepts connections may take to answer.
const SERVER_TIMEOUT: Duration = Duration::from_secs(8);
/// So many lines of a client's log and errors are heard at once.
const EVENTS_AT_ONCE: usize = 512;
/// Kafka's own port, where an address has none.
const DEFAULT_PORT: u16 = 9092;

/// Why a server is of no use; the text says it in the system's or the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// The name stands for no address.
    Unresolved(String),
    /// Nobody accepts connections there.
    Refused(String),
    /// It speaks another protocol than `security.protocol` says.
    Protocol(String),
    /// TLS failed: certificates, mostly.
    Tls(String),
    /// The login was refused.
    Login(String),
    /// It accepted the connection and did not answer.
    Silent(String),
}

/// What a server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The brokers of its cluster by id, as `host:port` that they want to be called at, each with the reason if nobody answers there.
    pub brokers: BTreeMap<i32, (String, Option<String>)>,
    /// By the number of a request the latest version of it that the server knows.
    pub requests: BTreeMap<i16, i16>,
}

/// A server, and what became of calling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// As it was given.
    pub address: String,
    /// What it said, or why it did not.
    pub outcome: Result<ServerInfo, ServerFault>,
}

/// Calls all bootstrap servers, side by side. Settings that no client takes are an error.
pub fn inspect_servers(settings: &Settings) -> Result<Vec<ServerFacts>, SourceError> {
    let addresses: Vec<&str> = settings.brokers.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
    std::thread::scope(|scope| {
        let calling: Vec<_> =
            addresses.iter().map(|address| (address, scope.spawn(|| inspect(settings, address)))).collect();
        let mut found = Vec::new();
        for (address, called) in calling {
            let outcome = called.join().map_err(|_| SourceError::Io(format!("calling {address} failed")))??;
            found.push(ServerFacts { address: (*address).to_owned(), outcome });
        }
        Ok(found)
    })
}

fn inspect(settings: &Settings, address: &str) -> Result<Result<ServerInfo, ServerFault>, SourceError> {
    if let Err(fault) = connect(address) {
        return Ok(Err(fault));
    }
    let settings = Settings { brokers: address.to_owned(), ..settings.clone() };
    let mut config = settings.probe();
    // The client tells what the server speaks only to those who debug it.
    config.set("debug", "feature");
    config.set_log_level(RDKafkaLogLevel::Debug);
    let client: BaseConsumer<Listener> = create(&config, Listener::default())?;
    let started = Instant::now();
    loop {
        let answer = client.fetch_metadata(None, Duration::from_millis(500));
        // One call serves one event; what a server speaks is a line of the log for each request.
        for _ in 0..EVENTS_AT_ONCE {
            let _ = client.poll(Duration::ZERO);
        }
        let heard = client.context().heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            Ok(metadata) => {
                let brokers = metadata.brokers().iter().map(|broker| {
                    let own = format!("{}:{}", broker.host(), broker.port());
                    let fault = connect(&own).err().map(|fault| match fault {
                        ServerFault::Unresolved(reason) | ServerFault::Refused(reason) => reason,
                        other => format!("{other:?}"),
                    });
                    (broker.id(), (own, fault))
                });
                return Ok(Ok(ServerInfo { brokers: brokers.collect(), requests: heard.requests }));
            }
            Err(error) => match heard.fault() {
                Some(fault) if !matches!(fault, ServerFault::Silent(_)) => return Ok(Err(fault)),
                fault if started.elapsed() > SERVER_TIMEOUT => {
                    return Ok(Err(fault.unwrap_or_else(|| ServerFault::Silent(error.to_string()))));
                }
                _ => {}
            },
        }
    }
}

/// What the client's words mean. It gives one code to all that goes wrong below TLS and the login. A server that says what it
/// speaks and then breaks the connection, `in state UP`, wants a login first.
fn classify(code: RDKafkaErrorCode, reason: &str) -> ServerFault {
    let text = reason.to_owned();
    let is_protocol = [
        "security.protocol",
        "PLAINTEXT broker listener",
        "wrong version number",
        "packet length too long",
        "in state UP",
    ];
    if is_protocol.iter().any(|words| reason.contains(words)) {
        return ServerFault::Protocol(text);
    }
    match code {
        RDKafkaErrorCode::SSL => ServerFault::Tls(text),
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => ServerFault::Login(text),
        _ if reason.contains("SASL") => ServerFault::Login(text),
        _ => ServerFault::Silent(text),
    }
}

fn connect(address: &str) -> Result<(), ServerFault> {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    let with_port = match bare.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => bare.to_owned(),
        _ => format!("{bare}:{DEFAULT_PORT}"),
    };
    let resolved: Vec<_> = with_port.to_socket_addrs().map_err(|e| ServerFault::Unresolved(e.to_string()))?.collect();
    let mut last = "it has no address".to_owned();
    for socket in &resolved {
        match TcpStream::connect_timeout(socket, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(if resolved.is_empty() { ServerFault::Unresolved(last) } else { ServerFault::Refused(last) })
}

/// What was heard of a server so far.
#[derive(Clone, Debug, Default)]
struct Heard {
    requests: BTreeMap<i16, i16>,
    last: Option<(RDKafkaErrorCode, String)>,
    /// Why a connection broke, in the words of the log.
    failure: Option<String>,
}

impl Heard {
    /// What the words mean that say most.
    fn fault(&self) -> Option<ServerFault> {
        let (code, reason) = self.last.as_ref()?;
        match classify(*code, reason) {
            ServerFault::Silent(reason) => {
                let failure = self.failure.as_ref().filter(|_| *code == RDKafkaErrorCode::AllBrokersDown);
                Some(failure.map_or(ServerFault::Silent(reason), |failure| classify(*code, failure)))
            }
            fault => Some(fault),
        }
    }
}

/// Listens to what the client says of its connection.
#[derive(Default)]
struct Listener {
    heard: Mutex<Heard>,
}

impl ClientContext for Listener {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((request, version)) = spoken(message) {
            heard.requests.insert(request, version);
        } else if facility == "FAIL" {
            // `[thrd:host:port/bootstrap]: host:port/bootstrap: what went wrong`; a connection that breaks is told nowhere else.
            heard.failure = message.splitn(3, ": ").last().map(str::to_owned);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down is a consequence; the reason came before.
        if heard.last.is_none() || code != RDKafkaErrorCode::AllBrokersDown {
            heard.last = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Listener {}

/// `ApiKey Fetch (1) Versions 4..18` as the number of the request and its latest version.
fn spoken(message: &str) -> Option<(i16, i16)> {
    let (_, rest) = message.split_once("ApiKey ")?;
    let (request, versions) = rest.split_once(") Versions ")?;
    let request = request.rsplit_once('(')?.1.parse().ok()?;
    Some((request, versions.split_once("..")?.1.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_words_tell_protocol_login_and_certificates_apart() {
        let of = |code, reason: &str| classify(code, reason);
        let code = RDKafkaErrorCode::BrokerTransportFailure;
        let text = "Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration";
        assert!(matches!(of(code, text), ServerFault::Protocol(_)));
        let text = "SSL handshake failed: wrong version number: connecting to a PLAINTEXT broker listener?";
        assert!(matches!(of(RDKafkaErrorCode::SSL, text), ServerFault::Protocol(_)));
        let text = "SSL handshake failed: certificate verify failed: broker certificate could not be verified";
        assert!(matches!(of(RDKafkaErrorCode::SSL, text), ServerFault::Tls(_)));
        let text = "SASL authentication error: Authentication failed during authentication due to invalid credentials";
        assert!(matches!(of(RDKafkaErrorCode::Authentication, text), ServerFault::Login(_)));
        assert!(matches!(of(code, "Connect to ipv4#127.0.0.1:9 failed"), ServerFault::Silent(_)));
    }

    #[test]
    fn what_a_server_speaks_is_read_from_the_clients_words() {
        let line =
            "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap:   ApiKey TxnOffsetCommit (28) Versions 0..5";
        assert_eq!(spoken(line), Some((28, 5)));
        assert_eq!(spoken("Broker API support:"), None);
    }
}
