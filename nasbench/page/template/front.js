"use strict";
/* The front with every trial, and its filters. */

// --- filters
const checked = (id) => new Set([...document.querySelectorAll(`#${id} input:checked`)].map((box) => box.value));
const limitOf = (id) => {
  const value = byId(id).value.trim();
  return value === "" || !Number.isFinite(Number(value)) ? Infinity : Number(value);
};
function filtered() {
  const most = { ms: limitOf("most-ms"), macs: 1e6 * limitOf("most-macs"), params: 1e6 * limitOf("most-params") };
  const [levels, families, shown] = [checked("by-level"), checked("by-family"), checked("by-study")];
  return points.filter(({ study, level, ms, design }) =>
    shown.has(String(study)) && levels.has(studies[study].levels[level].label) && families.has(design.family)
    && ms <= most.ms && design.macs <= most.macs && design.params <= most.params);
}
function addBoxes(id, labels) {
  for (const [value, label] of labels) {
    const line = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value, checked: true, defaultChecked: true });
    line.append(box, ` ${label}`);
    byId(id).append(line);
  }
}
const distinct = (values) => [...new Set(values)];

// --- the front
const topLevel = (study) => studies[study].levels.length - 1;

/** The points of each study, level and origin, lowest level first. */
function grouped(shown) {
  const groups = new Map();
  for (const point of shown) {
    const key = `${point.study} ${point.level} ${point.design.published}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(point);
  }
  return [...groups.values()].sort((a, b) => a[0].level - b[0].level);
}
function traceOf(group) {
  const [{ study, level, design }] = group;
  const top = level === topLevel(study);
  const [name, kind] = [studies[study].levels[level].label, design.published ? "published" : "searched"];
  const colour = colourOf(group[0]);
  const guessed = group.map(({ design: each }) => each.measured === null && each.high !== null);
  return {
    type: "scatter", mode: "markers", customdata: group, hoverinfo: "text", hovertext: group.map(hover),
    name: `${studies.length > 1 ? `${studies[study].name}: ` : ""}${kind}, ${name}`,
    x: group.map(({ ms }) => ms), y: group.map(({ mean }) => 100 * mean),
    marker: {
      symbol: SYMBOLS[level % SYMBOLS.length] + (design.published && studies.length > 1 ? "-open" : ""), color: colour,
      size: top ? 11 : 7, opacity: top ? 1 : 0.5, line: { width: 1, color: css("--card") },
    },
    error_y: { type: "data", array: group.map(({ std }) => (std === null ? 0 : 100 * std)), visible: group.some(({ std }) => std !== null), color: colour, thickness: 1, width: 3 },
    error_x: {
      type: "data", symmetric: false, visible: guessed.some(Boolean) && group.length <= BARS_UP_TO, color: colour, thickness: 0.7, width: 0,
      array: group.map(({ design: each }, at) => (guessed[at] ? each.high - each.predicted : 0)),
      arrayminus: group.map(({ design: each }, at) => (guessed[at] ? each.predicted - each.low : 0)),
    },
  };
}

/** The staircase of the designs that are shown at the highest level of a study. */
function staircase(shown, study) {
  const there = shown.filter((point) => point.study === study && point.level === topLevel(study)).sort((a, b) => a.ms - b.ms || b.mean - a.mean);
  const corners = { x: [], y: [] };
  let best = -Infinity;
  for (const { ms, mean } of there)
    if (mean > best) {
      best = mean;
      corners.x.push(ms);
      corners.y.push(100 * mean);
    }
  return {
    type: "scatter", mode: "lines", ...corners, hoverinfo: "skip", showlegend: false,
    line: { shape: "hv", width: 1.3, color: studies.length > 1 ? STUDY_COLOURS[study % STUDY_COLOURS.length] : css("--dim") },
  };
}

/** Where the points end that matter: a trial that hardly learnt must not squeeze the front into a line. */
function yRange(shown) {
  const named = shown.filter(({ design, study, level }) => level === topLevel(study) || design.front);
  const values = (named.length ? named : shown).map(({ mean, std }) => [100 * (mean - (std ?? 0)), 100 * (mean + (std ?? 0))]).flat();
  const all = shown.map(({ mean }) => 100 * mean);
  const [low, high] = [Math.min(...values), Math.max(...values, ...all)];
  const floor = Math.max(low - Math.max(1.5 * (high - low), 3), Math.min(low, ...all));
  const margin = Math.max(0.5, 0.07 * (high - floor));
  return [floor - margin, high + 1.6 * margin];
}

function bandShapes(low, high) {
  const grounds = { sure: css("--good-ground"), alone: css("--soft"), "within noise": css("--doubt-ground"), unknown: css("--doubt-ground") };
  return studies[current].bands.filter((band) => band.from_ms < high).flatMap((band) => [{
    type: "line", layer: "below", xref: "x", yref: "paper", y0: 0, y1: 1, x0: band.from_ms, x1: band.from_ms, line: { width: 1, dash: "dot", color: css("--dim") },
  }, {
    type: "rect", layer: "below", xref: "x", yref: "paper", y0: 0, y1: 1, line: { width: 0 }, opacity: 0.55,
    x0: Math.max(low, band.from_ms), x1: Math.min(high, band.until_ms ?? high), fillcolor: grounds[band.verdict],
  }]);
}

function drawFront() {
  const shown = filtered();
  byId("shown").textContent = `${shown.length.toLocaleString("en")} of ${points.length.toLocaleString("en")} points`;
  const all = (shown.length ? shown : points).map(({ ms }) => ms);
  const [low, high] = all.length ? [Math.min(...all) / 1.15, Math.max(...all) * 1.2] : [1, 10];
  const range = shown.length ? yRange(shown) : [0, 100];
  const plot = byId("front-plot");
  const groups = grouped(shown);
  const traces = [...studies.map((_, number) => staircase(shown, number)), ...groups.flatMap((group) => (crowded(group) ? crowdTraces(group) : [traceOf(group)]))];
  const devices = distinct(studies.map((study) => study.device)).join(", ");
  const frame = frameOf(plot, [Math.log10(low), Math.log10(high)], range);
  plot.drawn = { shown, groups, bands: bandShapes(low, high) };
  const layout = base({
    xaxis: logAxis(`latency, ms (${devices}; log scale)`, low, high), yaxis: axis(studies[current].words.axis, { range }),
    showlegend: true, hovermode: "closest", uirevision: `${low} ${high} ${range}`, ...laidOut(plot, frame),
  });
  if (groups.some(crowded)) Object.assign(layout.legend, { itemclick: false, itemdoubleclick: false }); // it cannot hide a crowd
  Plotly.react(plot, traces, layout, CONFIG).then(() => layOut(plot, frame));
  const below = shown.filter(({ mean }) => 100 * mean < range[0]).length;
  byId("front-key").textContent = `Background: the verdict on the design of the front that answers these latencies (green: more accurate than what is faster; yellow: within noise, or unknown; blue: the fastest).${below ? ` ${below === 1 ? "1 point lies" : `${below} points lie`} below the picture; a double click shows all.` : ""}`;
  refreshTable("front");
}

// --- what is laid out by the pixel: names, and points in crowds
/** Where figures lie in pixels from the picture's lower left corner, given both ranges; null before the first drawing. */
function frameOf(plot, xRange, yRange) {
  const size = plot._fullLayout?._size;
  return size ? { x: [...xRange], y: [...yRange], width: size.w, height: size.h } : null;
}
const placeIn = ({ x, y, width, height }) => ({ ms, mean }) => [
  ((Math.log10(ms) - x[0]) / (x[1] - x[0])) * width, height - ((100 * mean - y[0]) / (y[1] - y[0])) * height,
];
function laidOut(plot, frame) {
  const { shown, groups, bands } = plot.drawn;
  if (!frame) return { shapes: bands, annotations: [] };
  return { shapes: [...bands, ...groups.filter(crowded).map((group) => crowdShape(group, frame))], annotations: names(shown, frame) };
}
/** Lay out anew where the picture has another size or other ranges than it was laid out for. */
function layOut(plot, frame) {
  const { xaxis, yaxis } = plot._fullLayout;
  const found = frameOf(plot, xaxis.range, yaxis.range);
  if (JSON.stringify(found) !== JSON.stringify(frame)) Plotly.relayout(plot, laidOut(plot, found));
}

/** Many points of a lower level are drawn as one path, since a browser takes a tenth of a second for a thousand marks. */
const crowded = (group) => group.length > BARS_UP_TO && group[0].level !== topLevel(group[0].study);
const round = (corners, turn, reach = () => 1) => Array.from({ length: corners }, (_, at) => {
  const angle = 2 * Math.PI * (at / corners + turn);
  return [reach(at) * Math.cos(angle), reach(at) * Math.sin(angle)];
});
const OUTLINES = { // of SYMBOLS, around (0, 0), up is positive
  circle: round(8, 1 / 16), square: round(4, 1 / 8).map(([x, y]) => [1.25 * x, 1.25 * y]), diamond: round(4, 0).map(([x, y]) => [1.3 * x, 1.3 * y]),
  "triangle-up": round(3, 1 / 4).map(([x, y]) => [1.15 * x, 1.15 * y]), star: round(10, 1 / 4, (at) => (at % 2 ? 0.55 : 1.4)), hexagon: round(6, 1 / 4),
};
function crowdShape(group, frame) {
  const [{ level }] = group;
  const place = placeIn(frame);
  const corners = OUTLINES[SYMBOLS[level % SYMBOLS.length]].map(([x, y]) => [3.5 * x, 3.5 * y]);
  const path = group.map((point) => {
    const [x, y] = place(point);
    return `M${corners.map(([dx, dy]) => `${(x + dx).toFixed(1)},${(frame.height - y + dy).toFixed(1)}`).join("L")}Z`;
  }).join("");
  return {
    type: "path", path, layer: "below", xref: "x", yref: "y", xsizemode: "pixel", ysizemode: "pixel", xanchor: 10 ** frame.x[0], yanchor: frame.y[0],
    fillcolor: colourOf(group[0]), fillrule: "nonzero", opacity: 0.5, line: { width: 1, color: css("--card") },
  };
}
/** What shows a crowd in the legend, and what is told of a point of it. */
function crowdTraces(group) {
  const { marker, name, customdata, hovertext, x, y } = traceOf(group);
  return [
    { type: "scatter", mode: "markers", marker, name, x: [null], y: [null], hoverinfo: "skip" },
    { type: "scatter", mode: "none", name, customdata, hoverinfo: "text", hovertext, x, y, showlegend: false, hoverlabel: { bgcolor: marker.color } },
  ];
}

/** Boxes, in pixels, that names keep clear of: points, bars over seeds, and the staircase from each point to the next. */
function obstacles(named, place, frame) {
  const fronts = named.filter(({ design }) => design.front).sort((a, b) => a.study - b.study || a.ms - b.ms);
  return named.flatMap((point) => {
    const [x, y] = place(point);
    const reach = point.std === null ? 0 : (100 * point.std * frame.height) / (frame.y[1] - frame.y[0]);
    const next = fronts[fronts.indexOf(point) + 1];
    const step = point.design.front ? [[x, y - 2, next && next.study === point.study ? place(next)[0] : x + 90, y + 2]] : [];
    return [[x - 8, y - 8, x + 8, y + 8], [x - 3, y - reach, x + 3, y + reach], ...step];
  });
}

/** Names beside the points that are published or on the front, where they hide no point and no other name. */
function names(shown, frame) {
  const place = placeIn(frame);
  const named = shown.filter(({ study, level, design }) => level === topLevel(study) && (design.published || design.front));
  const size = narrow() ? 10 : 12;
  const small = shown.length > BARS_UP_TO ? [] : shown.map((point) => { const [x, y] = place(point); return [x - 4, y - 4, x + 4, y + 4]; });
  const taken = [...small, ...obstacles(named, place, frame)];
  return named.flatMap((point) => {
    const [x, y] = place(point);
    const [width, height] = [0.6 * size * point.design.name.length + 4, size + 4];
    const choice = SIDES.map(([dx, dy, reach]) => {
      const [left, middle] = [x + dx * reach - ((1 - dx) / 2) * width, y + dy * (reach + height / 2)];
      return { dx, dy, reach, box: [left, middle - height / 2, left + width, middle + height / 2] };
    }).find(({ box }) => box[0] > 0 && box[2] < frame.width && box[1] > 0 && box[3] < frame.height && !taken.some((other) => overlap(box, other)));
    if (!choice) return [];
    taken.push(choice.box);
    return [{
      x: Math.log10(point.ms), y: 100 * point.mean, text: escaped(point.design.name), showarrow: false, borderpad: 0,
      xanchor: { 1: "left", 0: "center", "-1": "right" }[choice.dx], yanchor: "middle", xshift: choice.dx * choice.reach,
      yshift: -choice.dy * (choice.reach + height / 2), font: { size, color: css("--ink") }, bgcolor: css("--paper"), opacity: 0.85, captureevents: false,
    }];
  });
}

// where a name may stand, by how far to the right (1), left (-1), below (1) or above (-1) its point
const SIDES = [4, 10, 20, 34].flatMap((reach) => [[1, -1, reach], [-1, -1, reach], [-1, 0, reach + 8], [1, 0, reach + 8], [0, -1, reach + 6], [1, 1, reach], [-1, 1, reach], [0, 1, reach + 6]]);
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
