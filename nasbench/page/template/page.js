"use strict";
/* The answer, the tables behind the plots, copying; at the end all is put together. */

// --- the answer
function bandFor(limit) {
  const bands = studies[current].bands;
  return [...bands].reverse().find((band) => band.from_ms <= limit);
}

const VERDICTS = {
  sure: "more accurate than what is faster", "within noise": "no more than seed noise over what is faster",
  unknown: "one seed each: noise unknown", alone: "the fastest of the front",
};

function answer() {
  const asked = byId("limit").value;
  const band = bandFor(asked === "" ? Infinity : Number(asked));
  const place = byId("choice");
  byId("get").replaceChildren();
  for (const row of document.querySelectorAll(".bands tbody tr")) row.classList.remove("chosen");
  if (!band) {
    const fastest = studies[current].bands[0];
    place.innerHTML = fastest
      ? `<p>No design of the front is that fast; the fastest takes ${short(fastest.from_ms)} ms.</p>`
      : "<p>No design has a score at the highest level and a latency yet.</p>";
    return;
  }
  const words = studies[current].words;
  const until = band.until_ms === null ? "and more" : `up to ${short(band.until_ms)} ms`;
  const interval = band.latency_kind === "predicted" ? `, 90 % interval ${short(band.latency_low)} to ${short(band.latency_high)}` : "";
  place.innerHTML = `
    <h2>${escaped(band.name)}</h2>
    <p class="note">${escaped(band.stages)}<br>${millions(band.macs)} M MACs, ${millions(band.params)} M params${band.stages.includes("*") ? "; * attends" : ""}</p>
    <p>${percent(band.accuracy)}${spread(band.std)} % ${escaped(words.noun)} (${band.seeds} seed${band.seeds > 1 ? "s" : ""}, ${escaped(band.split)} images),
    ${short(band.from_ms)} ms ${band.latency_kind}${interval}. The answer from ${short(band.from_ms)} ms ${until}.</p>
    <h3>How sure is that?</h3>
    <p><span class="verdict ${band.verdict.replace(" ", "-")}">${VERDICTS[band.verdict]}</span>
    ${band.enough ? `As good by all that can be told, and faster: <button type="button" class="link" data-limit="${band.enough.ms}">${escaped(band.enough.name)}, ${short(band.enough.ms)} ms</button>` : ""}</p>
    <ul>${band.reasons.map((reason) => `<li>${escaped(reason)}</li>`).join("")}</ul>`;
  const card = byId(`design-${current}-${band.design}`);
  const take = card && card.querySelector(".take");
  if (take) {
    byId("get").innerHTML = `<h2>How to get ${escaped(band.name)}</h2>`;
    byId("get").append(take.cloneNode(true));
    byId("get").insertAdjacentHTML("beforeend", `<p><a href="#${card.id}">Its drawing and its cost by stage</a></p>`);
  }
  const rows = document.querySelectorAll(`.part[data-study="${current}"] .bands tbody tr`);
  rows[studies[current].bands.indexOf(band)].classList.add("chosen");
}

/** The range moves on a logarithmic scale from the fastest design of the front to the slowest. */
function ends() {
  const bands = studies[current].bands;
  return bands.length ? [bands[0].from_ms, bands[bands.length - 1].from_ms * 1.1] : [1, 10];
}
function toRange(limit) {
  const [low, high] = ends();
  byId("limit-range").value = (1000 * Math.log(Math.max(limit, low) / low)) / Math.log(high / low);
}
function setLimit(limit) {
  byId("limit").value = Math.ceil(limit * 100) / 100; // up, so that the design itself is within
  toRange(limit);
  answer();
}
function firstLimit() {
  const [low, high] = ends();
  const target = Math.sqrt(low * high);
  const even = Math.ceil(target);
  setLimit(even > low && even < high ? even : target);
}

