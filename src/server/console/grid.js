// The lines of longitude and latitude, with their figures at the edge: the ground of a map that has no tiles.

const STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
/// So many pixels lie between two lines at least.
const GAP_MIN = 90;

/// A layer that draws itself anew wherever the map goes.
export function coordinateGrid(L) {
  const Grid = L.LayerGroup.extend({
    onAdd(map) {
      // Below the cells.
      map.createPane("grid").style.zIndex = 350;
      L.LayerGroup.prototype.onAdd.call(this, map);
      map.on("moveend zoomend resize viewreset", this.draw, this);
      this.draw();
    },
    onRemove(map) {
      map.off("moveend zoomend resize viewreset", this.draw, this);
      L.LayerGroup.prototype.onRemove.call(this, map);
    },
    draw() {
      const map = this._map;
      if (!map) return;
      this.clearLayers();
      const bounds = map.getBounds();
      const [west, east] = [bounds.getWest(), bounds.getEast()];
      const [south, north] = [Math.max(-85, bounds.getSouth()), Math.min(85, bounds.getNorth())];
      const perDegree = map.getSize().x / Math.max(1e-9, east - west);
      const step = [...STEPS].reverse().find((s) => s * perDegree >= GAP_MIN) ?? STEPS[0];
      const digits = Math.max(0, Math.ceil(-Math.log10(step)));
      const line = (from, to) => this.addLayer(L.polyline([from, to], { className: "grid-line", weight: 1, interactive: false, pane: "grid" }));
      const label = (at, text, side) => this.addLayer(L.marker(at, { interactive: false, keyboard: false,
        icon: L.divIcon({ className: `grid-label ${side}`, html: named(text), iconSize: null }) }));
      for (let lon = Math.ceil(west / step) * step; lon <= east; lon += step) {
        line([south, lon], [north, lon]);
        label([bounds.getSouth(), lon], `${Math.abs(lon).toFixed(digits)}° ${lon < 0 ? "W" : "E"}`, "below");
      }
      for (let lat = Math.ceil(south / step) * step; lat <= north; lat += step) {
        line([lat, west], [lat, east]);
        label([lat, west], `${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}`, "left");
      }
    },
  });
  return new Grid();
}

function named(text) {
  const label = document.createElement("span");
  label.textContent = text;
  return label;
}
