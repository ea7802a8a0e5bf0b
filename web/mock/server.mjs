// A stand-in for tilescout with the same HTTP answers over a painted scene, to work on the page alone.
//
//   node mock/server.mjs [--port 8090] [--embedded 1] [--dist dist] [--proxy http://localhost:8080]
//
// With --proxy only the page is ours: everything else is asked of that server, so that a new page meets real answers.
// --embedded 0.12 starts with that share of the tiles looked at; more come as the overlay or "Fill" asks for them.
import { createServer, request } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { png } from "./png.mjs";
import { ORIGIN, SIZE, THINGS, ZOOM, color, score } from "./scene.mjs";

const { values: flags } = parseArgs({ options: { port: { type: "string", default: "8090" }, embedded: { type: "string", default: "1" }, dist: { type: "string", default: fileURLToPath(new URL("../dist", import.meta.url)) }, proxy: { type: "string" } } });
const CONCEPTS = [...Object.keys(THINGS), "forest", "bridge", "beach", "river", "farmland", "dense houses", "sports field", "railway station", "school", "park"];
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8" };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";
const STOPS = [[255, 214, 102, 0], [255, 182, 66, 0.14], [253, 150, 59, 0.28], [248, 119, 70, 0.4], [237, 88, 85, 0.48], [220, 58, 101, 0.54], [197, 32, 118, 0.58], [166, 10, 123, 0.62], [132, 0, 120, 0.66]];

const lon = (x) => (x / 2 ** ZOOM) * 360 - 180;
const lat = (y) => (Math.atan(Math.sinh(Math.PI * (1 - (2 * y) / 2 ** ZOOM))) * 180) / Math.PI;
const column = (l) => ((l + 180) / 360) * 2 ** ZOOM;
const row = (l) => ((1 - Math.asinh(Math.tan((l * Math.PI) / 180)) / Math.PI) / 2) * 2 ** ZOOM;
const bounds = [lon(ORIGIN.x), lat(ORIGIN.y + SIZE.y), lon(ORIGIN.x + SIZE.x), lat(ORIGIN.y)];
const total = SIZE.x * SIZE.y;

const embedded = new Set();
for (let i = 0; i < total; i++) {
  // In patches, as people look: every tile has its turn by a slowly varying number.
  const [x, y] = [i % SIZE.x, Math.floor(i / SIZE.x)];
  if ((Math.sin(x * 0.5 + 1) * Math.cos(y * 0.6 + x * 0.2) + 1) / 2 < Number(flags.embedded) || Number(flags.embedded) >= 1) {
    embedded.add(`${ORIGIN.x + x}/${ORIGIN.y + y}`);
  }
}
let filling = 0;

function* tiles(bbox = bounds) {
  const clamp = (v, n) => Math.min(n, Math.max(0, v));
  const x0 = clamp(Math.floor(column(bbox[0]) + 1e-6) - ORIGIN.x, SIZE.x), x1 = clamp(Math.ceil(column(bbox[2]) - 1e-6) - ORIGIN.x, SIZE.x);
  const y0 = clamp(Math.floor(row(bbox[3]) + 1e-6) - ORIGIN.y, SIZE.y), y1 = clamp(Math.ceil(row(bbox[1]) - 1e-6) - ORIGIN.y, SIZE.y);
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      yield [ORIGIN.x + x, ORIGIN.y + y];
    }
  }
}

const here = ([x, y]) => embedded.has(`${x}/${y}`);
const answer = (q, not, x, y) => Math.max(0, Math.max(...q.map((p) => score(p.toLowerCase(), x, y))) - Math.max(0, ...not.map((p) => score(p.toLowerCase(), x, y))));
const rev = () => `r${embedded.size}`;

function imagery(z, x, y) {
  const scale = 2 ** (ZOOM - z) / 256;
  const data = new Uint8ClampedArray(256 * 256 * 4);
  let any = false;
  for (let j = 0, at = 0; j < 256; j++) {
    for (let i = 0; i < 256; i++, at += 4) {
      const [u, v] = [(x * 256 + i + 0.5) * scale - ORIGIN.x, (y * 256 + j + 0.5) * scale - ORIGIN.y];
      if (u >= 0 && v >= 0 && u < SIZE.x && v < SIZE.y) {
        data.set(color(u, v), at);
        data[at + 3] = 255;
        any = true;
      }
    }
  }
  return any ? png(256, 256, data) : null;
}

