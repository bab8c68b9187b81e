import { relative } from "node:path";
import { type KpiError, renderError } from "../core/errors.ts";
import { projectRoot } from "../core/paths.ts";

/** A place in a spec file. */
export interface CallSite {
  /** Absolute. */
  readonly path: string;
  /** Relative to the project. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Where, outside of the kit, the kit was called from just now. */
export function callSite(): CallSite {
  const frames = (new Error().stack ?? "").split("\n").flatMap((line) => {
    const [, path = "", row = "", column = ""] = /\(?((?:\/|file:\/\/)[^()]*?):(\d+):(\d+)\)?$/.exec(line) ?? [];
    return path === "" ? [] : [{ path: path.replace(/^file:\/\//, ""), line: Number(row), column: Number(column) }];
  });
  const found = frames.find(({ path }) => !path.includes("/harness/kit"));
  const { path, line, column } = found ?? { path: "unknown", line: 1, column: 1 };
  return { path, file: relative(projectRoot, path), line, column };
}

/** Where in the spec's file an error arose; the claim's own place when its stack does not say. */
export function placeOf(error: unknown, site: CallSite): CallSite {
  const own = error instanceof Error ? framesOf(error).find(isIn(site.path)) : undefined;
  if (own === undefined) return site;
  const [row, column] = own.slice(own.indexOf(`${site.path}:`) + site.path.length + 1).split(":");
  return { ...site, line: Number(row), column: Number.parseInt(column ?? "1", 10) };
}

/**
 * The same error, pointing into the spec: bun shows the code at the first frame that has a file. What the kit did above is left out. A claim
 * that is one expression has no frame of its own, because JavaScriptCore makes tail calls: then it is where it was declared.
 */
export function pointTo<E extends Error>(error: E, site: CallSite): E {
  const frames = framesOf(error);
  const own = frames.findIndex(isIn(site.path));
  const below = own >= 0 ? frames.slice(own) : [`    at <claim> (${site.path}:${site.line}:${site.column})`];
  error.stack = [`${error.name}: ${error.message}`, ...below].join("\n");
  return error;
}

/**
 * An error of ours as bun shows it well: bun tells an error's message, then its fields one by one, then the code that made it. So all of it
 * goes into the message, and the code shown is the spec's at `site`, or none. The error itself is left as it is: several claims may share it.
 */
export function legible(error: KpiError, site?: CallSite, name = "error"): Error {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // otherwise bun shows the code here, whatever the stack says
  try {
    const full = new Error(renderError(error), { cause: error.cause });
    full.name = name;
    full.stack = [`${name}: ${full.message}`, ...(site === undefined ? [] : framesOf(error))].join("\n");
    return site === undefined ? full : pointTo(full, site);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Whether the error arose in this file of the kit itself or in what it called that has no file, such as a matcher. */
export function arisesIn(error: Error, file: string): boolean {
  const first = framesOf(error).find((frame) => frame.includes("/"));
  return first !== undefined && isIn(file)(first);
}

const isIn =
  (file: string) =>
  (frame: string): boolean =>
    frame.includes(`${file}:`);
const framesOf = (error: Error): string[] => (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
