// A static server on 127.0.0.1 for browser tests that counts what it sends. No special headers, as a plain host has none.
import { createServer } from "node:http";
import { createReadStream, statSync } from "node:fs";
import { extname, join, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".css": "text/css", ".png": "image/png", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };

/**
 * `routes` maps a path prefix to a folder, a file, or a Buffer or string. Gives { url, sent, close }:
 * sent is a Map from request path to bytes sent.
 */
export async function serve(routes) {
  const sent = new Map();
  const server = createServer((request, reply) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://host").pathname));
    const prefix = Object.keys(routes).filter((p) => path === p || (p.endsWith("/") && path.startsWith(p))).sort((a, b) => b.length - a.length)[0];
    const target = prefix === undefined ? undefined : routes[prefix];
    const isFile = typeof target === "string" && target.startsWith("/");
    const file = isFile ? (prefix === path ? target : join(target, path.slice(prefix.length))) : undefined;
    const stat = file && statSync(file, { throwIfNoEntry: false });
    if (target === undefined || (isFile && !stat?.isFile())) return reply.writeHead(404).end();
    const length = file ? stat.size : Buffer.byteLength(target);
    sent.set(path, (sent.get(path) ?? 0) + length);
    reply.writeHead(200, { "content-type": TYPES[extname(file ?? path)] ?? (file ? "application/octet-stream" : "text/html"), "content-length": length });
    if (file) createReadStream(file).pipe(reply);
    else reply.end(target);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, sent, close: () => server.close() };
}