function overlay(z, x, y, params) {
  const q = params.getAll("q"), not = params.getAll("not"), style = params.get("style") ?? "heat", threshold = Number(params.get("threshold") ?? 0.5);
  const scale = 2 ** (ZOOM - z) / 256;
  const data = new Uint8ClampedArray(256 * 256 * 4);
  const known = new Map();
  const at = (tx, ty) => {
    const key = `${tx}/${ty}`;
    if (!known.has(key)) {
      known.set(key, tx < ORIGIN.x || ty < ORIGIN.y || tx >= ORIGIN.x + SIZE.x || ty >= ORIGIN.y + SIZE.y ? 0 : embedded.has(key) ? answer(q, not, tx, ty) : 0);
    }
    return known.get(key);
  };
  for (let j = 0, o = 0; j < 256; j++) {
    for (let i = 0; i < 256; i++, o += 4) {
      const [u, v] = [(x * 256 + i + 0.5) * scale, (y * 256 + j + 0.5) * scale];
      let s;
      if (style === "heat") {
        const [fx, fy] = [u - 0.5, v - 0.5];
        const [ix, iy] = [Math.floor(fx), Math.floor(fy)];
        const [a, b] = [fx - ix, fy - iy].map((t) => t * t * (3 - 2 * t));
        s = (at(ix, iy) * (1 - a) + at(ix + 1, iy) * a) * (1 - b) + (at(ix, iy + 1) * (1 - a) + at(ix + 1, iy + 1) * a) * b;
        s *= Math.min(1, Math.max(0, (s - threshold + 0.08) / 0.08));
      } else {
        s = at(Math.floor(u), Math.floor(v));
        const edge = Math.min(u % 1, 1 - (u % 1), v % 1, 1 - (v % 1)) / scale;
        s = s < threshold || (style === "outline" ? edge > 2.5 : edge < 1) ? 0 : s;
      }
      const k = Math.min(7, Math.floor(s * 8)), t = s * 8 - k;
      for (let c = 0; c < 4; c++) {
        data[o + c] = (STOPS[k][c] + (STOPS[k + 1][c] - STOPS[k][c]) * t) * (c === 3 ? 255 : 1);
      }
      if (style === "outline" && s > 0) {
        data[o + 3] = 255;
      }
    }
  }
  const beneath = [...tiles([lon(x * 2 ** (ZOOM - z)), lat((y + 1) * 2 ** (ZOOM - z)), lon((x + 1) * 2 ** (ZOOM - z)), lat(y * 2 ** (ZOOM - z))])].filter((t) => !here(t));
  for (const [tx, ty] of beneath.slice(0, 3)) {
    setTimeout(() => embedded.add(`${tx}/${ty}`), 400 + 300 * Math.random());
  }
  return { body: png(256, 256, data), pending: beneath.length };
}

function features(list, limit) {
  return list.sort((a, b) => b.s - a.s).slice(0, limit).map(({ x, y, s }, i) => ({
    type: "Feature",
    id: `${ZOOM}/${x}/${y}`,
    geometry: { type: "Polygon", coordinates: [[[lon(x), lat(y + 1)], [lon(x + 1), lat(y + 1)], [lon(x + 1), lat(y)], [lon(x), lat(y)], [lon(x), lat(y + 1)]]] },
    properties: { score: s, rank: i + 1, similarity: s * 0.3, tile: `${ZOOM}/${x}/${y}`, thumbnail: `/tiles/town/${ZOOM}/${x}/${y}.png`, imagery: `/tiles/town/${ZOOM}/${x}/${y}.png`, center: [lon(x + 0.5), lat(y + 0.5)] },
  }));
}

const words = new Set(CONCEPTS.flatMap((c) => c.split(" ")).concat("a the of by with in near red blue large small giraffe submarine".split(" ")));

function search(params, q) {
  const not = params.getAll("not"), bbox = params.get("bbox")?.split(",").map(Number);
  const unknown = q.flatMap((p) => (p.startsWith("tile:") ? [] : p.split(/\W+/).filter((w) => w && !words.has(w.toLowerCase()))));
  const seen = [...tiles(bbox)].filter(here);
  const list = seen.map(([x, y]) => ({ x, y, s: answer(q, not, x, y) })).filter(({ s }) => s >= Number(params.get("threshold") ?? 0.5));
  const max = Math.max(0, ...list.map((t) => t.s));
  return {
    type: "FeatureCollection", features: features(list, Number(params.get("limit") ?? 100)),
    verdict: max >= 0.6 ? "match" : max >= 0.35 ? "weak" : "none", max, model: "mock", rev: rev(), embedded: seen.length, total: [...tiles(bbox)].length,
    unknown, query: { q, not }, related: max < 0.6 ? ["park", "forest", "sports field"] : [], overlay: `/overlay/town/{z}/{x}/{y}.png`,
  };
}

function index(bbox) {
  const view = [...tiles(bbox)];
  return { state: filling > 0 ? "building" : embedded.size === 0 ? "empty" : "ready", zooms: [17], embedded: embedded.size, total, rate: filling > 0 ? 60 : 0, bytes: embedded.size * 512, model: "mock", view: { embedded: view.filter(here).length, total: view.length } };
}

function problem(res, status, title, detail) {
  res.writeHead(status, { "Content-Type": "application/problem+json" });
  res.end(JSON.stringify({ title, status, detail }));
}

const cached = new Map();

