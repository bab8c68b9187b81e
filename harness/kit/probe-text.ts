import { KpiError } from "../core/errors.ts";

/** A line `PATH: TEXT` of probe.sh's `show`. */
export interface ShownLine {
  readonly path: string;
  readonly text: string;
}

/** What probe.sh printed: sections, each begun by a line `@@ NAME`. */
export class ProbeText {
  readonly #sections: ReadonlyMap<string, string>;

  /** Throws a `contract` error for a probe that was cut off: it proves nothing. */
  constructor(private readonly printed: string) {
    const parts = printed.split(/^@@ (\w+)\n?/m);
    this.#sections = new Map(
      Array.from({ length: (parts.length - 1) / 2 }, (_, index) => [
        parts[2 * index + 1] ?? "",
        (parts[2 * index + 2] ?? "").replace(/\n$/, ""),
      ]),
    );
    this.text("end");
  }

  /** A section's text, without its last newline. Throws a `contract` error when there is no such section. */
  text(section: string): string {
    const found = this.#sections.get(section);
    if (found !== undefined) return found;
    throw new KpiError("contract", `the probe of a node has no section ${section}`, {
      details: this.printed.split("\n").slice(-5),
    });
  }

  /** Its lines that are not empty. */
  lines(section: string): string[] {
    return this.text(section)
      .split("\n")
      .filter((line) => line !== "");
  }

  /** The lines of all files in it. */
  shown(section: string): ShownLine[] {
    return this.lines(section).map((line) => {
      const at = line.indexOf(": ");
      return at < 0
        ? { path: line.replace(/:$/, ""), text: "" }
        : { path: line.slice(0, at), text: line.slice(at + 2) };
    });
  }

  /** The public keys in its files, without their comments: `ssh-ed25519 AAAA...`. */
  keys(section: string): { file: string; key: string }[] {
    return this.shown(section).map(({ path, text }) => ({ file: path, key: text.split(" ").slice(0, 2).join(" ") }));
  }

  /** The first line of a file in it; "" when there is none. */
  value(section: string, path: string): string {
    return this.shown(section).find((line) => line.path === path)?.text ?? "";
  }
}
