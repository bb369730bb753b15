//! The files of the console page, as they are in `console/`: plain HTML, CSS and JavaScript modules, without a build step.

/// A file that is served as it is.
pub(super) struct Asset {
    /// Where it is served.
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal => $content_type:ident $file:literal,)*) => {
        &[$(Asset { path: $path, content_type: $content_type, text: include_str!(concat!("console/", $file)) },)*]
    };
}

/// All files of the page.
pub(super) const ASSETS: &[Asset] = assets! {
    "/" => HTML "index.html",
    "/console/console.css" => CSS "console.css",
    "/console/icon.svg" => SVG "icon.svg",
    "/console/main.js" => SCRIPT "main.js",
    "/console/series.js" => SCRIPT "series.js",
    "/console/dom.js" => SCRIPT "dom.js",
    "/console/format.js" => SCRIPT "format.js",
    "/console/health.js" => SCRIPT "health.js",
    "/console/layout.js" => SCRIPT "layout.js",
    "/console/flow.js" => SCRIPT "flow.js",
    "/console/chart.js" => SCRIPT "chart.js",
    "/console/panels.js" => SCRIPT "panels.js",
};
