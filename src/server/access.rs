//! Who may ask what: tokens, the word of a proxy, callers on this machine, and pages of others.
//!
//! | what | without settings | with a token file or a user header |
//! |---|---|---|
//! | `/livez`, `/readyz`, the files of the page | everyone | everyone: they hold no rows |
//! | `/metrics` | everyone | everyone, or who reaches the address of the probes where they have one of their own |
//! | `/api/rows`, `/api/map`, `/api/refused` | callers on this machine | who has a token, whom the proxy names |
//! | other `GET /api/..` | everyone, from this machine under a name of its own only | who has a token, whom the proxy names |
//! | `POST /api/sql` | callers on this machine | who has a token, whom the proxy names |
//! | pause and resume | callers on this machine | the same, with an admin token where there is a file of those; without a user header also callers on this machine |
//!
//! Browsers are not to be used against their owner. A POST that a browser says comes from another site's page is refused, and
//! so is whatever a caller on this machine asks under a foreign host name, which is how a page reaches a server that trusts its
//! machine (DNS rebinding). What a proxy hands on is not from this machine, nor what comes from 127.0.0.6, as all that the sidecar of
//! a service mesh hands on. Programs say nothing of the kind, and need no header.
//!
//! One address asks [`REQUESTS_PER_SECOND`] times a second and no more, whatever it asks but the probes: all answers are made by
//! one thread, and who floods it must not make a probe wait.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::control::REQUEST_HEADER;
use super::door::Peer;
use super::options::AccessOptions;
use super::pages::Served;
use super::rate_limit::RateLimit;
use super::watched_file::Watched;

/// A token must be too long to be guessed.
const TOKEN_LENGTH_MIN: usize = 16;
/// Wrong tokens of one client: so many at once, and so many a second.
const FAILURES_BURST: f64 = 10.0;
const FAILURES_PER_SECOND: f64 = 0.1;
/// Questions of one client to `/api/sql`: so many at once, and so many a second.
const QUERIES_BURST: f64 = 20.0;
const QUERIES_PER_SECOND: f64 = 2.0;

/// Everything but probes: so much at once, as a page with its files, and so much a second.
const REQUESTS_BURST: f64 = 400.0;
pub(super) const REQUESTS_PER_SECOND: f64 = 100.0;

/// Who may ask what.
pub(super) struct Access {
    tokens: Option<Tokens>,
    admin_tokens: Option<Tokens>,
    user_header: Option<HeaderName>,
    failures: RateLimit,
    queries: RateLimit,
    requests: RateLimit,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// What the pipeline is doing.
    Read,
    /// What sinks have written, and records that could not be used.
    Rows,
    Query,
    Control,
}

/// As whom a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Nobody,
    User,
    Admin,
}

/// Why a request is refused: the code, a sentence, and for how long there is no use in asking again.
struct Refusal {
    code: StatusCode,
    reason: &'static str,
    retry_after: Option<Duration>,
    /// What is to be shown to be let in.
    challenge: Option<&'static str>,
}

impl Access {
    /// Reads the files; the reason if they cannot be used.
    pub(super) fn new(options: &AccessOptions) -> Result<Self, String> {
        let user_header = options.user_header.as_ref().map(|name| {
            let wrong = |_| format!("`{name}` is no name of a header");
            HeaderName::from_bytes(name.as_bytes()).map_err(wrong)
        });
        Ok(Self {
            tokens: options.token_file.as_deref().map(Tokens::read).transpose()?,
            admin_tokens: options.admin_token_file.as_deref().map(Tokens::read).transpose()?,
            user_header: user_header.transpose()?,
            failures: RateLimit::new(FAILURES_PER_SECOND, FAILURES_BURST),
            queries: RateLimit::new(QUERIES_PER_SECOND, QUERIES_BURST),
            requests: RateLimit::new(options.requests_per_second, REQUESTS_BURST),
        })
    }

