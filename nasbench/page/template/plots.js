"use strict";
/* The plots and their filters. */

// --- the plots
const base = (extra) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: narrow() ? false : "zoom",
  font: { family: "system-ui, sans-serif", size: 13, color: css("--ink") },
  modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--dim"), activecolor: css("--ink") },
  margin: { l: 58, r: 14, t: 24, b: 48 }, hoverlabel: { align: "left", font: { size: 12 } },
  legend: { orientation: "h", y: -0.16, x: 0, yanchor: "top", font: { size: 12 } }, ...extra,
});
const axis = (title, extra) => ({
  title: { text: title, standoff: 8 }, gridcolor: css("--rule"), linecolor: css("--dim"), zeroline: false, ...extra,
});
const CONFIG = {
  responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  toImageButtonOptions: { format: "svg", filename: "nasbench" },
};
const ticks = (low, high) => {
  const steps = high / low > 30 ? [1, 2, 5] : high / low > 5 ? [1, 1.5, 2, 3, 5, 7] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
  const found = [];
  for (let power = -3; power < 7; power += 1)
    for (const step of steps) {
      const value = step * 10 ** power;
      if (value >= low && value <= high) found.push(Number(value.toPrecision(3)));
    }
  return found;
};
const logAxis = (title, low, high, extra) => axis(title, {
  type: "log", range: [Math.log10(low), Math.log10(high)], tickvals: ticks(low, high), ...extra,
});

function colourOf(point) {
  if (studies.length > 1) return STUDY_COLOURS[point.study % STUDY_COLOURS.length];
  return point.design.published ? css("--warm") : css("--accent");
}
function hover(point) {
  point.text ||= hoverText(point);
  return point.text;
}
function hoverText(point) {
  const { design } = point;
  const study = studies[point.study];
  const known = design.measured !== null
    ? `${short(design.measured)} ms measured`
    : `${short(design.predicted)} ms predicted [${short(design.low)}, ${short(design.high)}]`;
  const stages = design.stages.split(" · ");
  const lines = [];
  for (let at = 0; at < stages.length; at += 3) lines.push(stages.slice(at, at + 3).map(escaped).join(" · "));
  return [
    `<b>${escaped(design.name)}</b>${studies.length > 1 ? `, ${escaped(study.name)}` : ""}${design.published ? ", published" : ""}`,
    `${percent(point.mean)}${spread(point.std)} % ${escaped(study.words.noun)}, ${point.seeds} seed${point.seeds > 1 ? "s" : ""}`,
    `${escaped(study.levels[point.level].label)}`, known,
    `${millions(design.macs)} M MACs, ${millions(design.params)} M params, ${design.px} px`, ...lines,
  ].join("<br>");
}

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

