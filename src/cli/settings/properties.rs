//! Properties of the Kafka client, by their own names, and which names stand for secrets.

/// Environment variables of this prefix are librdkafka properties: `CURB_KAFKA_SASL_PASSWORD` is `sasl.password`.
const PREFIX: &str = "CURB_KAFKA_";
/// What Kubernetes adds to the environment for a service named `curb-kafka`; it is about no property.
const SERVICE_LINKS: [&str; 3] = ["SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// The property that a variable of the environment stands for.
pub(super) fn of_variable(name: &str) -> Option<String> {
    let property = name.strip_prefix(PREFIX).filter(|p| !p.is_empty())?;
    let is_link = SERVICE_LINKS
        .iter()
        .any(|link| property.strip_prefix(link).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')));
    (!is_link).then(|| property.to_ascii_lowercase().replace('_', "."))
}

/// Parses `property=value`. The value may be a secret and is never shown.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_string(), value.to_string())),
        _ => Err("a property is given as `name=value`".to_string()),
    }
}

/// Whether what a name stands for is never shown. A place where a secret lies is none.
pub(in crate::cli) fn is_secret(name: &str) -> bool {
    let is_place =
        [".location", "_location", ".file", "_file", ".url", "_url", "_dir"].iter().any(|end| name.ends_with(end));
    let words =
        ["password", "secret", "token", "key", "jaas", "credential", "sasl.oauthbearer.config", "certificate.pem"];
    !is_place && words.iter().any(|word| name.contains(word))
}
