// Prints what every software WebGPU here offers: Dawn on null and on Vulkan, Chromium on SwiftShader.
import { createServer } from "node:http";
import { chromium, dawn, fullDevice } from "./tools.mjs";

const interesting = [
  "maxStorageBuffersPerShaderStage", "maxStorageBufferBindingSize", "maxBufferSize", "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupStorageSize", "minStorageBufferOffsetAlignment",
];
const describe = ({ info, features, limits }) => ({
  adapter: `${info.vendor} ${info.architecture} ${info.device} ${info.description}`.trim(),
  subgroup: [info.subgroupMinSize, info.subgroupMaxSize],
  features: [...features].filter((f) => !/^texture|^bgra|^depth|^float32|^clip|^dual|^rg11|^indirect|^core/.test(f)),
  limits: Object.fromEntries(interesting.map((n) => [n, limits[n]])),
});

for (const backend of ["null", "vulkan"]) {
  const adapter = await dawn(backend);
  const device = await fullDevice(adapter);
  console.log(`Dawn in Node, ${backend}:`, JSON.stringify(describe(adapter), null, 1), `device ok: ${[...device.features].length} features`);
  device.destroy();
}

const server = createServer((_, reply) => reply.setHeader("content-type", "text/html").end("<p>")).listen(0, "127.0.0.1");
const browser = await chromium();
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const found = await page.evaluate(`(async () => {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return null;
    const { info, features, limits } = adapter;
    const interesting = ${JSON.stringify(interesting)};
    return (${describe})({ info, features, limits });
  })()`);
  console.log("Chromium:", JSON.stringify(found, null, 1));
  if (!found) process.exitCode = 1;
} finally {
  await browser.close();
  server.close();
}
process.exit();
