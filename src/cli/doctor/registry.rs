//! The schema registry, if one is named.

use std::path::Path;
use std::time::Duration;

use super::finding::Findings;
use crate::cli::settings::Configuration;

const CHECK: &str = "registry";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn look(configuration: &Configuration, findings: &mut Findings) {
    let given = |key: &str| {
        let (_, given) = configuration.settings.iter().find(|(known, _)| known == key)?;
        given.as_ref().map(|given| given.value.clone()).filter(|value| !value.is_empty())
    };
    let Some(url) = given("schema_registry.url") else { return };
    let password =
        match given("schema_registry.password_file").map(|path| (std::fs::read_to_string(Path::new(&path)), path)) {
            None => String::new(),
            Some((Ok(text), _)) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Some((Err(error), path)) => {
                findings.problem(
                    CHECK,
                    &format!("the password file `{path}` could not be read: {error}"),
                    "name a file that this user may read",
                );
                return;
            }
        };
    let login = given("schema_registry.user").map(|user| (user, password));
    let shown = shown(&url);
    match answer(&url, login) {
        Ok(200) => findings.ok(CHECK, &format!("{shown} answers")),
        Ok(401 | 403) => findings.problem(
            CHECK,
            &format!("{shown} refuses the login"),
            "correct schema_registry.user and the file of schema_registry.password_file",
        ),
        Ok(status) => findings.problem(
            CHECK,
            &format!("{shown} answers with status {status}, as no schema registry does"),
            "correct schema_registry.url: it is the address before `/subjects`",
        ),
        Err(reason) => findings.problem(
            CHECK,
            &format!("{shown} does not answer: {reason}"),
            "start it, or correct schema_registry.url; records of new schemas cannot be read until it answers",
        ),
    }
}

fn answer(url: &str, login: Option<(String, String)>) -> Result<u16, String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let mut asked = agent.get(format!("{}/subjects", url.trim_end_matches('/')));
    if let Some((user, password)) = login {
        asked = asked.header("Authorization", format!("Basic {}", base64(format!("{user}:{password}").as_bytes())));
    }
    asked.call().map(|answer| answer.status().as_u16()).map_err(|e| e.to_string())
}

/// The address without the login that it may hold.
fn shown(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => url.to_owned(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let number = part.iter().enumerate().fold(0_u32, |n, (i, byte)| n | u32::from(*byte) << (16 - 8 * i));
        for digit in 0..4 {
            let known = digit <= part.len();
            let code = DIGITS.get((number >> (18 - 6 * digit) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if known { char::from(code) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_encoded_as_the_rfc_says() {
        let encoded = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        encoded.iter().for_each(|(text, expected)| assert_eq!(base64(text.as_bytes()), *expected));
    }

    #[test]
    fn a_login_in_the_address_is_not_shown() {
        assert_eq!(shown("http://me:hunter2@host:8081/x"), "http://host:8081/x");
        assert_eq!(shown("http://host:8081"), "http://host:8081");
    }
}