function tracesOf(shown) {
  const groups = new Map();
  for (const point of shown) {
    const key = `${point.study} ${point.level} ${point.design.published}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(point);
  }
  return [...groups.values()].sort((a, b) => a[0].level - b[0].level).map((group) => traceOf(group));
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
  const traces = [...studies.map((_, number) => staircase(shown, number)), ...tracesOf(shown)];
  const range = shown.length ? yRange(shown) : [0, 100];
  const plot = byId("front-plot");
  const devices = distinct(studies.map((study) => study.device)).join(", ");
  Plotly.react(plot, traces, base({
    xaxis: logAxis(`latency, ms (${devices}; log scale)`, low, high), yaxis: axis(studies[current].words.axis, { range }),
    shapes: bandShapes(low, high), showlegend: true, hovermode: "closest", uirevision: `${low} ${high} ${range}`,
  }), CONFIG).then(() => labelSoon(plot, shown));
  const below = shown.filter(({ mean }) => 100 * mean < range[0]).length;
  byId("front-key").textContent = `Grounds: bands of latency and their verdict (green: more accurate than what is faster; yellow: within noise or unknown; blue: the fastest).${below ? ` ${below} points lie below the picture; a double click shows them.` : ""}`;
  refreshTable("front");
}

/** Boxes, in pixels, that names keep clear of: points, bars over seeds, and the staircase to the right of the front. */
function obstacles(named, place, yaxis) {
  return named.flatMap((point) => {
    const [x, y] = place(point);
    const reach = point.std === null ? 0 : Math.abs(yaxis.l2p(100 * (point.mean + point.std)) - y);
    const step = point.design.front ? [[x, y - 2, x + 90, y + 2]] : [];
    return [[x - 8, y - 8, x + 8, y + 8], [x - 3, y - reach, x + 3, y + reach], ...step];
  });
}

/** Names beside the points that are published or on the front, where they hide no point and no other name. */
function label(plot, shown) {
  const { xaxis, yaxis } = plot._fullLayout;
  const place = (point) => [xaxis.l2p(Math.log10(point.ms)), yaxis.l2p(100 * point.mean)];
  const named = shown.filter(({ study, level, design }) => level === topLevel(study) && (design.published || design.front));
  const size = narrow() ? 10 : 12;
  const small = shown.length > BARS_UP_TO ? [] : shown.map((point) => { const [x, y] = place(point); return [x - 4, y - 4, x + 4, y + 4]; });
  const taken = [...small, ...obstacles(named, place, yaxis)];
  const annotations = [];
  for (const point of named) {
    const [x, y] = place(point);
    const [width, height] = [0.6 * size * point.design.name.length + 4, size + 4];
    const choice = SIDES.map(([dx, dy, reach]) => {
      const [left, middle] = [x + dx * reach - ((1 - dx) / 2) * width, y + dy * (reach + height / 2)];
      return { dx, dy, reach, box: [left, middle - height / 2, left + width, middle + height / 2] };
    }).find(({ box }) => box[0] > 0 && box[2] < xaxis._length && box[1] > 0 && box[3] < yaxis._length && !taken.some((other) => overlap(box, other)));
    if (!choice) continue;
    taken.push(choice.box);
    annotations.push({
      x: Math.log10(point.ms), y: 100 * point.mean, text: escaped(point.design.name), showarrow: false, borderpad: 0,
      xanchor: { 1: "left", 0: "center", "-1": "right" }[choice.dx], yanchor: "middle", xshift: choice.dx * choice.reach,
      yshift: -choice.dy * (choice.reach + height / 2), font: { size, color: css("--ink") }, bgcolor: css("--paper"), opacity: 0.85, captureevents: false,
    });
  }
  if (JSON.stringify(annotations) !== JSON.stringify(plot.layout.annotations ?? [])) Plotly.relayout(plot, { annotations });
}
/** Of many points the names wait until nothing has changed for a moment: they take a second drawing. */
let labelling = 0;
function labelSoon(plot, shown) {
  clearTimeout(labelling);
  if (shown.length <= BARS_UP_TO) label(plot, shown);
  else labelling = setTimeout(() => label(plot, shown), 150);
}

// where a name may stand, by how far to the right (1), left (-1), below (1) or above (-1) its point
const SIDES = [4, 10, 20, 34].flatMap((reach) => [[1, -1, reach], [-1, -1, reach], [-1, 0, reach + 8], [1, 0, reach + 8], [0, -1, reach + 6], [1, 1, reach], [-1, 1, reach], [0, 1, reach + 6]]);
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

// --- the other plots
function bothLatencies() {
  return studies.flatMap((study, number) => study.designs.filter(({ measured, predicted }) => measured !== null && predicted !== null).map((design) => ({ design, study: number })));
}
function drawLatency() {
  const pairs = bothLatencies();
  const plot = byId("latency-plot");
  plot.hidden = !pairs.length;
  if (!pairs.length) return;
  const values = pairs.flatMap(({ design }) => [design.measured, design.predicted, design.low ?? design.predicted, design.high ?? design.predicted]);
  const [low, high] = [Math.min(...values) / 1.1, Math.max(...values) * 1.1];
  const traces = studies.map((study, number) => {
    const own = pairs.filter((pair) => pair.study === number).map(({ design }) => design);
    return {
      type: "scatter", mode: "markers", name: study.name, x: own.map((each) => each.measured), y: own.map((each) => each.predicted), hoverinfo: "text",
      hovertext: own.map((each) => `<b>${escaped(each.name)}</b><br>measured ${short(each.measured)} ms<br>predicted ${short(each.predicted)} ms [${short(each.low)}, ${short(each.high)}]`),
      marker: { size: 7, color: studies.length > 1 ? STUDY_COLOURS[number % STUDY_COLOURS.length] : css("--accent") },
      error_y: { type: "data", symmetric: false, thickness: 1, width: 0, color: css("--dim"), array: own.map((each) => (each.high ?? each.predicted) - each.predicted), arrayminus: own.map((each) => each.predicted - (each.low ?? each.predicted)) },
    };
  });
  const diagonal = { type: "scatter", mode: "lines", x: [low, high], y: [low, high], hoverinfo: "skip", showlegend: false, line: { color: css("--dim"), width: 1, dash: "dot" } };
  Plotly.react(plot, [diagonal, ...traces], base({ showlegend: studies.length > 1, xaxis: logAxis("measured, ms", low, high), yaxis: logAxis("predicted, ms (bar: 90 % interval)", low, high) }), CONFIG);
}

const bars = () => studies[current].ranking.audits.flatMap((audit) => audit.bars.map((bar) => ({ ...bar, rung: audit.rung })));
function drawRungs() {
  const found = bars();
  const plot = byId("rung-plot");
  plot.hidden = !found.length;
  if (!found.length) return;
  plot.style.height = `${110 + 30 * found.length + 14 * studies[current].ranking.audits.length}px`;
  const colours = { rung: css("--accent"), baseline: css("--warm"), ceiling: css("--good") };
  const folded = (text) => (narrow() ? text.replace(/ with /, "<br>with ") : text);
  const rows = found.map((bar) => `${folded(bar.label)}${"\u200b".repeat(1 + studies[current].ranking.audits.findIndex((audit) => audit.rung === bar.rung))}`);
  const firsts = found.map((bar, at) => at === 0 || bar.rung !== found[at - 1].rung);
  Plotly.react(plot, [{
    type: "scatter", mode: "markers", x: found.map(({ tau }) => tau), y: rows, hoverinfo: "text",
    hovertext: found.map((bar) => `${escaped(bar.rung)}: ${escaped(bar.label)}<br>tau ${bar.tau.toFixed(2)} [${bar.low.toFixed(2)}, ${bar.high.toFixed(2)}], ${bar.pairs} pairs`),
    marker: { size: 9, color: found.map(({ kind }) => colours[kind]), symbol: found.map(({ kind }) => ({ rung: "circle", baseline: "square", ceiling: "diamond" })[kind]) },
    error_x: { type: "data", symmetric: false, thickness: 1, width: 3, color: css("--dim"), array: found.map(({ tau, high }) => high - tau), arrayminus: found.map(({ tau, low }) => tau - low) },
  }], base({
    margin: { l: 10, r: 14, t: 30, b: 44 }, showlegend: false, xaxis: axis(narrow() ? "tau, 90 %" : "Kendall's tau, 90 % interval", { range: [-1.05, 1.05] }),
    yaxis: axis("", { autorange: "reversed", automargin: true, type: "category", tickfont: { size: 11 } }),
    annotations: found.flatMap((bar, at) => (firsts[at] ? [{ xref: "paper", x: 0.01, y: at, yref: "y", yshift: 15, xanchor: "left", text: escaped(bar.rung), showarrow: false, font: { size: 11, color: css("--dim") } }] : [])),
  }), CONFIG);
}

function drawGrowth() {
  const grown = studies.map((study, number) => ({ ...study, number })).filter(({ growth }) => growth);
  const plot = byId("growth-plot");
  plot.hidden = !grown.length;
  if (!grown.length) return;
  const last = Math.max(...grown.map(({ growth }) => growth.hours[growth.hours.length - 1]));
  const [unit, scale] = last < 2 ? ["minutes", 60] : ["hours", 1];
  const colour = (number) => (studies.length > 1 ? STUDY_COLOURS[number % STUDY_COLOURS.length] : css("--accent"));
  const traces = grown.flatMap(({ growth, name, number }) => [
    { type: "scatter", mode: "lines", name: studies.length > 1 ? name : "all designs", x: growth.hours.map((each) => each * scale), y: growth.share.map((each) => 100 * each), line: { shape: "hv", color: colour(number), width: 2 }, hovertemplate: `%{y:.1f} % after %{x:.1f} ${unit}<extra></extra>` },
    ...(growth.published > 0 ? [{ type: "scatter", mode: "lines", name: "published alone", showlegend: studies.length === 1, x: [0, last * scale], y: [100 * growth.published, 100 * growth.published], line: { dash: "dash", width: 1.2, color: studies.length > 1 ? colour(number) : css("--warm") }, hovertemplate: "%{y:.1f} %: published networks alone<extra></extra>" }] : []),
  ]);
  Plotly.react(plot, traces, base({ xaxis: axis(`${unit} since the first trial`, { rangemode: "tozero" }), yaxis: axis("dominated, %") }), CONFIG);
}
