import { afterEach, describe, expect, it, vi } from "vitest";
import { Api, ApiError, isAbort } from "../src/api";
import type { Layer } from "../src/types";

const api = new Api("http://host/prefix/");

function answer(body: unknown, init: ResponseInit = {}): ReturnType<typeof vi.fn> {
  const stub = vi.fn(async () => new Response(typeof body === "string" ? body : JSON.stringify(body), init));
  vi.stubGlobal("fetch", stub);
  return stub;
}

afterEach(() => vi.unstubAllGlobals());

describe("addresses", () => {
  it("of a search: prompts repeat, bbox in degrees", async () => {
    const stub = answer({});
    await api.search("city", { q: ["car park", "a&b"], not: ["tile:17/1/2"] }, { bbox: [4.123456789, 52, 5, 53], limit: 200 });
    expect(stub.mock.calls[0]?.[0]).toBe("http://host/prefix/search/city?q=car%20park&q=a%26b&not=tile:17/1/2&threshold=0&bbox=4.123457,52,5,53&limit=200");
  });
  it("of more like a tile", async () => {
    const stub = answer({});
    await api.search("city", { q: ["tile:17/1/2"], not: ["forest"] });
    expect(stub.mock.calls[0]?.[0]).toBe("http://host/prefix/similar/city?tile=17/1/2&not=forest&threshold=0");
  });
  it("of an overlay take nothing but the query from a view", () => {
    const view = { q: ["stadium"], not: [], layer: "x", center: [1, 2] };
    expect(api.overlayUrl("city", view, { z: 17, x: 1, y: 2 }, { style: "grid", detail: "patch", threshold: 0.5, rev: "r1" })).toBe(
      "http://host/prefix/overlay/city/17/1/2.png?q=stadium&style=grid&threshold=0.50&rev=r1");
    expect(api.overlayUrl("city", view, null, { style: "heat", detail: "tile", threshold: 0.5 })).toBe("http://host/prefix/overlay/city/{z}/{x}/{y}.png?q=stadium&style=heat&threshold=0.50");
    expect(api.overlayUrl("city", view, null, { style: "heat", detail: "patch", threshold: 0.5 })).toBe("http://host/prefix/overlay/city/{z}/{x}/{y}.png?q=stadium&style=heat&detail=patch&threshold=0.50");
  });
  it("from an answer keep their placeholders, relative or not", () => {
    expect(api.resolve("tiles/city/{z}/{x}/{y}.jpg?rev=1")).toBe("http://host/prefix/tiles/city/{z}/{x}/{y}.jpg?rev=1");
    expect(api.resolve("/tiles/{z}")).toBe("http://host/tiles/{z}");
    expect(api.resolve("https://cdn/{z}")).toBe("https://cdn/{z}");
  });
  it("carry the key of the page below the base, and nowhere else", async () => {
    const keyed = new Api("http://host/prefix/", "s3cr&t/");
    const stub = answer({ layers: [] });
    await keyed.layers();
    expect(stub.mock.calls[0]?.[0]).toBe("http://host/prefix/layers?key=s3cr%26t%2F");
    await keyed.search("city", { q: ["sea"], not: [] });
    expect(stub.mock.calls[1]?.[0]).toBe("http://host/prefix/search/city?q=sea&threshold=0&key=s3cr%26t%2F");
    expect(JSON.stringify(stub.mock.calls.map(([, init]) => init))).not.toContain("s3cr");
    expect(keyed.overlayUrl("city", { q: ["sea"], not: [] }, { z: 1, x: 0, y: 1 }, { style: "heat", detail: "tile", threshold: 0.5 })).toBe(
      "http://host/prefix/overlay/city/1/0/1.png?q=sea&style=heat&threshold=0.50&key=s3cr%26t%2F");
    expect(keyed.qlrUrl("city", { q: [], not: [] })).toBe("http://host/prefix/qgis/city.qlr?key=s3cr%26t%2F");
    for (const other of ["https://cdn.example/{z}", "//evil.example/x", "tiles/city/{z}.jpg"]) {
      expect(keyed.resolve(other)).not.toContain("s3cr");
    }
    expect(api.qlrUrl("city", { q: [], not: [] })).not.toContain("key");
  });
  it("of a tile's picture", () => {
    expect(api.tilePicture({ tiles: "tiles/city/{z}/{x}/{y}{r}.jpg" } as Layer, "17/1/2")).toBe("http://host/prefix/tiles/city/17/1/2.jpg");
  });
});

describe("errors", () => {
  const caught = async () => api.layers().then(() => null, (err: unknown) => err as ApiError);

  it("carry the server's words", async () => {
    answer({ title: "Unavailable", status: 503, detail: "no model is loaded" }, { status: 503, headers: { "Retry-After": "3" } });
    const err = await caught();
    expect([err?.status, err?.message, err?.sentence, err?.retryAfter, err?.offline]).toEqual([503, "no model is loaded", "No model is loaded.", 3, false]);
  });
  it("of a proxy's page keep the status", async () => {
    answer("<h1>Bad gateway</h1>", { status: 502 });
    expect((await caught())?.message).toBe("The server answered 502.");
  });
  it("of HTML where JSON should be", async () => {
    answer("<h1>Welcome</h1>");
    expect((await caught())?.message).toContain("not JSON");
  });
  it("tell silence from trouble", async () => {
    vi.stubGlobal("fetch", async () => { throw new TypeError("failed to fetch"); });
    expect((await caught())?.offline).toBe(true);
    expect(await api.alive()).toBe(false);
  });
  it("tell a newer request from trouble", async () => {
    const abort = new AbortController();
    vi.stubGlobal("fetch", async () => { abort.abort(); throw new DOMException("aborted", "AbortError"); });
    expect(await api.layers(abort.signal).catch(isAbort)).toBe(true);
  });
});
