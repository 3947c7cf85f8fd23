// The file as it arrives: exact reads over a stream of network pieces, and the header and section table at its front.

import { bad, OdcError, reason } from "./error.js";

/** Of the file; `loaded` equals `total` when all of it is here. */
export interface Progress {
  loaded: number;
  total: number;
}

const MAGIC = 0x4143444f; // "ODCA"
const VERSION = 5;
const HEADER = 64;
const ENTRY = 32;
const PAGE = 4096;
const MOST_SECTIONS = 1024;

export const MANIFEST = 1;
export const CODE = 2;
export const WEIGHTS = 3;

export interface Section {
  kind: number;
  offset: number;
  length: number;
}

export class Download {
  total = 0;
  loaded = 0;
  private piece = new Uint8Array(0);

  private constructor(
    readonly url: string,
    private readonly reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
    private readonly report: ((progress: Progress) => void) | undefined,
  ) {}

  static async open(url: string, request: RequestInit, report?: (progress: Progress) => void): Promise<Download> {
    let response: Response;
    try {
      response = await fetch(url, request);
    } catch (e) {
      if (request.signal?.aborted) throw request.signal.reason;
      throw new OdcError("http", `${url} cannot be fetched: ${reason(e)}. Check the address, the connection, and CORS if it is another origin.`, e);
    }
    if (!response.ok || !response.body) {
      await response.body?.cancel();
      throw new OdcError("http", `${url}: the server answered ${response.status} ${response.statusText}. Check the address.`);
    }
    return new Download(url, response.body.getReader(), report);
  }

  private truncated(why: string, cause?: unknown): OdcError {
    const of = this.total > 0 ? ` of ${this.total}` : "";
    return new OdcError("truncated", `${this.url} ended after ${this.loaded}${of} bytes: ${why}. Load it again; if it stays, copy the file to the server again.`, cause);
  }

  /** Some bytes, at most `most`. */
  private async some(most: number): Promise<Uint8Array<ArrayBuffer>> {
    while (this.piece.length === 0) {
      let next: ReadableStreamReadResult<Uint8Array<ArrayBuffer>>;
      try {
        next = await this.reader.read();
      } catch (e) {
        throw this.truncated(`the connection broke (${reason(e)})`, e);
      }
      if (next.done) throw this.truncated("the download is not complete");
      this.piece = next.value;
      this.loaded += next.value.length;
      this.tell();
    }
    const part = this.piece.subarray(0, most);
    this.piece = this.piece.subarray(part.length);
    return part;
  }

  private tell(): void {
    if (this.total > 0) this.report?.({ loaded: Math.min(this.loaded, this.total), total: this.total });
  }

  async fill(into: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < into.length; ) {
      const part = await this.some(into.length - at);
      into.set(part, at);
      at += part.length;
    }
  }

  async read(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    await this.fill(bytes);
    return bytes;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) left -= (await this.some(left)).length;
  }

  async end(): Promise<void> {
    if (this.piece.length > 0 || !(await this.reader.read()).done) throw bad(`${this.url} has bytes after its last section`);
  }

  /** Ends the transfer; harmless when it has ended. */
  cancel(): void {
    this.reader.cancel().catch(() => {});
  }

  /** Header and table. The first section is the manifest, the last one the weights. */
  async sections(): Promise<Section[]> {
    const start = await this.read(4).catch((e) => {
      // A file that short is another one; a connection that broke says nothing of the file.
      throw e instanceof OdcError && e.cause === undefined && this.loaded < 4 ? this.foreign() : e;
    });
    if (new DataView(start.buffer).getUint32(0, true) !== MAGIC) throw this.foreign();
    const head = new DataView((await this.read(HEADER - 4)).buffer);
    const version = head.getUint32(0, true);
    if (version !== VERSION) {
      throw new OdcError("version", `${this.url} has format version ${version}, this runtime reads ${VERSION}. Compile the model with the odc that belongs to this runtime.`);
    }
    const count = head.getUint32(12, true);
    this.total = u64(head, 4);
    this.tell();
    if (count < 2 || count > MOST_SECTIONS) throw bad(`it has ${count} sections`);
    const table = new DataView((await this.read(count * ENTRY)).buffer);
    const sections: Section[] = [];
    let end = HEADER + count * ENTRY;
    for (let at = 0; at < table.byteLength; at += ENTRY) {
      const section = { kind: table.getUint32(at, true), offset: u64(table, at + 8), length: u64(table, at + 16) };
      if (section.offset !== Math.ceil(end / PAGE) * PAGE) throw bad(`section ${sections.length} is not at the next page`);
      end = section.offset + section.length;
      const kind = sections.length === 0 ? MANIFEST : sections.length === count - 1 ? WEIGHTS : CODE;
      if (section.kind !== kind) throw bad("its sections are not: manifest, code, weights");
      sections.push(section);
    }
    if (end !== this.total) throw bad(`its last section ends at ${end} of ${this.total}`);
    return sections;
  }

  private foreign(): OdcError {
    return new OdcError("not-an-artifact", `${this.url} is no file that odc compile wrote. Check that the address leads to model.odc and not to a page.`);
  }
}

function u64(view: DataView, at: number): number {
  const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  if (!Number.isSafeInteger(value)) throw bad("a length in its header is 2^53 or more");
  return value;
}

/** Compares with what the compiler wrote; what differs is never used. */
export async function verify(bytes: Uint8Array<ArrayBuffer>, wanted: Uint8Array, what: string, url: string): Promise<void> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  if (digest.some((byte, i) => byte !== wanted[i])) {
    throw new OdcError("damaged", `${url}: ${what} is not what was compiled (SHA-256 differs). Load it again; if it stays, the file on the server is damaged or mixed from two.`);
  }
}
