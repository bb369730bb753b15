// Places the boxes of a directed graph: layers from left to right, few crossings, short edges. No DOM, no state.

const SWEEPS = 16;
const ALIGNMENTS = 12;

/// Lays out `nodes` (`{ id, inputs }`). `size` has `width`, `height`, `gapX`, `gapY` in pixels.
/// Returns the size of the whole, the top left corner of every node by id, and for each edge the points it passes.
export function layout(nodes, size) {
  const known = new Set(nodes.map((node) => node.id));
  const edges = nodes.flatMap((node) =>
    [...new Set(node.inputs)].filter((from) => known.has(from) && from !== node.id).map((from) => ({ from, to: node.id })));
  if (nodes.length === 0) return { width: 0, height: 0, nodes: new Map(), edges: [] };
  const ranks = rank(nodes.map((node) => node.id), edges);
  const { layers, chains } = withBends(ranks, edges);
  order(layers);
  place(layers, size);
  const last = layers.length - 1;
  const x = (item) => item.rank * (size.width + size.gapX);
  const items = layers.flat();
  const top = Math.min(...items.map((item) => item.y));
  const placed = new Map(items.filter((i) => !i.isBend).map((i) => [i.id, { x: x(i), y: i.y - top }]));
  const bottom = Math.max(...items.map((item) => item.y + heightOf(item, size)));
  const routes = chains.map(({ edge, items: way }) => ({
    ...edge,
    points: way.flatMap((item, i) => {
      const y = item.y - top + heightOf(item, size) / 2;
      const [left, right] = [[x(item), y], [x(item) + size.width, y]];
      return i === 0 ? [right] : i === way.length - 1 ? [left] : [left, right];
    }),
  }));
  return { width: last * (size.width + size.gapX) + size.width, height: bottom - top, nodes: placed, edges: routes };
}

const heightOf = (item, size) => (item.isBend ? 6 : size.height);

/// The layer of each node: the longest way to it, but for sources, which stand just before their first reader.
function rank(ids, edges) {
  const inputs = new Map(ids.map((id) => [id, []]));
  edges.forEach((edge) => inputs.get(edge.to).push(edge.from));
  const ranks = new Map();
  const open = new Set();
  const visit = (id) => {
    if (ranks.has(id)) return ranks.get(id);
    // An edge that would close a circle is as if it were not there.
    if (open.has(id)) return -1;
    open.add(id);
    const longest = Math.max(-1, ...inputs.get(id).map(visit));
    open.delete(id);
    ranks.set(id, longest + 1);
    return longest + 1;
  };
  ids.forEach(visit);
  for (const id of ids.filter((id) => inputs.get(id).length === 0)) {
    const readers = edges.filter((edge) => edge.from === id).map((edge) => ranks.get(edge.to));
    if (readers.length > 0) ranks.set(id, Math.min(...readers) - 1);
  }
  return ranks;
}

/// Layers of items. An edge over several layers bends at an item in each layer between.
function withBends(ranks, edges) {
  const layers = Array.from({ length: Math.max(0, ...ranks.values()) + 1 }, () => []);
  const items = new Map();
  const add = (item) => {
    layers[item.rank].push(item);
    return item;
  };
  for (const [id, rank] of ranks) items.set(id, add({ id, rank, isBend: false, before: [], after: [], y: 0 }));
  const chains = [];
  for (const edge of edges) {
    const [from, to] = [items.get(edge.from), items.get(edge.to)];
    const way = [from];
    for (let rank = from.rank + 1; rank < to.rank; rank += 1) {
      way.push(add({ id: `${edge.from}>${edge.to}@${rank}`, rank, isBend: true, before: [], after: [], y: 0 }));
    }
    way.push(to);
    if (from.rank < to.rank) {
      way.slice(1).forEach((item, i) => {
        item.before.push(way[i]);
        way[i].after.push(item);
      });
    }
    chains.push({ edge, items: way });
  }
  return { layers, chains };
}

/// Orders each layer by the mean place of its neighbours, to and fro, and keeps the order with the fewest crossings.
function order(layers) {
  const number = () => layers.forEach((layer) => layer.forEach((item, i) => (item.place = i)));
  const mean = (items, own) => (items.length > 0 ? items.reduce((sum, i) => sum + i.place, 0) / items.length : own);
  number();
  let best = { crossings: crossings(layers), layers: layers.map((layer) => [...layer]) };
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forward = sweep % 2 === 0;
    for (const layer of forward ? layers : [...layers].reverse()) {
      layer.forEach((item) => (item.wish = mean(forward ? item.before : item.after, item.place)));
      layer.sort((a, b) => a.wish - b.wish || a.place - b.place);
      layer.forEach((item, i) => (item.place = i));
    }
    const found = crossings(layers);
    if (found < best.crossings) best = { crossings: found, layers: layers.map((layer) => [...layer]) };
  }
  layers.forEach((layer, i) => layer.splice(0, layer.length, ...best.layers[i]));
  number();
}

function crossings(layers) {
  let n = 0;
  for (const layer of layers) {
    const ends = layer.flatMap((item) => item.after.map((to) => [item.place, to.place]));
    for (let i = 0; i < ends.length; i += 1) {
      for (let k = i + 1; k < ends.length; k += 1) {
        if ((ends[i][0] - ends[k][0]) * (ends[i][1] - ends[k][1]) < 0) n += 1;
      }
    }
  }
  return n;
}

/// Moves items towards their neighbours as far as the order and the gaps of their layer allow.
function place(layers, size) {
  const centre = (item) => item.y + heightOf(item, size) / 2;
  layers.forEach((layer) => {
    let y = 0;
    layer.forEach((item) => {
      item.y = y;
      y += heightOf(item, size) + size.gapY;
    });
  });
  for (let i = 0; i < ALIGNMENTS; i += 1) {
    for (const layer of i % 2 === 0 ? layers : [...layers].reverse()) {
      const wishes = layer.map((item) => {
        const neighbours = [...item.before, ...item.after];
        const wish = neighbours.length > 0 ? neighbours.reduce((s, n) => s + centre(n), 0) / neighbours.length : centre(item);
        return wish - heightOf(item, size) / 2;
      });
      settle(layer, wishes, size);
    }
  }
}

/// The places nearest to the wishes that keep order and gaps: runs that would overlap share their mean.
function settle(layer, wishes, size) {
  let offset = 0;
  const offsets = layer.map((item) => {
    const own = offset;
    offset += heightOf(item, size) + size.gapY;
    return own;
  });
  const runs = [];
  wishes.forEach((wish, i) => {
    // A bend gives way more easily than a box.
    const weight = layer[i].isBend ? 0.5 : 1;
    let run = { sum: (wish - offsets[i]) * weight, weight, n: 1 };
    while (runs.length > 0 && runs.at(-1).sum / runs.at(-1).weight > run.sum / run.weight) {
      const above = runs.pop();
      run = { sum: above.sum + run.sum, weight: above.weight + run.weight, n: above.n + run.n };
    }
    runs.push(run);
  });
  let i = 0;
  for (const run of runs) {
    for (let k = 0; k < run.n; k += 1, i += 1) layer[i].y = run.sum / run.weight + offsets[i];
  }
}
