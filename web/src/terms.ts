import { isPicture } from "./Pictures";
import { parseTile } from "./tiles";
import type { Query } from "./types";

/** The most bytes of UTF-8 that the server takes as one prompt. */
export const PROMPT_BYTES = 512;

const TILE = "tile:";

/** cleanPrompt returns typed text as one line without control characters, cut to what the server takes. */
export function cleanPrompt(text: string): string {
  let clean = text.replace(/\p{C}/gu, " ").replace(/\s+/gu, " ").trim();
  const encoder = new TextEncoder();
  while (encoder.encode(clean).length > PROMPT_BYTES) {
    clean = Array.from(clean).slice(0, -1).join("").trimEnd();
  }
  return clean;
}

/** tileTerm names a tile where a prompt could stand. */
export function tileTerm(tile: string): string {
  return TILE + tile;
}

/** termTile returns the tile's name if the term is one, else null. */
export function termTile(term: string): string | null {
  const name = term.startsWith(TILE) ? term.slice(TILE.length) : "";
  return parseTile(name) ? name : null;
}

/**
 * applyInput returns the query after Enter. Text stands for a new search; with a leading + or "or" it is another prompt
 * beside those asked, with a leading - or "not" one to leave out.
 */
export function applyInput(text: string, current: Query): Query {
  const clean = cleanPrompt(text);
  // A picture is asked for alone: what is typed beside it is another search.
  const m = /^(?:([+-])\s*|(or|not)\s+)(.+)$/iu.exec(clean);
  if (m && current.q.length > 0 && !current.q.some(isPicture)) {
    const sign = m[1] ?? (m[2]?.toLowerCase() === "or" ? "+" : "-");
    const term = m[3] ?? "";
    return sign === "+" ? addTerm(current, "q", term) : addTerm(current, "not", term);
  }
  return { q: clean ? [clean] : [], not: [] };
}

/** addTerm returns the query with the term at the end of one list and gone from the other. */
export function addTerm(query: Query, list: "q" | "not", term: string): Query {
  const without = removeTerm(query, term);
  return { ...without, [list]: [...without[list], term] };
}

/** removeTerm returns the query without the term. */
export function removeTerm(query: Query, term: string): Query {
  return { q: query.q.filter((t) => t !== term), not: query.not.filter((t) => t !== term) };
}

export function sameQuery(a: Query, b: Query): boolean {
  const same = (x: string[], y: string[]) => x.length === y.length && x.every((t, i) => t === y[i]);
  return same(a.q, b.q) && same(a.not, b.not);
}

/** inWords says a query in one line, for the live region and the page title. */
export function inWords(query: Query): string {
  const word = (term: string) => (isPicture(term) ? "like a picture" : termTile(term) ? `tile ${termTile(term)}` : term);
  const any = query.q.map(word).join(" or ");
  return query.not.length ? `${any}, not ${query.not.map(word).join(", not ")}` : any;
}

/** A piece of a prompt, and whether the model has learned it. */
export interface Piece {
  text: string;
  unknown: boolean;
}

/** markUnknown cuts a prompt into pieces so that the words the model has not learned can be underlined. */
export function markUnknown(prompt: string, unknown: readonly string[]): Piece[] {
  const words = new Set(unknown.map((w) => w.toLowerCase()));
  const pieces: Piece[] = [];
  for (const text of prompt.split(/([\p{L}\p{N}'’-]+)/u)) {
    if (text !== "") {
      pieces.push({ text, unknown: words.has(text.toLowerCase()) });
    }
  }
  return pieces;
}

/** knownPart returns the prompt without the unknown words, as one line. */
export function knownPart(prompt: string, unknown: readonly string[]): string {
  return markUnknown(prompt, unknown)
    .filter((p) => !p.unknown)
    .map((p) => p.text)
    .join("")
    .replace(/\s+/g, " ")
    .trim();
}