    /// Whether callers must say who they are.
    pub(super) fn is_restricted(&self) -> bool {
        self.tokens.is_some() || self.admin_tokens.is_some() || self.user_header.is_some()
    }

    /// Whether a request may go on.
    fn admit(&self, peer: IpAddr, request: &Asked<'_>, now: Instant) -> Result<(), Refusal> {
        let Asked { wish, is_post, headers } = *request;
        if is_post && is_of_another_site(headers) {
            return Err(Refusal::forbidden("the request comes from the page of another site"));
        }
        let is_local = is_this_machine(peer) && !is_forwarded(headers);
        if is_local
            && wish == Wish::Control
            && self.user_header.is_none()
            && !headers.contains_key(header::AUTHORIZATION)
        {
            return named_as_this_machine(headers);
        }
        let standing = self.standing(peer, headers, now)?;
        let is_enough = match wish {
            Wish::Read if is_local && !self.is_restricted() => {
                named_as_this_machine(headers)?;
                true
            }
            Wish::Read => standing >= Standing::User || !self.is_restricted(),
            Wish::Rows | Wish::Query if is_local && !self.is_restricted() => {
                named_as_this_machine(headers)?;
                true
            }
            Wish::Rows | Wish::Query => standing >= Standing::User,
            Wish::Control if self.admin_tokens.is_some() => standing == Standing::Admin,
            Wish::Control => standing >= Standing::User,
        };
        match (is_enough, wish) {
            (true, Wish::Query) => self
                .queries
                .take(peer, now)
                .map_err(|wait| Refusal::wait("too many queries from this address; ask again later", wait)),
            (true, _) => Ok(()),
            (false, Wish::Control) if standing == Standing::User => Err(Refusal::forbidden(
                "this needs a token of --http-admin-token-file, or a caller on the worker's machine",
            )),
            (false, _) => Err(Refusal::forbidden(
                "only callers on the worker's own machine may do this; start the worker with --http-token-file, and it \
                 answers who has a token",
            )),
        }
    }

    /// As whom a caller is known, or why it is not let in.
    fn standing(&self, peer: IpAddr, headers: &HeaderMap, now: Instant) -> Result<Standing, Refusal> {
        if let Some(name) = &self.user_header
            && headers.get(name).is_none_or(HeaderValue::is_empty)
        {
            return Err(Refusal {
                code: StatusCode::UNAUTHORIZED,
                reason: "this port is for the proxy that says who asks (--http-user-header)",
                retry_after: None,
                challenge: None,
            });
        }
        if self.tokens.is_none() && self.admin_tokens.is_none() {
            return Ok(if self.user_header.is_some() { Standing::User } else { Standing::Nobody });
        }
        let tries_too_often = |wait| Refusal::wait("too many wrong tokens from this address", wait);
        let Some(given) = headers.get(header::AUTHORIZATION) else {
            return Err(Refusal::unauthorized(
                "a token is needed: Authorization: Bearer TOKEN",
                "Bearer realm=\"curb\"",
            ));
        };
        // Whoever guesses does not learn that a guess is right.
        self.failures.check(peer, now).map_err(tries_too_often)?;
        let token = given.to_str().ok().and_then(bearer);
        let is_of = |tokens: &Option<Tokens>| token.is_some_and(|t| tokens.as_ref().is_some_and(|all| all.contain(t)));
        match (is_of(&self.admin_tokens), is_of(&self.tokens)) {
            (true, _) => Ok(Standing::Admin),
            (false, true) => Ok(Standing::User),
            (false, false) => {
                let _ = self.failures.take(peer, now);
                tracing::warn!(%peer, "refused a request with a wrong token");
                let challenge = "Bearer realm=\"curb\", error=\"invalid_token\"";
                Err(Refusal::unauthorized("the token is not one that the worker knows", challenge))
            }
        }
    }
}

/// A request, as far as it matters who may ask it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    wish: Wish,
    is_post: bool,
    headers: &'a HeaderMap,
}

