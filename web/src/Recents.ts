const KEY = "tilescout.recent";
const MOST = 8;

/** Recents remembers the last prompts in this browser; without storage, until the page closes. */
export class Recents {
  private phrases: string[];

  constructor() {
    this.phrases = read();
  }

  /** matching returns the prompts that start with the text, newest first. */
  matching(text: string): string[] {
    const start = text.trim().toLowerCase();
    return this.phrases.filter((p) => p.toLowerCase().startsWith(start));
  }

  add(phrase: string): void {
    this.phrases = [phrase, ...this.phrases.filter((p) => p !== phrase)].slice(0, MOST);
    try {
      localStorage.setItem(KEY, JSON.stringify(this.phrases));
    } catch {
      // Storage is full or forbidden: the list in memory has to do.
    }
  }
}

function read(): string[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(stored) ? stored.filter((p): p is string => typeof p === "string").slice(0, MOST) : [];
  } catch {
    return [];
  }
}