const server = createServer(async (req, res) => {
  const url = new URL(req.url ?? "/", "http://mock");
  const params = url.searchParams;
  const json = (value, status = 200) => {
    res.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" });
    res.end(JSON.stringify(value));
  };
  const picture = (body, headers = {}) => {
    res.writeHead(200, { "Content-Type": "image/png", "Cache-Control": "max-age=60", ...headers });
    res.end(body);
  };
  const bbox = params.get("bbox")?.split(",").map(Number);
  if (flags.proxy && !/^\/(?:$|index\.html$|icon\.svg$|assets\/)/.test(url.pathname)) {
    const onward = request(new URL(req.url ?? "/", flags.proxy), { method: req.method, headers: { ...req.headers, host: new URL(flags.proxy).host } }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    onward.on("error", () => res.destroy());
    req.pipe(onward);
    return;
  }
  let m;
  if (url.pathname === "/layers") {
    const layer = (id, title, attribution) => ({ id, title, attribution, bounds, minzoom: 10, maxzoom: 19, tiles: `/tiles/${id}/{z}/{x}/{y}.png?rev=1`, tileSize: 256, rev: "1", index: index(), links: {} });
    return json({ layers: [layer("town", "Town by the sea", 'Painted by <a href="https://example.org/">Tilescout</a>'), layer("town2", "Town by the sea, again", "Painted by Tilescout <img src=x onerror=alert(1)>")] });
  }
  if ((m = /^\/tiles\/\w+\/(\d+)\/(\d+)\/(\d+)\.png$/.exec(url.pathname))) {
    const key = m.slice(1, 4).join("/");
    if (!cached.has(key)) {
      cached.set(key, imagery(+m[1], +m[2], +m[3]));
    }
    const body = cached.get(key);
    return body ? picture(body) : problem(res, 404, "Not found", "nothing is there");
  }
  if ((m = /^\/overlay\/\w+\/(\d+)\/(\d+)\/(\d+)\.png$/.exec(url.pathname))) {
    const { body, pending } = overlay(+m[1], +m[2], +m[3], params);
    return picture(body, pending ? { "Tilescout-Pending": String(pending), "Cache-Control": "no-store" } : {});
  }
  if ((m = /^\/search\/\w+\/tile\/(\d+)\/(\d+)\/(\d+)$/.exec(url.pathname))) {
    const [x, y] = [+m[2], +m[3]];
    const all = CONCEPTS.map((label) => ({ label, probability: Math.exp(9 * score(label, x, y)) }));
    const sum = all.reduce((a, b) => a + b.probability, 0);
    const top = all.map((l) => ({ ...l, probability: l.probability / sum })).sort((a, b) => b.probability - a.probability).slice(0, 5);
    const q = params.getAll("q");
    return json({ tile: m.slice(1, 4).join("/"), embedded: true, top, ...(q.length ? { score: answer(q, params.getAll("not"), x, y), similarity: 0.2 } : {}) });
  }
  if (/^\/search\/\w+$/.test(url.pathname)) {
    const q = params.getAll("q").filter(Boolean);
    return q.length === 0 ? problem(res, 400, "Bad input", "q is missing: say what to look for") : json(search(params, q));
  }
  if (/^\/similar\/\w+$/.test(url.pathname)) {
    const [x, y] = THINGS.stadium[0];
    const like = req.method === "POST" ? `${ZOOM}/${ORIGIN.x + Math.floor(x)}/${ORIGIN.y + Math.floor(y)}` : params.get("tile");
    if (req.method === "POST" && !/^image\/(?:jpeg|png|webp)$/.test(req.headers["content-type"] ?? "")) {
      return problem(res, 415, "Unsupported", "send a PNG, JPEG or WebP picture");
    }
    return json(search(params, [`tile:${like}`]));
  }
  if (/^\/index\/\w+$/.test(url.pathname)) {
    if (req.method === "POST") {
      const missing = [...tiles(bbox)].filter((t) => !here(t));
      filling = missing.length;
      const timer = setInterval(() => {
        for (const [x, y] of missing.splice(0, 12)) {
          embedded.add(`${x}/${y}`);
        }
        filling = missing.length;
        if (filling === 0) {
          clearInterval(timer);
        }
      }, 200);
      return json(index(bbox), 202);
    }
    return json(index(bbox));
  }
  if (url.pathname === "/suggest") {
    const text = (params.get("q") ?? "").toLowerCase();
    const list = text ? CONCEPTS.filter((c) => c.split(" ").some((w) => w.startsWith(text)) || c.startsWith(text)) : CONCEPTS.slice(0, 8);
    return json({ suggestions: list.map((phrase) => ({ phrase, kind: "concept", known: true })) });
  }
  if (url.pathname === "/model") {
    return json({ id: "mock", title: "Mock, no model at all", digest: "0", dimension: 8, inputSize: 256, concepts: CONCEPTS, words: words.size });
  }
  if (url.pathname === "/healthz") {
    return json({});
  }
  if (url.pathname === "/wmts" || url.pathname.startsWith("/qgis/")) {
    return problem(res, 501, "Not here", "the mock does not speak this");
  }
  const path = normalize(url.pathname === "/" ? "/index.html" : url.pathname);
  try {
    const body = await readFile(join(flags.dist, path));
    res.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream", "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff" });
    res.end(body);
  } catch {
    problem(res, 404, "Not found", `nothing is at ${url.pathname}`);
  }
});
server.listen(Number(flags.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
