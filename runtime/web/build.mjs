// Builds dist/: one minified ES module and its declarations, and fails when the module passes its budget.
// esbuild and typescript are found beside this file (after `npm install`), in $NODE_PATH, or where tests/gpu/install.sh puts them.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const BUDGET = 30 * 1024; // gzip

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const out = join(here, "dist");
const tools = process.env.ODC_GPU_TOOLS ?? join(here, "..", "..", "target", "gpu-tools");
function find(file) {
  try {
    return require.resolve(file, { paths: [here, tools] });
  } catch {
    console.error(`build.mjs: ${file} is not installed: run npm install in ${here}`);
    process.exit(1);
  }
}
const tsc = join(dirname(find("typescript/package.json")), "bin", "tsc");
const esbuild = require(find("esbuild"));

rmSync(out, { recursive: true, force: true });
execFileSync(process.execPath, [tsc, "--project", here, "--emitDeclarationOnly"], { stdio: "inherit" });
await esbuild.build({
  entryPoints: [join(here, "src", "index.ts")],
  outfile: join(out, "index.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
  legalComments: "none",
});

const code = readFileSync(join(out, "index.js"));
const gzip = gzipSync(code, { level: 9 }).length;
console.log(`dist/index.js: ${code.length} bytes, ${gzip} gzip, ${brotliCompressSync(code).length} brotli (budget ${BUDGET} gzip)`);
if (gzip > BUDGET) {
  console.error(`dist/index.js is ${gzip - BUDGET} bytes over its budget: take something out`);
  process.exit(1);
}
