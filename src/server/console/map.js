// The map of cells: what the sinks have written by H3 cell or position, over a plain grid of coordinates (Leaflet, in
// vendor/leaflet, fetched when there is something to show). The table beside it holds the same.

import { ask } from "./api.js";
import { byId, el, setText, table } from "./dom.js";
import { clock, compact, count, NONE, spaced } from "./format.js";
import { coordinateGrid } from "./grid.js";
import { offer } from "./views.js";

/// As many cells are listed.
const LISTED_MAX = 25;
/// Limits of a z-score: what chance alone gives once in 20, 100 and 1,000 cells.
const Z_LIMITS = [1.96, 2.58, 3.29];
const Z_WORDS = ["cold, below −1.96", "between −1.96 and 1.96", "from 1.96 (1 of 20 by chance)", "from 2.58 (1 of 100)", "from 3.29 (1 of 1,000)"];

/// What is shown first where there is no score.
const TOLD_FIRST = ["epdo", "score", "n", "count", "value"];

/// A column of z-scores by its name.
const isScore = (name) => /^z(_|$)|_z$/.test(name);

export class CellMap {
  constructor() {
    Object.assign(this, { layers: [], answer: null, map: null, drawn: null });
    byId("map-layer").addEventListener("change", () => this.choose());
    byId("map-value").addEventListener("change", () => this.show());
    byId("map-newest").addEventListener("change", () => this.show());
    window.addEventListener("themechange", () => this.show());
  }

  /// Asks what can be shown, and for the cells if somebody looks at them.
  async ask(isLookedAt) {
    const { layers, tiles } = await ask("/api/map");
    this.tiles = tiles ?? null;
    this.layers = layers.filter((layer) => layer.n_cells > 0);
    offer("map", this.layers.length > 0);
    const select = byId("map-layer");
    const names = this.layers.map((layer) => layer.sink);
    if (select.dataset.names !== names.join()) {
      select.dataset.names = names.join();
      const chosen = select.value;
      select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
      if (names.includes(chosen)) select.value = chosen;
    }
    if (isLookedAt && this.layers.length > 0) await this.load();
  }

  enter() {
    if (this.layers.length > 0) this.load().catch((error) => console.debug(error.message));
  }

  choose() {
    this.bounds = null;
    this.enter();
  }

  async load() {
    const sink = byId("map-layer").value;
    if (sink === "") return;
    const answer = await ask(`/api/map?sink=${encodeURIComponent(sink)}`);
    if (byId("map-layer").value !== sink) return;
    this.answer = answer;
    const names = ["rows", ...answer.columns];
    const select = byId("map-value");
    if (select.dataset.names !== `${sink}:${names}`) {
      select.dataset.names = `${sink}:${names}`;
      select.replaceChildren(...names.map((name) => el("option", { value: name }, name === "rows" ? "number of rows" : spaced(name))));
      select.value = names.find(isScore) ?? TOLD_FIRST.find((name) => names.includes(name)) ?? "rows";
      this.suggestWindow();
    }
    await this.begin();
    this.show();
  }

  /// Cells of a window that is closed as a whole are shown alone; where every row has a window of its own, all are.
  suggestWindow() {
    const { cells, window: newest } = this.answer;
    const n = cells.filter((cell) => this.isOfNewest(cell)).length;
    byId("map-newest-label").hidden = newest === null || n === cells.length;
    byId("map-newest").checked = newest !== null && n * 2 >= cells.length;
  }

  isOfNewest(cell) {
    const begins = cell.values.find(([column]) => column === "window_start")?.[1];
    return this.answer.window !== null && Date.parse(begins) === Date.parse(this.answer.window);
  }

  /// Makes the map when it is first looked at.
  async begin() {
    if (this.map || byId("map").hidden) return;
    await leaflet();
    const { L } = window;
    this.map = L.map(byId("map-picture"), { attributionControl: Boolean(this.tiles), zoomAnimation: !isCalm(), fadeAnimation: !isCalm(),
      markerZoomAnimation: !isCalm(), inertia: !isCalm(), minZoom: 2, maxZoom: 18, zoomControl: false }).setView([0, 0], 2);
    this.map.attributionControl?.setPrefix(false);
    L.control.zoom({ position: "topright" }).addTo(this.map);
    byId("map-picture").classList.toggle("tiled", Boolean(this.tiles));
    if (this.tiles) tileLayer(L, this.tiles.url, { attribution: text(this.tiles.attribution ?? "") }).addTo(this.map);
    this.grid = coordinateGrid(L).addTo(this.map);
    this.cells = L.layerGroup().addTo(this.map);
    new ResizeObserver(() => this.map.invalidateSize()).observe(byId("map-picture"));
  }

  valueOf(cell, name) {
    if (name === "rows") return cell.rows;
    const value = cell.values.find(([column]) => column === name)?.[1];
    return typeof value === "number" ? value : null;
  }

