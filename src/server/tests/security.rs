//! Who is let in, over real connections: tokens, the health port, encryption, and how large a request may be.

use std::path::PathBuf;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{any_port, get, get_with_head, status};
use crate::engine::{Phase, StatusBoard};
use crate::server::{AccessOptions, HttpOptions, ServeError, ServerHandle, TlsFiles, serve_with};

const TOKEN: &str = "a-token-that-only-tests-know";

fn served(options: HttpOptions) -> Result<ServerHandle, ServeError> {
    let board = StatusBoard::default();
    board.show(status(Phase::Running));
    serve_with(&options, "riding", board, None)
}

/// A certificate for localhost that the test's own authority gave, valid for a hundred years; its key protects nothing.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/server/tests").join(name)
}

fn agent(tls: TlsConfig) -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).tls_config(tls);
    config.http_status_as_error(false).build().into()
}

#[test]
fn with_a_token_file_the_api_asks_for_a_token_and_health_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    std::fs::write(&file, TOKEN).unwrap();
    let access = AccessOptions { token_file: Some(file), ..AccessOptions::default() };
    let server = served(HttpOptions { access, health: Some(any_port()), ..HttpOptions::at(any_port()) }).unwrap();
    for path in ["/livez", "/readyz", "/", "/console/main.js"] {
        assert_eq!(get(&server, path).0, 200, "{path}");
    }
    assert_eq!(get(&server, "/metrics").0, 404, "they are where the probes are");
    for path in ["/api/status", "/api/history", "/api/refused", "/api/relations", "/api/anything"] {
        let (head, body) = get_with_head(&server, path);
        assert!(head.starts_with("http/1.1 401") && head.contains("www-authenticate: bearer"), "{path}: {head}");
        assert!(body.contains("token is needed") && !body.contains("riding"), "{path}: {body}");
    }
    let agent = agent(TlsConfig::default());
    let url = format!("http://{}", server.address());
    let with = |token: &str| {
        let request = agent.get(format!("{url}/api/status")).header("authorization", format!("Bearer {token}"));
        request.call().unwrap().status().as_u16()
    };
    assert_eq!((with(TOKEN), with("another-token-of-nobody")), (200, 401));

    let health = format!("http://{}", server.health_address().unwrap());
    let code = |path: &str| agent.get(format!("{health}{path}")).call().unwrap().status().as_u16();
    assert_eq!(["/livez", "/readyz", "/metrics"].map(code), [200; 3]);
    assert_eq!(["/", "/api/status", "/api/sql"].map(code), [404; 3], "nothing else is there");
}

#[test]
fn connections_are_encrypted_where_there_is_a_certificate() {
    let files = TlsFiles { certificates: fixture("localhost.pem"), key: fixture("localhost.key") };
    let server =
        served(HttpOptions { tls: Some(files.clone()), health: Some(any_port()), ..HttpOptions::at(any_port()) });
    let server = server.unwrap();
    let authority = Certificate::from_pem(&std::fs::read(fixture("authority.pem")).unwrap()).unwrap();
    let trusting = agent(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[authority])).build());
    let url = format!("https://localhost:{}/api/status", server.address().port());
    // IPv6 may be what localhost means first.
    let answer = trusting.get(&url).call().or_else(|_| trusting.get(url.replace("localhost", "127.0.0.1")).call());
    let mut answer = answer.unwrap();
    assert!(answer.status() == 200 && answer.body_mut().read_to_string().unwrap().contains("riding"));
    let foreign = agent(TlsConfig::default()).get(url.replace("localhost", "127.0.0.1")).call();
    assert!(foreign.is_err(), "nobody else trusts the test's authority");
    let plain = agent(TlsConfig::default()).get(format!("http://{}/livez", server.address())).call();
    assert!(plain.is_err_and(|e| !e.to_string().is_empty()), "plain text is not answered");
    let health = agent(TlsConfig::default()).get(format!("http://{}/livez", server.health_address().unwrap())).call();
    assert_eq!(health.unwrap().status(), 200, "probes need no certificate");

    let wrong = TlsFiles { key: fixture("localhost.pem"), ..files.clone() };
    let refused = served(HttpOptions { tls: Some(wrong), ..HttpOptions::at(any_port()) }).unwrap_err().to_string();
    assert!(refused.contains("localhost.pem"), "{refused}");
    let wrong = TlsFiles { certificates: fixture("authority.pem"), ..files };
    let refused = served(HttpOptions { tls: Some(wrong), ..HttpOptions::at(any_port()) }).unwrap_err().to_string();
    assert!(refused.contains("does not fit"), "{refused}");
}

#[test]
fn a_query_without_a_worker_and_a_body_that_is_too_large_are_refused() {
    let server = served(HttpOptions::at(any_port())).unwrap();
    let agent = agent(TlsConfig::default());
    let url = format!("http://{}/api/sql", server.address());
    let post = |body: String| {
        let mut answer = agent.post(&url).content_type("text/plain").send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let (code, body) = post("SELECT 1".into());
    assert!(code == 404 && body.contains("no worker to ask"), "{body}");
    assert_eq!(post("x".repeat(70 << 10)).0, 413);
    let foreign = agent.post(&url).header("origin", "https://evil.example").send("SELECT 1").unwrap();
    assert_eq!(foreign.status(), 403);
    let paused = agent.post(format!("http://{}/api/sinks/helmet_rates/pause", server.address())).send_empty().unwrap();
    assert_eq!(paused.status(), 403, "not without the header of our own");
}

#[test]
fn one_address_cannot_keep_the_server_busy_and_a_probe_is_answered_all_the_same() {
    let access = AccessOptions { requests_per_second: 1.0, ..AccessOptions::default() };
    let server = served(HttpOptions { access, ..HttpOptions::at(any_port()) }).unwrap();
    let agent = agent(TlsConfig::default());
    let code = |path: &str| agent.get(format!("http://{}{path}", server.address())).call().unwrap().status().as_u16();
    let codes: Vec<u16> = (0..600).map(|_| code("/api/history")).collect();
    assert_eq!((codes[0], codes[399]), (200, 200), "a page with its files is no flood");
    assert!(codes.contains(&429), "as many as it likes");
    assert_eq!((code("/livez"), code("/readyz")), (200, 200));
}
