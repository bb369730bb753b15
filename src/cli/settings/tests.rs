//! What file, variables and flags say together, and how each of them is shown.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};

/// Runs `curb config show` with a file and further flags; the file is there for as long as the folder is.
fn show(text: &str, flags: &[&str], variables: &[(&str, &str)]) -> Result<Configuration, String> {
    let dir = tempfile::tempdir().unwrap();
    read(dir.path(), text, flags, variables)
}

fn read(dir: &Path, text: &str, flags: &[&str], variables: &[(&str, &str)]) -> Result<Configuration, String> {
    let path = dir.join("curb.toml");
    std::fs::write(&path, text).unwrap();
    let mut args: Vec<OsString> = ["curb", "config", "show", "--config"].map(OsString::from).into();
    args.push(path.into());
    args.extend(flags.iter().map(OsString::from));
    let variables: Vec<_> = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    match parse::<Cli>(args, &variables) {
        Ok((_, configuration)) => Ok(configuration),
        Err(Refused::Usage(error)) => Err(error.to_string()),
        Err(Refused::Configuration(error)) => Err(format!("{error:#}")),
    }
}

fn setting(configuration: &Configuration, name: &str) -> (String, String) {
    let given = configuration.settings.iter().find(|(key, _)| key == name).unwrap().1.as_ref().unwrap();
    let origin = match &given.origin {
        Origin::Default => "default".into(),
        Origin::File { line, .. } => format!("line {line}"),
        Origin::Environment(name) | Origin::Flag(name) => name.clone(),
    };
    (given.value.clone(), origin)
}

fn of(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let text = "brokers = 'a:1'\npipeline = 'of-file'\n\nshards = 3\naudit = true\n";
    let found = show(text, &["--pipeline", "of-flag"], &[]).unwrap();
    assert_eq!(setting(&found, "brokers"), of("a:1", "line 1"));
    assert_eq!(setting(&found, "pipeline"), of("of-flag", "--pipeline"));
    assert_eq!(setting(&found, "shards"), of("3", "line 4"));
    assert_eq!(setting(&found, "audit"), of("true", "line 5"));
    assert_eq!(setting(&found, "create_topics"), of("false", "default"));
    assert_eq!(setting(&found, "instance"), of("0", "default"));
    let found = show("", &[], &[]).unwrap();
    assert_eq!(setting(&found, "shards"), of("that of the state topic, or 8", "default"));
    assert_eq!(found.settings.iter().find(|(key, _)| key == "http").unwrap().1, None);
}

#[test]
fn the_limits_of_sql_come_from_all_places() {
    let text = "[sql]\nmax_rows = 5\nmax_time = '3s'\n";
    let found = show(text, &["--sql-max-rows", "6", "--sql-max-running=0"], &[]).unwrap();
    assert_eq!(setting(&found, "sql.max_rows"), of("6", "--sql-max-rows"));
    assert_eq!(setting(&found, "sql.max_time"), of("3s", "line 3"));
    assert_eq!(setting(&found, "sql.max_running"), of("0", "--sql-max-running"));
    assert_eq!(setting(&found, "sql.max_memory_mib"), of("512", "default"));
}

#[test]
fn what_the_file_says_arrives_where_a_flag_would() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("curb.toml");
    let text = "brokers = 'a:1'\nstate_dir = '/state of mine'\nemit_from = 'now'\nshards = 2\ncreate_topics = true\nlog_format = 'json'\n";
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let args = ["curb", "run", "pack", "--config", path, "--emit-from", "earliest"].map(OsString::from);
    let (cli, _) = parse::<Cli>(args.into(), &[]).unwrap();
    let Command::Run(run) = cli.command else { panic!("{cli:?}") };
    let settings = run.settings;
    assert_eq!(settings.pipeline.cluster.brokers.as_deref(), Some("a:1"));
    assert_eq!(settings.state_dir.as_deref(), Some(Path::new("/state of mine")));
    assert_eq!((settings.shards, settings.create_topics, settings.audit), (Some(2), true, false));
    assert_eq!((settings.emit_from, settings.log_format), (EmitFrom::Earliest, LogForm::Json));
    // A command that lacks most of the settings takes those that it has.
    let args = ["curb", "state", "list", "--config", path].map(OsString::from);
    let (_, configuration) = parse::<Cli>(args.into(), &[]).unwrap();
    assert_eq!(configuration.settings.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["brokers", "pipeline"]);
}

