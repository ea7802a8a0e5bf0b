/** A picture that a person gave, ready to be sent. */
export interface Given {
  name: string;
  body: Blob;
  /** Object URL, for the page itself. */
  url: string;
}

const SENT = ["image/jpeg", "image/png", "image/webp"]; // what the server takes
const MOST = 4 << 20; // bytes that are sent as they are; the server takes 8 MiB
const SIDE = 2048; // px of the longer side of what is made smaller: models look at less
const KEPT = 8; // pictures that stay for the way back

/** Pictures keeps the pictures of this visit under the terms that stand for them. They are never in an address. */
export class Pictures {
  private readonly held = new Map<string, Given>();
  private count = 0;

  /** add returns the term of a picture; it throws if the browser cannot read the file as one. */
  async add(file: Blob & { name?: string }): Promise<string> {
    const body = SENT.includes(file.type) && file.size <= MOST ? file : await smaller(file);
    const term = `${PICTURE}${++this.count}`;
    this.held.set(term, { name: file.name || "picture", body, url: URL.createObjectURL(body) });
    for (const [old, given] of this.held) {
      if (this.held.size > KEPT) {
        URL.revokeObjectURL(given.url);
        this.held.delete(old);
      }
    }
    return term;
  }

  get(term: string): Given | null {
    return this.held.get(term) ?? null;
  }
}

const PICTURE = "picture:";

/** isPicture says whether a term stands for a picture. */
export function isPicture(term: string): boolean {
  return term.startsWith(PICTURE);
}

/** smaller draws any picture that the browser can read as a JPEG that the server takes. */
async function smaller(file: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("no picture"))), "image/jpeg", 0.92));
}
