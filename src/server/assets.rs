//! The files of the console page, as they are in `console/`: plain HTML, CSS and JavaScript modules, without a build step.
//!
//! `console/vendor` holds uPlot (charts) and Leaflet (maps), as they are published on npm, with their licences.

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
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! assets {
    ($($path:literal => $content_type:ident $file:literal,)*) => {
        &[$(Asset { path: $path, content_type: $content_type, text: include_str!(concat!("console/", $file)) },)*]
    };
}

/// All files of the page.
pub(super) const ASSETS: &[Asset] = assets! {
    "/" => HTML "index.html",
    "/console/theme.css" => CSS "theme.css",
    "/console/console.css" => CSS "console.css",
    "/console/parts.css" => CSS "parts.css",
    "/console/icon.svg" => SVG "icon.svg",
    "/console/main.js" => SCRIPT "main.js",
    "/console/theme.js" => SCRIPT "theme.js",
    "/console/api.js" => SCRIPT "api.js",
    "/console/views.js" => SCRIPT "views.js",
    "/console/series.js" => SCRIPT "series.js",
    "/console/dom.js" => SCRIPT "dom.js",
    "/console/format.js" => SCRIPT "format.js",
    "/console/health.js" => SCRIPT "health.js",
    "/console/layout.js" => SCRIPT "layout.js",
    "/console/graph.js" => SCRIPT "graph.js",
    "/console/flow.js" => SCRIPT "flow.js",
    "/console/finder.js" => SCRIPT "finder.js",
    "/console/chart.js" => SCRIPT "chart.js",
    "/console/spark.js" => SCRIPT "spark.js",
    "/console/panels.js" => SCRIPT "panels.js",
    "/console/records.js" => SCRIPT "records.js",
    "/console/map.js" => SCRIPT "map.js",
    "/console/grid.js" => SCRIPT "grid.js",
    "/console/sql.js" => SCRIPT "sql.js",
    "/console/vendor/uplot/uPlot.iife.min.js" => SCRIPT "vendor/uplot/uPlot.iife.min.js",
    "/console/vendor/uplot/uPlot.min.css" => CSS "vendor/uplot/uPlot.min.css",
    "/console/vendor/uplot/LICENSE" => TEXT "vendor/uplot/LICENSE",
    "/console/vendor/leaflet/leaflet.js" => SCRIPT "vendor/leaflet/leaflet.js",
    "/console/vendor/leaflet/leaflet.css" => CSS "vendor/leaflet/leaflet.css",
    "/console/vendor/leaflet/LICENSE" => TEXT "vendor/leaflet/LICENSE",
};