/// Lets a request on, or refuses it.
pub(super) async fn guard(
    State(served): State<Served>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if !matches!(path, "/livez" | "/readyz")
        && let Err(wait) = served.access.requests.take(peer.ip(), Instant::now())
    {
        return Refusal::wait("too many requests from this address; ask again later", wait).into_response();
    }
    let Some(wish) = wish(path) else { return next.run(request).await };
    let asked = Asked { wish, is_post: *request.method() != Method::GET, headers: request.headers() };
    match served.access.admit(peer.ip(), &asked, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// What a path stands for; none for what everyone may see.
fn wish(path: &str) -> Option<Wish> {
    match path {
        "/api/sql" => Some(Wish::Query),
        "/api/rows" | "/api/map" | "/api/refused" => Some(Wish::Rows),
        path if path.starts_with("/api/sinks/") => Some(Wish::Control),
        path if path.starts_with("/api/") => Some(Wish::Read),
        _ => None,
    }
}

fn bearer(given: &str) -> Option<&str> {
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a browser sends this for the page of another site. What browsers ask permission for first was permitted by nobody.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    if headers.contains_key(REQUEST_HEADER) {
        return false;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) != text("host"),
        (None, None) => false,
    }
}

/// Whether a proxy hands on what somebody else asks. A proxy on this machine does not make its callers ones of this machine.
fn is_forwarded(headers: &HeaderMap) -> bool {
    const NAMES: [&str; 8] = [
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-request-id",
        "true-client-ip",
        "cf-connecting-ip",
    ];
    let is_of_proxy = |name: &str| {
        NAMES.contains(&name) || ["x-forwarded-", "x-original-", "x-envoy-"].iter().any(|start| name.starts_with(start))
    };
    headers.keys().any(|name| is_of_proxy(name.as_str()))
}

/// Whether a caller is on this machine. Other addresses of the loopback network are those of proxies that say nothing else of
/// themselves, as 127.0.0.6 is Istio's.
fn is_this_machine(peer: IpAddr) -> bool {
    matches!(peer.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST))
}

/// Refuses what was sent to this machine under a name that is not its own.
fn named_as_this_machine(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(Refusal::forbidden("the request names another host; without a token use localhost or 127.0.0.1"))
}

/// Tokens, as their hashes: that takes the same time for each, whatever its length.
struct Tokens {
    hashes: Watched<Vec<[u8; 32]>>,
}

impl Tokens {
    fn read(path: &Path) -> Result<Self, String> {
        let of: PathBuf = path.to_owned();
        Ok(Self { hashes: Watched::new(&[path], move || read_tokens(&of))? })
    }

    fn contain(&self, token: &str) -> bool {
        let given = hash(token);
        let mut is_one = Choice::from(0);
        self.hashes.get().iter().for_each(|known| is_one |= known.ct_eq(&given));
        is_one.into()
    }
}

