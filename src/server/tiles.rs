//! Where the pictures below the map come from, if an operator says so: the only other place that the page may load from.

use axum::http::HeaderValue;
use serde::Serialize;

use super::options::TileOptions;

/// Whole and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Tiles {
    /// The address of a picture, with `{z}`, `{x}` and `{y}` in it.
    url: String,
    /// Whose they are, shown beside the map.
    attribution: String,
    /// Scheme, host and port.
    #[serde(skip)]
    origin: String,
}

impl Tiles {
    /// Reads the setting; the reason if it cannot be used.
    pub(super) fn new(options: &TileOptions) -> Result<Self, String> {
        let TileOptions { url, attribution } = options;
        let wrong = |reason: &str| Err(format!("the address of map tiles `{url}` {reason}"));
        let Some((scheme @ ("https" | "http"), rest)) = url.split_once("://") else {
            return wrong("does not begin with https:// or http://");
        };
        let Some((host, path)) = rest.split_once('/') else { return wrong("has no path") };
        // What stands in a policy must not end it.
        let is_of_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        if host.is_empty() || !host.bytes().all(is_of_host) {
            return wrong("names no host; give one host, without user and placeholders");
        }
        if !["{z}", "{x}", "{y}"].iter().all(|part| path.contains(part)) {
            return wrong("lacks {z}, {x} or {y}; write it as https://tiles.example/{z}/{x}/{y}.png");
        }
        if !path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'\\')) {
            return wrong("has characters that do not belong there");
        }
        Ok(Self { url: url.clone(), attribution: attribution.clone(), origin: format!("{scheme}://{host}") })
    }
}

/// No script but our own runs, nothing is loaded from elsewhere but the tiles, and no other page may show this one in a frame.
pub(super) fn content_security_policy(tiles: Option<&Tiles>) -> HeaderValue {
    let images = tiles.map(|tiles| format!(" {}", tiles.origin)).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{images}; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // An origin is checked to be of plain characters; without it the policy is stricter still.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles(url: &str) -> Result<Tiles, String> {
        Tiles::new(&TileOptions { url: url.to_owned(), attribution: "Example".to_owned() })
    }

    #[test]
    fn the_policy_is_widened_by_the_origin_of_the_tiles_and_nothing_else() {
        let plain = content_security_policy(None).to_str().unwrap().to_owned();
        assert!(plain.contains("; img-src 'self'; "), "{plain}");
        let tiles = tiles("https://tiles.example:8443/base/{z}/{x}/{y}.png?key=1").unwrap();
        let wide = content_security_policy(Some(&tiles)).to_str().unwrap().to_owned();
        assert_eq!(wide.replace(" https://tiles.example:8443", ""), plain);
        let told = serde_json::to_value(&tiles).unwrap();
        assert_eq!(told["url"], "https://tiles.example:8443/base/{z}/{x}/{y}.png?key=1");
        assert!(told.get("origin").is_none());
    }

    #[test]
    fn an_address_that_could_end_the_policy_or_is_no_template_is_refused() {
        for (url, reason) in [
            ("tiles.example/{z}/{x}/{y}.png", "does not begin with https://"),
            ("https://tiles.example; script-src */{z}/{x}/{y}", "names no host"),
            ("https://me@tiles.example/{z}/{x}/{y}", "names no host"),
            ("https://{s}.tiles.example/{z}/{x}/{y}", "names no host"),
            ("https://tiles.example/{z}/{x}.png", "lacks {z}, {x} or {y}"),
            ("https://tiles.example", "has no path"),
            ("https://tiles.example/{z}/{x}/{y}'", "do not belong"),
        ] {
            let refused = tiles(url).unwrap_err();
            assert!(refused.contains(reason) && refused.contains(url), "{refused}");
        }
    }
}