  show() {
    if (!this.map || !this.answer) return;
    const { sink, window: begins, n_left_out: nLeftOut } = this.answer;
    const isNewest = byId("map-newest").checked;
    const cells = this.answer.cells.filter((cell) => !isNewest || this.isOfNewest(cell));
    const name = byId("map-value").value;
    const scale = isScore(name) ? scoreScale() : rankScale(cells.map((cell) => this.valueOf(cell, name)));
    setText(byId("map-hint"), [`${count(cells.length)} ${cells.length === 1 ? "cell" : "cells"} that ${sink} has written since the worker started`,
      isNewest ? `window from ${begins.slice(0, 10)}` : null, nLeftOut > 0 ? `${count(nLeftOut)} more are left out` : null].filter(Boolean).join(", "));
    const { L } = window;
    this.cells.clearLayers();
    this.shapes = new Map();
    for (const cell of cells) {
      const value = this.valueOf(cell, name);
      const ring = cell.ring.map(([lon, lat]) => [lat, lon]);
      const shape = L.polygon(ring, { className: `cell ${value === null ? "heat-none" : `heat${scale.classOf(value)}`}`, weight: 1 });
      shape.bindPopup(() => this.popup(cell));
      shape.addTo(this.cells);
      this.shapes.set(cell.cell, shape);
      shape.getElement()?.setAttribute("tabindex", "-1");
    }
    if (!this.bounds && cells.length > 0) {
      this.bounds = L.latLngBounds(cells.flatMap((cell) => cell.ring.map(([lon, lat]) => [lat, lon])));
      this.map.fitBounds(this.bounds, { padding: [20, 20], maxZoom: 15, animate: false });
    }
    byId("map-key").replaceChildren(...scale.words.map(([heat, word]) => el("li", { class: `heat${heat}` }, word)));
    this.list(cells, name);
  }

  popup(cell) {
    const items = [["cell", cell.cell], ["rows", cell.rows], ["written", clock(cell.at_ms)], ...cell.values];
    return el("dl", { class: "pairs" }, items.map(([name, value]) => el("div", {}, el("dt", {}, spaced(name)), el("dd", {}, shown(value)))));
  }

  list(cells, name) {
    const root = byId("map-table");
    if (root.contains(document.activeElement) && root !== document.activeElement) return;
    const valued = cells.map((cell) => [cell, this.valueOf(cell, name)]).filter(([, value]) => value !== null);
    const rows = valued.sort(([, a], [, b]) => b - a).slice(0, LISTED_MAX).map(([cell, value]) => {
      const button = el("button", { type: "button", class: "plain" }, cell.cell);
      button.addEventListener("click", () => {
        const shape = this.shapes.get(cell.cell);
        this.map.fitBounds(shape.getBounds(), { maxZoom: 12, animate: !isCalm() });
        shape.openPopup();
      });
      return [button, figure(value), count(cell.rows)];
    });
    const columns = [{ name: "Cell" }, { name: name === "rows" ? "Rows" : spaced(name), number: true }, { name: "Rows", number: true }];
    const width = name === "rows" || cells.every((cell) => cell.rows === 1) ? 2 : 3;
    root.replaceChildren(table(`Cells by ${name}, the greatest first`, columns.slice(0, width), rows.map((row) => row.slice(0, width)), "No cell has a value."));
  }
}

const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const shown = (value) => (value === null ? NONE : typeof value === "number" ? figure(value) : typeof value === "object" ? JSON.stringify(value) : String(value));
const figure = (value) => (Number.isInteger(value) ? compact(value) : Math.abs(value) >= 100 ? compact(value) : value.toFixed(2));
/// Text that Leaflet would take for markup.
const text = (words) => el("i", {}, words).textContent.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/// Tiles that are not wanted any more are let go without Leaflet's empty picture, a `data:` address that the page's policy refuses.
function tileLayer(L, url, options) {
  const Tiles = L.TileLayer.extend({
    _abortLoading() {
      for (const [key, { el: picture, coords }] of Object.entries(this._tiles)) {
        if (coords.z === this._tileZoom) continue;
        picture.onload = L.Util.falseFn;
        picture.onerror = L.Util.falseFn;
        if (picture.complete) continue;
        picture.removeAttribute("src");
        picture.remove();
        delete this._tiles[key];
        this.fire("tileabort", { tile: picture, coords });
      }
    },
    _removeTile(key) {
      this._tiles[key]?.el.removeAttribute("src");
      return L.GridLayer.prototype._removeTile.call(this, key);
    },
  });
  return new Tiles(url, options);
}

function scoreScale() {
  return {
    classOf: (z) => (z <= -Z_LIMITS[0] ? "-cold" : String(1 + Z_LIMITS.filter((limit) => z >= limit).length)),
    words: Z_WORDS.map((word, i) => [i === 0 ? "-cold" : String(i), word]),
  };
}

/// Five classes of about as many cells each.
function rankScale(values) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const limits = [...new Set([0.2, 0.4, 0.6, 0.8].map((part) => sorted[Math.floor(part * sorted.length)]))].filter((limit) => limit > sorted[0]);
  const shift = 4 - limits.length;
  const ends = [sorted[0], ...limits];
  return {
    classOf: (value) => String(shift + limits.filter((limit) => value >= limit).length),
    words: sorted.length === 0 ? [] : ends.map((low, i) => [String(shift + i), i === ends.length - 1 ? `from ${figure(low)}` : `${figure(low)} to ${figure(ends[i + 1])}`]),
  };
}

let loading = null;

/// Fetches Leaflet, once.
function leaflet() {
  loading ??= new Promise((resolve, reject) => {
    const script = el("script", { src: "/console/vendor/leaflet/leaflet.js" });
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error("the map library could not be loaded")));
    const sheet = el("link", { rel: "stylesheet", href: "/console/vendor/leaflet/leaflet.css" });
    document.head.prepend(sheet);
    document.head.append(script);
  });
  return loading;
}
