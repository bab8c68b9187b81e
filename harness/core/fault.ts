import { type ErrorKind, KpiError } from "./errors.ts";

/** A place in a file, counted from 1; columns count UTF-16 units, as editors do. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly col: number;
}

/** Turns offsets into `text`, the content of `file`, into positions. */
export function positionsIn(text: string, file: string): (offset: number) => Position {
  const starts = [0];
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", end + 1)) starts.push(end + 1);
  return (offset) => {
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { file, line: low + 1, col: offset - (starts[low] ?? 0) + 1 };
  };
}

/** Where in a document a value stands: keys and list indexes from the top. */
export type DocumentPath = readonly (string | number)[];

/** One thing wrong in an input file. `what` says what is wrong, `expected` what should stand there. */
export interface Fault {
  readonly at: Position;
  readonly path: DocumentPath;
  readonly what: string;
  readonly expected: string;
}

/** More faults than this help nobody; the rest is only counted. */
const shownFaults = 50;

/** `file:line:col path: what is wrong, expected what was expected`, always one line. */
export function formatFault({ at, path, what, expected }: Fault): string {
  const line = `${at.file}:${at.line}:${at.col} ${formatPath(path)}: ${what}, expected ${expected}`;
  return line.replace(invisible, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** What could break a line, or show it in another order than it has. */
const invisible = /[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** `nodes.k3s-cp-01.address`, `network.dns[1]`; the whole document is `document`. */
export function formatPath(path: DocumentPath): string {
  if (path.length === 0) return "document";
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      if (!/^[\w-]+$/.test(step)) return `[${quote(step)}]`;
      return index === 0 ? step : `.${step}`;
    })
    .join("");
}

/** Text in quotes on one line, shortened when long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}

/** By file, in the order of `files`, then by line and column. */
export function sortFaults(faults: readonly Fault[], files: readonly string[]): Fault[] {
  const rank = (fault: Fault) => files.indexOf(fault.at.file);
  return faults.toSorted((a, b) => rank(a) - rank(b) || a.at.line - b.at.line || a.at.col - b.at.col);
}

/** All faults of one input as one error; `what` names the input, for example "spec specs/lab.yaml". */
export function faultsError(what: string, faults: readonly Fault[], kind: ErrorKind = "spec"): KpiError {
  const lines = faults.slice(0, shownFaults).map(formatFault);
  if (faults.length > shownFaults) lines.push(`and ${faults.length - shownFaults} more`);
  return new KpiError(kind, `${what} has ${faults.length} ${faults.length === 1 ? "fault" : "faults"}`, {
    details: lines,
  });
}
