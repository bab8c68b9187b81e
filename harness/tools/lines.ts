import { StringDecoder } from "node:string_decoder";

/** Cuts a byte stream into lines as it comes, whole UTF-8 characters only, and keeps the whole text unless told not to. */
export class LineReader {
  private readonly decoder = new StringDecoder("utf8");
  private readonly texts: string[] = [];
  private rest = "";

  constructor(
    private readonly onLine: (line: string) => void,
    private readonly keep = true,
  ) {}

  push(chunk: Uint8Array): void {
    this.take(this.decoder.write(Buffer.from(chunk)));
  }

  /** Hands out an unfinished last line and returns all the text. */
  end(): string {
    this.take(this.decoder.end());
    if (this.rest !== "") this.onLine(this.rest);
    this.rest = "";
    return this.texts.join("");
  }

  private take(text: string): void {
    if (this.keep) this.texts.push(text);
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.onLine(line);
  }
}
