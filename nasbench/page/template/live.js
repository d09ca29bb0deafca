"use strict";
/* Of a page that is served while the search runs: how it stands, and the page anew when there is more to see. */

const ASK_EVERY_MS = 2000;

async function follow() {
  try {
    const told = await (await fetch("state")).json();
    const lines = told.lines.map((line) => Object.assign(document.createElement("li"), { textContent: line }));
    byId("live-lines").replaceChildren(...lines);
    if (told.version !== byId("live").dataset.version) location.reload();
  } catch {
    byId("live-lines").textContent = "The search is no longer watched; this page stays as it is.";
    clearInterval(following);
  }
}
const following = setInterval(follow, ASK_EVERY_MS);
follow();
