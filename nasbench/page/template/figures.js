"use strict";
/* What the page shows: its figures, read from #content, and how they are written. The three scripts share one scope. */

const content = JSON.parse(document.getElementById("content").textContent);
const studies = content.studies;
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "star", "hexagon"]; // by level, lowest first
const STUDY_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]; // Okabe and Ito
const BARS_UP_TO = 150; // points with an interval of latency; more would hide one another
const narrow = () => window.innerWidth < 700;
const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let current = 0; // the study that the answer and the text are about

// --- figures as text
const percent = (share, digits = 1) => (100 * share).toFixed(digits);
const short = (value) => (value === null || value === undefined ? "–" : value >= 100 ? value.toFixed(0) : value.toPrecision(3));
const millions = (value) => {
  const digits = value < 1e5 ? 3 : value < 1e8 ? 1 : 0;
  return (value / 1e6).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};
const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const latencyOf = (design) => design.measured ?? design.predicted;
const spread = (std) => (std === null ? "" : ` ± ${percent(std)}`);

/** One record for each design at each level, of all studies. */
const points = studies.flatMap((study, number) =>
  study.points.map(([place, level, mean, std, seeds]) => {
    const design = study.designs[place];
    return { study: number, design, level, mean, std, seeds, ms: latencyOf(design), text: "" };
  })
).filter((point) => point.ms !== null && point.ms !== undefined);
