//! The settings of HTTP: where it is served, to whom, and how it is encrypted.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::Failure;
use crate::server::{AccessOptions, HttpOptions, TileOptions, TlsFiles};

#[derive(Debug, Default, Args)]
pub(super) struct HttpArgs {
    /// Serve /livez, /readyz and /metrics at this address too, without authentication and TLS: for probes and Prometheus
    #[arg(long, value_name = "ADDR", env = "CURB_HEALTH")]
    health: Option<String>,
    /// A file with tokens, one a line: /api asks for one, as `Authorization: Bearer TOKEN`. It is read again when it changes
    #[arg(long, value_name = "FILE", env = "CURB_HTTP_TOKEN_FILE")]
    http_token_file: Option<PathBuf>,
    /// A file with the tokens that pause and resume sinks; those of --http-token-file then only read and query
    #[arg(long, value_name = "FILE", env = "CURB_HTTP_ADMIN_TOKEN_FILE")]
    http_admin_token_file: Option<PathBuf>,
    /// The header in which a proxy in front says who asks, as X-Forwarded-User; requests without it are refused. Anybody can
    /// write a header: use this only where nobody but the proxy can reach the port
    #[arg(long, value_name = "NAME", env = "CURB_HTTP_USER_HEADER")]
    http_user_header: Option<String>,
    /// Serve HTTPS with the certificates of this PEM file. It is read again when it changes
    #[arg(long, value_name = "FILE", env = "CURB_HTTP_TLS_CERT")]
    http_tls_cert: Option<PathBuf>,
    /// The PEM file with the private key of --http-tls-cert
    #[arg(long, value_name = "FILE", env = "CURB_HTTP_TLS_KEY")]
    http_tls_key: Option<PathBuf>,
    /// Show these tiles below the map of the console, as https://tiles.example/{z}/{x}/{y}.png: the browser then asks that host,
    /// and no other. Without them the map is a grid of coordinates
    #[arg(long, value_name = "URL", env = "CURB_CONSOLE_TILES")]
    console_tiles: Option<String>,
    /// Whose tiles they are, shown on the map
    #[arg(long, value_name = "TEXT", env = "CURB_CONSOLE_TILES_ATTRIBUTION", requires = "console_tiles")]
    console_tiles_attribution: Option<String>,
}

impl HttpArgs {
    /// The settings. `http` is the flag of that name.
    pub(super) fn options(&self, http: Option<&str>) -> Result<HttpOptions, Failure> {
        let address =
            |given: Option<&str>, flag: &str, port: u16| given.map(|text| parse(text, flag, port)).transpose();
        let tls = match (self.http_tls_cert.clone(), self.http_tls_key.clone()) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some(TlsFiles { certificates, key }),
            _ => return Err(Failure::Usage(anyhow!("--http-tls-cert and --http-tls-key go together: give both"))),
        };
        Ok(HttpOptions {
            address: address(http, "--http", 8642)?,
            health: address(self.health.as_deref(), "--health", 8643)?,
            access: AccessOptions {
                token_file: self.http_token_file.clone(),
                admin_token_file: self.http_admin_token_file.clone(),
                user_header: self.http_user_header.clone(),
                ..AccessOptions::default()
            },
            tls,
            tiles: self.console_tiles.clone().map(|url| TileOptions {
                url,
                attribution: self.console_tiles_attribution.clone().unwrap_or_default(),
            }),
        })
    }
}

fn parse(text: &str, flag: &str, port: u16) -> Result<SocketAddr, Failure> {
    let wrong = || anyhow!("{flag} {text}: not an address; write one as 127.0.0.1:{port} or 0.0.0.0:{port}");
    text.parse().map_err(|_| Failure::Usage(wrong()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_pair_is_refused_and_so_is_what_is_no_address() {
        let args =
            HttpArgs { http_token_file: Some("/b".into()), health: Some("0.0.0.0:2".into()), ..HttpArgs::default() };
        let options = args.options(Some("127.0.0.1:3")).unwrap();
        assert_eq!((options.address.unwrap().port(), options.health.unwrap().port()), (3, 2));
        assert_eq!(options.access.token_file, Some("/b".into()));
        let half = HttpArgs { http_tls_key: Some("/k".into()), ..HttpArgs::default() };
        let refused = half.options(None).unwrap_err();
        assert!(refused.error().unwrap().to_string().contains("go together"));
        let refused = HttpArgs::default().options(Some("here")).unwrap_err();
        assert!(refused.error().unwrap().to_string().contains("--http here: not an address"));
    }
}
