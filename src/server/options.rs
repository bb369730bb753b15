//! What an operator says of the server: where it listens, who may ask, and how it is encrypted.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where and how HTTP is served. At least one address should be given.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Where everything is served; a port of 0 is any free one.
    pub address: Option<SocketAddr>,
    /// Where `/livez`, `/readyz` and `/metrics` are served besides, without authentication and TLS; where others must say who they
    /// are, `/metrics` is served only there.
    pub health: Option<SocketAddr>,
    /// Who may ask.
    pub access: AccessOptions,
    /// The certificate of [`HttpOptions::address`]; without it nothing is encrypted.
    pub tls: Option<TlsFiles>,
    /// What lies below the map of the console; without it the page loads nothing from elsewhere.
    pub tiles: Option<TileOptions>,
}

impl HttpOptions {
    /// Everything at one address, for everyone who reaches it.
    pub fn at(address: SocketAddr) -> Self {
        Self { address: Some(address), ..Self::default() }
    }
}

/// Who may ask. What several of these demand is demanded together.
#[derive(Clone, Debug)]
pub struct AccessOptions {
    /// A file with the tokens, one a line, of those who may read and query.
    pub token_file: Option<PathBuf>,
    /// A file with the tokens of those who may also pause and resume sinks.
    pub admin_token_file: Option<PathBuf>,
    /// The header in which a proxy in front says who asks. To be trusted only where the proxy alone reaches the port.
    pub user_header: Option<String>,
    /// How often one address may ask in a second, whatever it asks but the probes.
    pub requests_per_second: f64,
}

impl Default for AccessOptions {
    fn default() -> Self {
        let requests_per_second = super::access::REQUESTS_PER_SECOND;
        Self { token_file: None, admin_token_file: None, user_header: None, requests_per_second }
    }
}

/// A certificate and its key, in PEM. They are read again when they change.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and behind it those that lead to one that clients know.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Pictures of a map, by square.
#[derive(Clone, Debug)]
pub struct TileOptions {
    /// The address of a picture, with `{z}`, `{x}` and `{y}` in it.
    pub url: String,
    /// Whose they are; may be empty.
    pub attribution: String,
}
