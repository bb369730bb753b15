//! A registry of a few lines at the other end of a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Answers each request by its first line and its headers; tells how many it had.
fn serve(
    answer: impl Fn(&str, &[String], &str) -> (u16, String) + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let n_requests = Arc::new(AtomicUsize::new(0));
    let counted = n_requests.clone();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), answer, counted) = (stream, answer.clone(), counted.clone()) else { return };
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut lines = Vec::new();
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if line.trim().is_empty() {
                            break;
                        }
                        lines.push(line.trim().to_owned());
                    }
                    let length =
                        lines.iter().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    let mut body = vec![0; length.unwrap_or(0)];
                    reader.read_exact(&mut body).unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                    let (status, text) = answer(&lines[0], &lines[1..], &String::from_utf8_lossy(&body));
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", text.len());
                    if stream.write_all((head + &text).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, n_requests)
}

fn registry(url: &str) -> SchemaRegistry {
    SchemaRegistry::new(&RegistrySettings { url: url.to_owned(), ..RegistrySettings::default() }).unwrap()
}

fn not_found(code: i64) -> (u16, String) {
    (404, json!({ "error_code": code, "message": "not found" }).to_string())
}

/// Asks until there is an answer for all.
fn fetch(registry: &SchemaRegistry, ids: &[u32]) -> Result<(), NotReady> {
    let ids: BTreeSet<u32> = ids.iter().copied().collect();
    loop {
        match registry.fetch(&ids) {
            Err(NotReady::Busy) => thread::sleep(Duration::from_millis(20)),
            other => return other,
        }
    }
}

#[test]
fn a_schema_is_asked_for_once_with_all_that_it_refers_to() {
    let (url, n_requests) = serve(|line, _, _| match line.split(' ').nth(1).unwrap() {
        "/schemas/ids/1" => (200, json!({ "schema": "\"string\"" }).to_string()),
        "/schemas/ids/2" => {
            let references = json!([{ "name": "b.proto", "subject": "b", "version": 3 },
                                    { "name": "c.proto", "subject": "c d", "version": 1 }]);
            (200, json!({ "schema": "A", "schemaType": "PROTOBUF", "references": references }).to_string())
        }
        "/subjects/b/versions/3" => {
            let references = json!([{ "name": "c.proto", "subject": "c d", "version": 1 }]);
            (200, json!({ "schema": "B", "references": references }).to_string())
        }
        "/subjects/c%20d/versions/1" => (200, json!({ "schema": "C" }).to_string()),
        other => panic!("{other}"),
    });
    let registry = registry(&url);
    for _ in 0..3 {
        fetch(&registry, &[1, 2]).unwrap();
    }
    assert_eq!(n_requests.load(Ordering::Relaxed), 4);
    let Some(Lookup::Known(schema)) = registry.known(2) else { panic!() };
    assert_eq!((schema.language, schema.text.as_str()), (SchemaLanguage::Protobuf, "A"));
    let names: Vec<&str> = schema.references.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["c.proto", "b.proto"], "what others refer to comes first");
}

#[test]
fn an_unknown_number_is_confirmed_and_one_that_comes_late_is_taken() {
    let n_asked = AtomicUsize::new(0);
    let (url, n_requests) = serve(move |line, _, _| match line.split(' ').nth(1).unwrap() {
        "/schemas/ids/9" => not_found(40403),
        // A copy that lags behind.
        "/schemas/ids/8" if n_asked.fetch_add(1, Ordering::Relaxed) == 0 => not_found(40403),
        _ => (200, json!({ "schema": "\"int\"" }).to_string()),
    });
    let registry = registry(&url);
    let started = Instant::now();
    assert_eq!(registry.fetch(&BTreeSet::from([8, 9])), Err(NotReady::Busy));
    assert!(registry.known(9).is_none(), "not yet confirmed");
    fetch(&registry, &[8, 9]).unwrap();
    assert!(started.elapsed() >= CONFIRM_AFTER);
    assert!(matches!(registry.known(8), Some(Lookup::Known(_))));
    let Some(Lookup::Unknown(reason)) = registry.known(9) else { panic!() };
    assert_eq!(&*reason, "the schema registry does not know schema 9");
    assert_eq!(n_requests.load(Ordering::Relaxed), 4);
    fetch(&registry, &[8, 9]).unwrap();
    assert_eq!(n_requests.load(Ordering::Relaxed), 4, "what is known not to be there is not asked for each time");
}