/// The tokens of a file, one a line, of which none is ever shown.
fn read_tokens(path: &Path) -> Result<Vec<[u8; 32]>, String> {
    let wrong = |reason: &dyn std::fmt::Display| format!("token file `{}`: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
    let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        return Err(wrong(&"it holds no token; make one with `openssl rand -hex 32`"));
    }
    let is_usable = |token: &&str| token.len() >= TOKEN_LENGTH_MIN && token.bytes().all(|b| b.is_ascii_graphic());
    if !tokens.iter().all(is_usable) {
        return Err(wrong(&format!(
            "a token has at least {TOKEN_LENGTH_MIN} visible characters; make one with `openssl rand -hex 32`"
        )));
    }
    Ok(tokens.into_iter().map(hash).collect())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Refusal {
    fn forbidden(reason: &'static str) -> Self {
        Self { code: StatusCode::FORBIDDEN, reason, retry_after: None, challenge: None }
    }

    fn unauthorized(reason: &'static str, challenge: &'static str) -> Self {
        Self { code: StatusCode::UNAUTHORIZED, reason, retry_after: None, challenge: Some(challenge) }
    }

    fn wait(reason: &'static str, wait: Duration) -> Self {
        Self { code: StatusCode::TOO_MANY_REQUESTS, reason, retry_after: Some(wait), challenge: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.code, Json(json!({ "error": self.reason }))).into_response();
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + 1;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef-user";
    const ADMIN: &str = "0123456789abcdef-admin";

    fn access(tokens: bool, admins: bool, header: bool) -> Access {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, token: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("{token}\n\nanother-token-of-the-file\n")).unwrap();
            path
        };
        let options = AccessOptions {
            token_file: tokens.then(|| file("tokens", TOKEN)),
            admin_token_file: admins.then(|| file("admins", ADMIN)),
            user_header: header.then(|| "X-Forwarded-User".to_owned()),
            ..AccessOptions::default()
        };
        Access::new(&options).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("127.0.0.1:8642"))]);
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn code(access: &Access, peer: [u8; 4], wish: Wish, pairs: &[(&'static str, &str)]) -> u16 {
        let headers = headers(pairs);
        let asked = Asked { wish, is_post: matches!(wish, Wish::Query | Wish::Control), headers: &headers };
        access.admit(peer.into(), &asked, Instant::now()).map_or_else(|refusal| refusal.code.as_u16(), |()| 200)
    }

    const HERE: [u8; 4] = [127, 0, 0, 1];
    const THERE: [u8; 4] = [10, 0, 0, 7];

    /// The codes for reading, querying and controlling, from this machine and from another.
    fn codes(access: &Access, pairs: &[(&'static str, &str)]) -> [[u16; 3]; 2] {
        [HERE, THERE].map(|peer| [Wish::Read, Wish::Query, Wish::Control].map(|wish| code(access, peer, wish, pairs)))
    }

    #[test]
    fn who_may_do_what_follows_from_tokens_the_proxy_and_the_machine() {
        let (user, admin) = (format!("Bearer {TOKEN}"), format!("bearer {ADMIN}"));
        let (user, admin) = (("authorization", user.as_str()), ("authorization", admin.as_str()));
        let wrong = ("authorization", "Bearer 0123456789abcdef-wrong");
        let named = ("x-forwarded-user", "anna");
        let open = access(false, false, false);
        assert_eq!(codes(&open, &[]), [[200, 200, 200], [200, 403, 403]]);

        let rows = |access: &Access, peer| code(access, peer, Wish::Rows, &[]);
        assert_eq!((rows(&open, HERE), rows(&open, THERE)), (200, 403));
        assert_eq!(code(&open, HERE, Wish::Rows, &[("host", "rebound.example")]), 403);

        for by in
            ["x-forwarded-for", "x-forwarded-proto", "x-envoy-attempt-count", "x-request-id", "x-client-ip", "via"]
        {
            assert_eq!(codes(&open, &[(by, "203.0.113.9")]), [[200, 403, 403]; 2], "{by}");
        }
        let sidecar = |wish| code(&open, [127, 0, 0, 6], wish, &[]);
        assert_eq!([Wish::Read, Wish::Query, Wish::Control].map(sidecar), [200, 403, 403]);

        let with_tokens = access(true, false, false);
        assert_eq!(codes(&with_tokens, &[]), [[401, 401, 200], [401, 401, 401]]);
        assert_eq!(codes(&with_tokens, &[user]), [[200; 3]; 2]);
        assert_eq!((rows(&with_tokens, HERE), rows(&with_tokens, THERE)), (401, 401));
        assert_eq!(code(&with_tokens, THERE, Wish::Rows, &[user]), 200);
        assert_eq!(codes(&with_tokens, &[wrong]), [[401; 3]; 2]);
        assert_eq!(codes(&with_tokens, &[("authorization", "Basic YWxhZGRpbg==")]), [[401; 3]; 2]);

        let with_admins = access(true, true, false);
        assert_eq!(codes(&with_admins, &[user]), [[200, 200, 403]; 2]);
        assert_eq!(codes(&with_admins, &[admin]), [[200; 3]; 2]);

        let behind_proxy = access(false, false, true);
        assert_eq!(codes(&behind_proxy, &[]), [[401; 3]; 2], "a proxy may be on this machine");
        assert_eq!(codes(&behind_proxy, &[named]), [[200; 3]; 2]);
        assert_eq!(codes(&behind_proxy, &[("x-forwarded-user", "")]), [[401; 3]; 2]);

        let with_both = access(true, false, true);
        assert_eq!(codes(&with_both, &[named]), [[401; 3]; 2]);
        assert_eq!(codes(&with_both, &[user]), [[401; 3]; 2]);
        assert_eq!(codes(&with_both, &[named, user]), [[200; 3]; 2]);
    }

    #[test]
    fn a_page_of_another_site_is_refused_and_a_program_is_not() {
        let open = access(false, false, false);
        let query = |pairs: &[(&'static str, &str)]| code(&open, HERE, Wish::Query, pairs);
        assert_eq!(query(&[]), 200);
        assert_eq!(query(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8642")]), 200);
        assert_eq!(query(&[("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(query(&[("sec-fetch-site", "same-site")]), 403);
        assert_eq!(query(&[("origin", "https://evil.example")]), 403);
        assert_eq!(query(&[("origin", "null")]), 403);
        assert_eq!(query(&[("origin", "http://127.0.0.1:8642")]), 200);
        assert_eq!(query(&[("origin", "https://console.example"), (REQUEST_HEADER, "1")]), 200, "asked for permission");
        let named = |host: &str, wish| {
            let headers: HeaderMap = [(header::HOST, host.parse().unwrap())].into_iter().collect();
            open.admit(HERE.into(), &Asked { wish, is_post: true, headers: &headers }, Instant::now()).is_ok()
        };
        for host in ["localhost", "LOCALHOST:8642", "[::1]:8642", "127.0.0.1", "10.1.2.3:80"] {
            assert!(named(host, Wish::Query) && named(host, Wish::Control) && named(host, Wish::Read), "{host}");
        }
        for host in ["rebound.example:8642", "localhost.evil.example", "", "127.0.0.1.evil.example:1"] {
            assert!(!named(host, Wish::Query) && !named(host, Wish::Control) && !named(host, Wish::Read), "{host}");
        }
    }

    #[test]
    fn whoever_guesses_tokens_or_asks_too_often_must_wait() {
        let access = access(true, false, false);
        let wrong = [("authorization", "Bearer 0123456789abcdef-guess")];
        let guesses: Vec<u16> = (0..12).map(|_| code(&access, THERE, Wish::Read, &wrong)).collect();
        assert_eq!(guesses[9..], [401, 429, 429]);
        let right = format!("Bearer {TOKEN}");
        let right = [("authorization", right.as_str())];
        assert_eq!(code(&access, THERE, Wish::Read, &right), 429, "a right guess is not told");
        assert_eq!(code(&access, HERE, Wish::Read, &right), 200);
        let asked: Vec<u16> = (0..30).map(|_| code(&access, HERE, Wish::Query, &right)).collect();
        assert_eq!((asked[19], asked[29]), (200, 429));
        assert_eq!(code(&access, HERE, Wish::Read, &right), 200);
    }

    #[test]
    fn token_files_that_hold_no_good_token_are_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_tokens(&path)
        };
        assert_eq!(read(&format!("{TOKEN}\n{ADMIN}\n")).unwrap().len(), 2);
        assert!(read(" \n").unwrap_err().contains("no token"));
        let refused = read("hunter2\n").unwrap_err();
        assert!(refused.contains("at least 16") && !refused.contains("hunter2"), "{refused}");
        assert!(read("has a blank in its midst\n").is_err());
        assert!(read_tokens(&dir.path().join("none")).unwrap_err().contains("none"));
        let header = AccessOptions { user_header: Some("no header".into()), ..AccessOptions::default() };
        assert!(Access::new(&header).err().unwrap().contains("`no header`"));
    }
}