#[test]
fn properties_come_from_the_file_then_the_environment_then_flags() {
    let text = "[kafka.properties]\nsecurity.protocol = 'SSL'\n'ssl.ca.location' = '/ca'\n'linger.ms' = 5\nsasl.username = 'file'";
    let variables = [
        ("CURB_KAFKA_SASL_USERNAME", "env"),
        ("CURB_KAFKA_LINGER_MS", "6"),
        ("CURB_KAFKA_SERVICE_HOST", "10.0.0.1"),
        ("CURB_KAFKA_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
        ("CURB_KAFKA_", "z"),
        ("CURB_BROKER", "b:1"),
    ];
    let found = show(text, &["-X", "linger.ms=7"], &variables).unwrap();
    let values: BTreeMap<&str, &str> = found.properties.iter().map(|(k, g)| (k.as_str(), g.value.as_str())).collect();
    let expected =
        [("security.protocol", "SSL"), ("ssl.ca.location", "/ca"), ("linger.ms", "7"), ("sasl.username", "env")];
    assert_eq!(values, expected.into());
    assert_eq!(found.properties["linger.ms"].origin, Origin::Flag("-X".into()));
    assert_eq!(found.properties["sasl.username"].origin, Origin::Environment("CURB_KAFKA_SASL_USERNAME".into()));
    assert_eq!(found.unknown_variables, ["variable CURB_BROKER is no setting; did you mean CURB_BROKERS?"]);
}

#[test]
fn a_secret_in_a_file_of_its_own_loses_one_line_break_and_is_never_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "hunter2\n\n").unwrap();
    let text = "[kafka.property_files]\nsasl.password = 'password'\n";
    let found = read(dir.path(), text, &[], &[]).unwrap();
    assert_eq!(found.properties["sasl.password"].value, "hunter2\n");
    let shown = crate::cli::config::text(&found);
    assert!(!shown.contains("hunter2") && shown.contains("***") && shown.contains("curb.toml line 2"), "{shown}");
    let both = format!("[kafka.properties]\nsasl.password = 'hunter3'\n{text}");
    let refused = read(dir.path(), &both, &[], &[]).unwrap_err();
    assert!(refused.contains("twice") && !refused.contains("hunter"), "{refused}");
    let refused = read(dir.path(), &text.replace("'password'", "'nowhere'"), &[], &[]).unwrap_err();
    assert!(
        refused.contains("line 2") && refused.contains("nowhere") && refused.contains("sasl.password"),
        "{refused}"
    );
}

#[test]
fn secrets_are_known_by_name() {
    for name in [
        "sasl.password",
        "ssl.key.pem",
        "ssl.key.password",
        "sasl.jaas.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "ssl.keystore.password",
        "ssl_key",
        "http_token",
    ] {
        assert!(is_secret(name), "{name}");
    }
    for name in [
        "sasl.username",
        "ssl.key.location",
        "ssl.ca.location",
        "http_token_file",
        "brokers",
        "security.protocol",
        "sasl.oauthbearer.token.endpoint.url",
    ] {
        assert!(!is_secret(name), "{name}");
    }
}

#[test]
fn what_the_file_gets_wrong_is_named_with_its_line_and_what_may_be_meant() {
    for (text, line, words) in [
        ("brokers = 'a:1'\nbroker = 'b:1'\n", 2, "unknown key `broker`; did you mean `brokers`?"),
        ("\n[kafka]\nacks = 1\n", 3, "unknown key `kafka.acks`"),
        ("shards = 0\n", 1, "`shards` has a value that does not fit: 0 is not in 1.."),
        ("shards = 'hunter2'\n", 1, "`shards` must be a whole number"),
        ("audit = 1\n", 1, "`audit` must be true or false"),
        ("time_zone = 'Asia/Shanghigh'\n", 1, "`time_zone` has a value that does not fit"),
        ("log_format = 'xml'\n", 1, "`log_format` must be one of text, json"),
        ("emit_from = 'yesterday'\n", 1, "write earliest, now, or a timestamp"),
        ("[kafka.properties]\nsasl.pasword = 'hunter2'\n", 2, "did you mean `sasl.password`?"),
        ("[kafka.properties]\n'group.id' = 'x'\n", 2, "`group.id` is set by curb"),
        ("[kafka.properties]\nsasl.password = ['hunter2']\n", 2, "must be a text, a number or a boolean"),
        ("[kafka.properties]\nsasl.password = 'hunter2\n", 2, ""),
        ("[schema_registry]\nulr = 'x'\n", 2, "unknown key `schema_registry.ulr`"),
        ("[sql]\nmax_row = 5\n", 2, "unknown key `sql.max_row`; did you mean `sql.max_rows`?"),
        (
            "[sql]\n\nmax_time = '5 minutes'\n",
            3,
            "`sql.max_time` has a value that does not fit: write a whole number and a unit",
        ),
        ("[sql]\nmax_time = '2m'\n", 2, "it must be from 10ms to 50s"),
        ("[sql]\nmax_rows = 2000000\n", 2, "2000000 is not in 1..=1000000"),
        ("kafka = 'hunter2'\n", 1, "`kafka` must be a table"),
    ] {
        let refused = show(text, &[], &[]).unwrap_err();
        assert!(refused.contains(&format!(" line {line}: ")) && refused.contains(words), "{text}: {refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    let refused = show("", &["-X", "colour=red"], &[]).unwrap_err();
    assert_eq!(refused, "-X: Kafka property `colour` does not exist");
    let refused = show("", &[], &[("CURB_KAFKA_SASL_PASWORD", "hunter2")]).unwrap_err();
    assert!(refused.starts_with("CURB_KAFKA_SASL_PASWORD: ") && !refused.contains("hunter2"), "{refused}");
}

/// What a JSON schema of the kinds that are written here says of a value.
fn accepts(schema: &Value, value: &Value) -> bool {
    of_schema(schema, schema, value)
}

fn of_schema(root: &Value, schema: &Value, value: &Value) -> bool {
    let accepts = |schema: &Value, value: &Value| of_schema(root, schema, value);
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return accepts(root.pointer(reference.trim_start_matches('#')).unwrap(), value);
    }
    if let Some(all) = schema.get("allOf") {
        return all.as_array().unwrap().iter().all(|one| accepts(one, value));
    }
    if let Some(any) = schema.get("anyOf") {
        return any.as_array().unwrap().iter().any(|one| accepts(one, value));
    }
    if let Some(choices) = schema.get("enum") {
        return choices.as_array().unwrap().contains(value);
    }
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    let kinds = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        several => several.as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect(),
    };
    let members = |of: &serde_json::Map<String, Value>| {
        of.iter().all(|(name, value)| schema["properties"].get(name).is_some_and(|schema| accepts(schema, value)))
    };
    kinds.iter().any(|kind| is(kind))
        && schema.get("minimum").and_then(Value::as_i64).is_none_or(|least| value.as_i64().unwrap() >= least)
        && schema.get("maximum").and_then(Value::as_i64).is_none_or(|most| value.as_i64().unwrap() <= most)
        && value.as_array().is_none_or(|items| items.iter().all(|item| accepts(&schema["items"], item)))
        && value.as_object().is_none_or(members)
}

