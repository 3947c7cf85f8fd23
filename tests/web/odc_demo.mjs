// The demo page in headless Chromium, from a plain static server: classifies both samples, a file that the user chooses and one that
// is dropped, and draws a terrain.
//
//     node tests/web/odc_demo.mjs [--site runtime/web/demo/out] [--shots DIR]      after runtime/web/demo/build.sh
//
// --shots writes screenshots (page.png, dark.png, phone.png). Ends with "N passed, N failed".
import { readFileSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { chromium } from "../gpu/tools.mjs";
import { serve } from "./serve.mjs";

const { values: options } = parseArgs({ options: { site: { type: "string" }, shots: { type: "string" } } });
const site = resolve(options.site ?? fileURLToPath(new URL("../../runtime/web/demo/out", import.meta.url)));
const server = await serve({ "/": readFileSync(join(site, "index.html"), "utf8"), "/site/": site });
const browser = await chromium();
let passed = 0;
let failed = 0;
async function test(name, body) {
  try {
    await body();
    passed++;
  } catch (e) {
    failed++;
    console.log(`FAILED  ${name}\n        ${e.message.replaceAll("\n", "\n        ")}`);
  }
}

try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 1000 } });
  const complaints = [];
  page.on("pageerror", (e) => complaints.push(e.message));
  page.on("console", (m) => { if (m.type() === "error") complaints.push(m.text()); });
  await page.goto(`${server.url}/site/index.html`);
  const first = () => page.locator(".classes li").first().textContent();
  const runs = (id, n) => page.waitForSelector(`#${id}[data-runs="${n}"]`, { timeout: 300_000 });
  const file = (name) => readFileSync(join(site, name));
  const is = async (wanted) => { const text = await first(); if (!text.startsWith(wanted)) throw new Error(`"${text}" does not begin with "${wanted}"`); };

  await test("classifies the samples", async () => {
    await page.waitForSelector("#classify[data-state=ready]", { timeout: 60_000 });
    await page.getByRole("button", { name: "upright" }).click();
    await runs("classify", 1);
    await is("upright");
    await page.getByRole("button", { name: "turned" }).click();
    await runs("classify", 2);
    await is("turned");
  });
  await test("classifies a file that is chosen and one that is dropped", async () => {
    await page.setInputFiles(".drop input", { name: "line.png", mimeType: "image/png", buffer: file("upright.png") });
    await runs("classify", 3);
    await is("upright");
    const transfer = await page.evaluateHandle((bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(bytes)], "line.png", { type: "image/png" }));
      return data;
    }, [...file("turned.png")]);
    await page.dispatchEvent(".drop", "drop", { dataTransfer: transfer });
    await runs("classify", 4);
    await is("turned");
  });
  await test("draws a terrain", async () => {
    await runs("terrain", 1);
    const colours = await page.evaluate(() => {
      const canvas = document.querySelector(".relief");
      return new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, 512, 512).data.buffer)).size;
    });
    if (colours < 1000) throw new Error(`only ${colours} colours`);
  });
  await test("complains of nothing", async () => { if (complaints.length > 0) throw new Error(complaints.join("\n")); });
  if (options.shots) {
    mkdirSync(options.shots, { recursive: true });
    const shot = (name) => page.screenshot({ path: join(options.shots, name), fullPage: true });
    await shot("page.png");
    await page.emulateMedia({ colorScheme: "dark" });
    await shot("dark.png");
    await page.setViewportSize({ width: 400, height: 900 });
    await shot("phone.png");
  }
} finally {
  await browser.close();
  server.close();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
