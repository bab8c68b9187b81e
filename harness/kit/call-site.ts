import { relative } from "node:path";
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
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  for (const line of stack.split("\n")) {
    const at = line.indexOf(`${site.path}:`);
    if (at < 0) continue;
    const [row, column] = line.slice(at + site.path.length + 1).split(":");
    return { ...site, line: Number(row), column: Number.parseInt(column ?? "1", 10) };
  }
  return site;
}

/** The same error pointing to the claim, for one that came from below: bun shows the code at the first frame. */
export function pointTo<E extends Error>(error: E, site: CallSite): E {
  if (error.stack?.includes(site.path) !== true)
    error.stack = `${error.name}: ${error.message}\n    at <claim> (${site.path}:${site.line}:${site.column})`;
  return error;
}
