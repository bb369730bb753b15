//! The brokers: who answers, in which protocol, and whether the cluster can do what exactly-once needs.

use std::collections::BTreeMap;

use super::finding::Findings;
use crate::kafka::{ServerFault, ServerInfo, Settings, inspect_servers};

const CHECK: &str = "brokers";

/// By the number of a request and the version of it that a release of Kafka was the first to know: the release.
const RELEASES: [(i16, i16, &str); 10] = [
    (0, 13, "4.1 or later"),
    (0, 12, "4.0"),
    (1, 17, "3.9"),
    (0, 11, "3.8"),
    (0, 10, "3.7"),
    (1, 15, "3.5 or 3.6"),
    (1, 13, "3.1 to 3.4"),
    (1, 12, "2.7 to 3.0"),
    (28, 3, "2.5 or 2.6"),
    (28, 0, "older than 2.5"),
];
/// The request that commits offsets in a transaction, and its version that is fenced by the group's generation (KIP-447).
const FENCED_OFFSETS: (i16, i16) = (28, 3);

/// Returns whether any broker answers as it should.
pub(super) fn look(settings: &Settings, findings: &mut Findings) -> bool {
    let servers = match inspect_servers(settings) {
        Ok(servers) => servers,
        Err(error) => {
            findings.problem(
                CHECK,
                &error.to_string(),
                "correct the property; `curb config show` says where it was set",
            );
            return false;
        }
    };
    if servers.is_empty() {
        findings.problem(CHECK, "no bootstrap server is named", "name some with --brokers HOST:PORT,HOST:PORT");
    }
    let mut known: Option<ServerInfo> = None;
    for server in &servers {
        match &server.outcome {
            Ok(info) => {
                let release = release(&info.requests);
                findings.ok(CHECK, &format!("{} answers{release}", server.address));
                known.get_or_insert_with(|| info.clone());
            }
            Err(fault) => {
                let (text, remedy) = said(fault, settings);
                findings.problem(CHECK, &format!("{}: {text}", server.address), &remedy);
            }
        }
    }
    let Some(info) = known else { return false };
    of_cluster(&info, findings);
    true
}

fn said(fault: &ServerFault, settings: &Settings) -> (String, String) {
    let protocol = settings.properties.get("security.protocol").map_or("plaintext", String::as_str).to_lowercase();
    match fault {
        ServerFault::Unresolved(reason) => {
            (format!("the name stands for no address: {reason}"), "correct --brokers, or the name server".into())
        }
        ServerFault::Refused(reason) => (
            format!("nobody accepts connections there: {reason}"),
            "start the broker, correct host and port of --brokers, or open the way there".into(),
        ),
        ServerFault::Protocol(reason) => (
            format!("it speaks another protocol than security.protocol={protocol}: {reason}"),
            "set security.protocol to that of the listener: plaintext, ssl, sasl_plaintext or sasl_ssl".into(),
        ),
        ServerFault::Tls(reason) => (
            format!("TLS failed: {reason}"),
            "set ssl.ca.location to the authority that signed the broker's certificate, and, where it wants one, \
             ssl.certificate.location and ssl.key.location to ours; the certificate must be for the name in --brokers"
                .into(),
        ),
        ServerFault::Login(reason) => (
            format!("the login was refused: {reason}"),
            "correct sasl.mechanism, sasl.username and sasl.password; `curb config show` says where they came from"
                .into(),
        ),
        ServerFault::Silent(reason) => (
            format!(
                "it accepts connections and does not answer as a broker with security.protocol={protocol} would: {reason}"
            ),
            "check that a Kafka broker listens there, with which protocol, and its log".into(),
        ),
    }
}

fn release(requests: &BTreeMap<i16, i16>) -> String {
    let speaks = |(request, version, _): &&(i16, i16, &str)| requests.get(request).is_some_and(|v| v >= version);
    RELEASES.iter().find(speaks).map(|(_, _, release)| format!(" as Kafka {release} does")).unwrap_or_default()
}

fn of_cluster(info: &ServerInfo, findings: &mut Findings) {
    let (request, version) = FENCED_OFFSETS;
    match info.requests.get(&request) {
        Some(found) if *found < version => findings.problem(
            CHECK,
            "the brokers are older than Kafka 2.5: a worker that was replaced could still commit",
            "upgrade the brokers to Kafka 2.5 or later",
        ),
        Some(_) => {}
        None => findings.skip(CHECK, "what the brokers support", "they did not tell"),
    }
    let lost: Vec<_> = info.brokers.values().filter_map(|(address, fault)| Some((address, fault.as_ref()?))).collect();
    for (address, reason) in &lost {
        findings.problem(
            CHECK,
            &format!("the cluster says that a broker is at {address}, but from here nobody answers there: {reason}"),
            "set advertised.listeners of that broker to an address that is valid from here, or open the way there",
        );
    }
    if lost.is_empty() {
        let n = info.brokers.len();
        findings.ok(CHECK, &format!("{n} {} of the cluster can be reached", if n == 1 { "broker" } else { "brokers" }));
    }
}
