// The page that `odc viz` writes, in headless Chromium from a file: no complaint, no request, every dispatch drawn, the table sorts.
//
//     node tests/web/odc_viz.mjs REPORT.html [--shots DIR]
//
// --shots writes screenshots (viz-light.png, viz-dark.png). Ends with "N passed, N failed".
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "../gpu/tools.mjs";

const { values: options, positionals } = parseArgs({ options: { shots: { type: "string" } }, allowPositionals: true });
const url = pathToFileURL(resolve(positionals[0])).href;
const browser = await chromium();
let passed = 0, failed = 0;
function is(what, holds) {
  if (holds) passed++;
  else { failed++; console.log(`FAILED  ${what}`); }
}

try {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.newPage({ viewport: { width: 1440, height: 1000 }, colorScheme });
    const complaints = [], requests = [];
    page.on("pageerror", (e) => complaints.push(e.message));
    page.on("console", (m) => complaints.push(m.text()));
    page.on("request", (r) => { if (r.url() !== url) requests.push(r.url()); });
    await page.goto(url);
    const rows = await page.locator("#cost tbody tr").count();
    is(`${colorScheme}: rows`, rows > 0);
    is(`${colorScheme}: a box for each of ${rows} dispatches`, (await page.locator("#graph .box").count()) === rows);
    is(`${colorScheme}: bars of buffers`, (await page.locator("#memory .buffer").count()) > 0 && (await page.locator("#memory .peak").count()) === 1);
    // No two boxes lie on each other.
    const overlaps = await page.$$eval("#graph .box", (boxes) => {
      const at = boxes.map((b) => b.querySelector("rect").getBoundingClientRect());
      return at.some((a, k) => at.slice(k + 1).some((b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
    });
    is(`${colorScheme}: boxes are apart`, !overlaps);
    await page.getByRole("button", { name: "Arithmetic" }).click();
    const flops = await page.$$eval("#cost tbody tr", (trs) => {
      const data = JSON.parse(document.getElementById("data").textContent).dispatches;
      return trs.map((tr) => data[Number(tr.dataset.n)].flops);
    });
    is(`${colorScheme}: sorted, the most first`, flops.every((f, k) => k === 0 || f <= flops[k - 1]));
    await page.locator("#cost tbody tr").last().click();
    const last = await page.locator("#cost tbody tr").last().getAttribute("data-n");
    is(`${colorScheme}: the chosen one is told of`, (await page.locator("#detail h3").textContent()).startsWith(`${last} ·`));
    await page.getByRole("button", { name: "Show all" }).click();
    if (options.shots) {
      mkdirSync(options.shots, { recursive: true });
      await page.screenshot({ path: join(options.shots, `viz-${colorScheme}.png`), fullPage: true });
    }
    is(`${colorScheme}: no complaint: ${complaints.join("; ")}`, complaints.length === 0);
    is(`${colorScheme}: no request: ${requests.join(" ")}`, requests.length === 0);
    await page.close();
  }
} finally {
  await browser.close();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