// --- the table behind each plot
const TABLES = {
  front: () => [["design", "family", "level", "score, %", "std", "seeds", "ms", "ms are", "M MACs", "M params", "stages"], filtered().map(({ study, design, level, mean, std, seeds, ms }) => [
    design.name + (studies.length > 1 ? ` (${studies[study].name})` : ""), design.family, studies[study].levels[level].label, percent(mean, 2), std === null ? "" : percent(std, 2), seeds,
    short(ms), design.measured !== null ? "measured" : `predicted, ${short(design.low)} to ${short(design.high)}`, millions(design.macs), millions(design.params), design.stages])],
  latency: () => [["design", "measured ms", "predicted ms", "90 % interval", "off by"], bothLatencies().map(({ design }) => [design.name, short(design.measured), short(design.predicted), `${short(design.low)} to ${short(design.high)}`, `${percent(design.predicted / design.measured - 1)} %`])],
  rungs: () => [["rung", "what agrees", "tau", "90 % interval", "pairs"], bars().map((bar) => [bar.rung, bar.label, bar.tau.toFixed(2), `${bar.low.toFixed(2)} to ${bar.high.toFixed(2)}`, bar.pairs])],
  growth: () => [["study", "minutes", "dominated, %"], studies.flatMap((study) => (study.growth ? study.growth.hours.map((each, at) => [study.name, (60 * each).toFixed(1), percent(study.growth.share[at])]) : []))],
};
function refreshTable(name) {
  const place = document.querySelector(`[data-table="${name}"]`);
  if (!place.open) return;
  const [head, rows] = TABLES[name]();
  const numeric = head.map((_, column) => rows.every((row) => /^[-+–\d.,]*( %)?$/.test(String(row[column]))));
  const cell = (tag, value, column) => `<${tag}${numeric[column] ? ' class="number"' : ""}${tag === "th" ? ' scope="col"' : ""}>${escaped(value)}</${tag}>`;
  place.querySelector(".scroll").innerHTML = `<table><thead><tr>${head.map((value, column) => cell("th", value, column)).join("")}</tr></thead><tbody>${rows.map((row) => `<tr>${row.map((value, column) => cell("td", value, column)).join("")}</tr>`).join("")}</tbody></table>`;
}

// --- copying
async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea"); // where the clipboard is kept from pages opened from disk
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}

// --- all together
function show(number) {
  current = number;
  for (const part of document.querySelectorAll(".part")) part.hidden = Number(part.dataset.study) !== number;
  firstLimit();
  drawAll();
}
function drawAll() {
  drawFront();
  drawLatency();
  drawRungs();
  drawGrowth();
  for (const name of Object.keys(TABLES)) refreshTable(name);
}
let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawFront(); });
}

addBoxes("by-study", studies.map((study, number) => [String(number), `${study.name}, ${study.device}`]));
addBoxes("by-level", distinct(studies.flatMap((study) => study.levels.map(({ label: text }) => text))).map((text) => [text, text]));
addBoxes("by-family", distinct(points.map(({ design }) => design.family)).sort().map((text) => [text, text]));
byId("filters").addEventListener("input", soon);
byId("filters").addEventListener("reset", () => setTimeout(soon));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("limit-form").addEventListener("submit", (event) => event.preventDefault());
byId("limit").addEventListener("input", () => { toRange(Number(byId("limit").value)); answer(); });
byId("limit-range").addEventListener("input", () => {
  const [low, high] = ends();
  byId("limit").value = short(low * (high / low) ** (Number(byId("limit-range").value) / 1000));
  answer();
});
byId("study")?.addEventListener("change", (event) => show(Number(event.target.value)));
document.addEventListener("click", (event) => {
  const button = event.target.closest(".copy");
  if (button) copy(button);
  const faster = event.target.closest("[data-limit]");
  if (faster) setLimit(Number(faster.dataset.limit));
});
for (const place of document.querySelectorAll("[data-table]")) place.addEventListener("toggle", () => refreshTable(place.dataset.table));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
show(0);
byId("front-plot").on("plotly_click", ({ points: [clicked] }) => {
  const { study, design } = clicked.customdata ?? {};
  const card = design && byId(`design-${study}-${design.id}`);
  if (!card) return;
  if (study !== current) { if (byId("study")) byId("study").value = study; show(study); }
  location.hash = card.id;
  card.querySelector("details").open = true;
});
byId("front-plot").on("plotly_relayout", (change) => { if (!("annotations" in change)) layOut(byId("front-plot"), null); });
