/* Looks at report pages in a browser as users do: pictures of them, and what axe-core finds fault with.

     npm install --no-save --prefix build/look puppeteer-core axe-core
     nasbench report results/default -o build/look/one.html
     nasbench report results/default results/search/first -o build/look/two.html
     node docs/look.mjs build/look/one.html build/look/two.html build/look [chromium]

   Leaves report.png (desktop), report-phone.png, report-dark.png, report-filtered.png and report-two.png in the third
   folder. Ends with 1 where a page writes to the console, is wider than its window, or has a fault that axe-core calls
   serious or critical. `python docs/shrink.py build/look/*.png` makes the pictures small enough for docs/. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const installed = createRequire(resolve("build/look/package.json"));
const puppeteer = installed("puppeteer-core");
const AXE = readFileSync(installed.resolve("axe-core/axe.min.js"), "utf8");
const [one, two, out, browserPath = "/usr/bin/chromium"] = process.argv.slice(2);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// name, page, width, height, whether in the dark, what a reader does there
const VIEWS = [
  ["report", one, 1280, 1350, false, "setLimit(8)"],
  ["report-phone", one, 390, 1250, false, "setLimit(8)"],
  ["report-dark", one, 1280, 900, true, "byId('front').scrollIntoView()"],
  ["report-filtered", one, 1280, 900, false, "byId('most-ms').value = 10; document.querySelector('#by-level input').click(); byId('front').scrollIntoView()"],
  ["report-two", two, 1280, 1000, false, "byId('front').scrollIntoView()"],
];
const faults = [];

const browser = await puppeteer.launch({ executablePath: browserPath, args: ["--no-sandbox", "--disable-gpu"] });
for (const [name, file, width, height, dark, action] of VIEWS) {
  const page = await browser.newPage();
  page.on("console", (message) => faults.push(`${name}: console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`${name}: ${error.message}`));
  await page.setViewport({ width, height, isMobile: width < 500, deviceScaleFactor: width < 500 ? 2 : 1 });
  await page.emulateMediaFeatures([
    { name: "prefers-color-scheme", value: dark ? "dark" : "light" }, { name: "prefers-reduced-motion", value: "reduce" },
  ]);
  await page.goto(pathToFileURL(resolve(file)).href);
  await pause(1500);
  await page.evaluate(`{ ${action} }`);
  await pause(1000);
  await page.screenshot({ path: `${out}/${name}.png` });
  await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true");
  await pause(500);
  const wide = await page.evaluate("document.documentElement.scrollWidth");
  if (wide > width) faults.push(`${name}: ${wide} pixels wide in a window of ${width}`);
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate("axe.run()");
  for (const { impact, id, nodes } of violations) {
    console.log(`${name}: ${impact}: ${id}, ${nodes.length} times, first ${nodes[0].html.slice(0, 120)}`);
    if (impact === "serious" || impact === "critical") faults.push(`${name}: ${id}`);
  }
  console.log(`${name}: ${passes.length} rules of axe-core hold, ${violations.length} do not`);
  await page.close();
}
await browser.close();
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