#[test]
fn a_registry_that_does_not_answer_as_one_makes_nothing_unknown() {
    let refused = |status: u16, text: &str| {
        let text = text.to_owned();
        let (url, _) = serve(move |_, _, _| (status, text.clone()));
        let registry = registry(&url);
        let Err(NotReady::Unavailable(reason)) = fetch(&registry, &[1]) else { panic!() };
        assert!(registry.known(1).is_none());
        reason.replace(&url, "URL")
    };
    assert_eq!(refused(503, "{}"), "schema registry URL: answered 503");
    assert_eq!(
        refused(404, "<html>"),
        "schema registry URL: answered 404 as no schema registry does; check the address"
    );
    assert_eq!(refused(401, "{}"), "schema registry URL: answered 401: check user and password");
    assert_eq!(refused(200, "[]"), "the schema registry answered without a schema");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Err(NotReady::Unavailable(reason)) = fetch(&registry(&format!("http://u:s3cret@{closed}")), &[1]) else {
        panic!()
    };
    assert!(reason.contains(&closed.to_string()) && !reason.contains("s3cret"), "{reason}");
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let (url, _) = serve(|_, headers, _| {
        let is_known = headers.iter().any(|h| h.eq_ignore_ascii_case("authorization: Basic dTpwOnc="));
        if is_known { (200, json!({ "schema": "\"int\"" }).to_string()) } else { (401, "{}".into()) }
    });
    let settings = RegistrySettings {
        url: url.clone(),
        user: Some("u".into()),
        password: Some("p:w".into()),
        ..RegistrySettings::default()
    };
    let registry = SchemaRegistry::new(&settings).unwrap();
    fetch(&registry, &[1]).unwrap();
    for shown in [format!("{settings:?}"), format!("{registry:?}")] {
        assert!(!shown.contains("p:w") && !shown.contains("dTpwOnc"), "{shown}");
    }
    let in_url = url.replace("http://", "http://u:p%3Aw@");
    assert!(SchemaRegistry::new(&RegistrySettings { url: "ftp://x".into(), ..RegistrySettings::default() }).is_err());
    assert!(
        !format!("{:?}", SchemaRegistry::new(&RegistrySettings { url: in_url, ..RegistrySettings::default() }))
            .contains("p%3Aw")
    );
}

#[test]
fn a_schema_is_registered_found_or_refused_with_the_level_of_compatibility() {
    let (url, _) = serve(|line, _, body| match line {
        "POST /subjects/t-value/versions HTTP/1.1" => {
            assert_eq!(body, r#"{"schema":"{}"}"#);
            (200, r#"{"id":12}"#.into())
        }
        "POST /subjects/p/versions HTTP/1.1" => {
            assert_eq!(body, r#"{"schema":"x","schemaType":"PROTOBUF"}"#);
            (409, json!({ "error_code": 409, "message": "field 3 changed" }).to_string())
        }
        "GET /config/p?defaultToGlobal=true HTTP/1.1" => (200, r#"{"compatibilityLevel":"FULL"}"#.into()),
        "POST /subjects/t-value HTTP/1.1" => not_found(40403),
        "POST /subjects/bad/versions HTTP/1.1" => (422, r#"{"error_code":42201,"message":"invalid"}"#.into()),
        other => panic!("{other}"),
    });
    let registry = registry(&url);
    assert_eq!(registry.register("t-value", SchemaLanguage::Avro, "{}", true), Ok(12));
    let refused = |subject: &str, language, text: &str, may_register| match registry.register(
        subject,
        language,
        text,
        may_register,
    ) {
        Err(RegisterError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused("p", SchemaLanguage::Protobuf, "x", true),
        "subject `p`: the new schema is not compatible (FULL) with the one that is there: field 3 changed"
    );
    assert_eq!(
        refused("t-value", SchemaLanguage::Avro, "{}", false),
        "subject `t-value`: the schema is not registered there, and `auto_register` is false"
    );
    assert_eq!(refused("bad", SchemaLanguage::Avro, "", true), "subject `bad`: invalid");
}