#[test]
fn the_schema_takes_what_the_reader_takes_and_refuses_what_it_refuses() {
    let command = Cli::command();
    let schema = schema(command.find_subcommand("run").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    let held = format!("[kafka.property_files]\n'ssl.key.password' = '{}'\n", secret.display());
    let texts = [
        "",
        "brokers = 'a:1'",
        "brokers = 1",
        "brokers = ['a:1']",
        "broker = 'a:1'",
        "shards = 1",
        "shards = 0",
        "shards = -1",
        "shards = '1'",
        "shards = 1.5",
        "instance = 0",
        "audit = true",
        "audit = 'true'",
        "log_format = 'json'",
        "log_format = 'xml'",
        "config = 'x'",
        "state_dir = '/x'",
        "create_topics = false",
        "until_caught_up = true",
        "time_zone = 'Asia/Shanghai'",
        "emit_from = 'now'",
        "pack = 'x'",
        "help = true",
        "version = true",
        "output = 'json'",
        "kafka = 1",
        "[kafka]",
        "[kafka.properties]",
        "[kafka.properties]\nlinger.ms = 1.5",
        "[kafka.properties]\n'linger.ms' = 1",
        "[kafka.properties]\nlinger = 1",
        "[kafka.properties]\nlingr.ms = 1",
        "[kafka.properties]\nssl.ca.location = 'x'\n'ssl.key.location' = 'y'",
        "[kafka.properties]\n'group.id' = 'x'",
        "[kafka.properties]\ngroup.id = 'x'",
        "[kafka.properties]\n'debug' = ['x']",
        "[kafka.property]\n'debug' = 'x'",
        &held,
        "[schema_registry]",
        "[schema_registry]\nulr = 'x'",
        "[sql]\nmax_running = 0\nmax_rows = 1000000\nmax_time = '30s'",
        "[sql]\nmax_running = 65",
        "[sql]\nmax_rows = 0",
        "[sql]\nmax_rows = 1000001",
        "[sql]\nmax_time = 30",
        "sql_max_rows = 10",
        "[other]",
    ];
    let mut n_accepted = 0;
    for text in texts {
        let value: Value = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        let read = show(text, &[], &[]);
        assert_eq!(accepts(&schema, &value), read.is_ok(), "{text}: {read:?}");
        n_accepted += usize::from(read.is_ok());
    }
    assert!((15..texts.len() - 15).contains(&n_accepted), "{n_accepted}");
}

#[test]
fn every_setting_is_explained_in_the_schema_and_has_a_variable() {
    let command = Cli::command();
    let run = command.find_subcommand("run").unwrap();
    let schema = schema(run);
    for setting in file::settings(run) {
        let member = setting.key.split('.').fold(&schema, |at, part| &at["properties"][part]);
        assert!(member["description"].as_str().is_some_and(|d| d.len() > 20), "{}: {member}", setting.key);
        let variable = setting.arg.get_env().and_then(|v| v.to_str()).unwrap_or_default();
        assert_eq!(variable, format!("CURB_{}", setting.key.replace('.', "_").to_uppercase()), "{}", setting.key);
    }
}

#[test]
fn a_property_needs_a_name_and_its_value_may_hold_anything() {
    assert_eq!(properties::parse("a.b=c=d").unwrap(), ("a.b".to_string(), "c=d".to_string()));
    assert!(properties::parse("a.b").is_err() && properties::parse("=c").is_err());
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
    assert!(Cli::try_parse_from(["curb", "config", "schema"]).is_ok());
}
