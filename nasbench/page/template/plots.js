"use strict";
/* The plots: what they share, and all but the front. */

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
  toImageButtonOptions: { format: "svg", filename: "nasbench", width: null, height: null }, // as large as shown: crowds are laid out for that
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
    yaxis: axis("", { range: [found.length - 0.5, -1], automargin: true, type: "category", tickfont: { size: 11 } }),
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
