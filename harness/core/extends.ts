import { readFile, realpath, stat } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { type Fault, type Position, quote } from "./fault.ts";
import { parseYaml, type YamlMap, type YamlNode, type YamlScalar } from "./yaml.ts";

/** A document and all that it extends, merged into one. */
export interface Extended {
  /** Absent when the first file could not be read. Keeps its key `extends` when what it extends could not be had. */
  readonly root?: YamlMap;
  /** The files it came from, the given one first; relative to the working directory where that is above them. */
  readonly files: readonly string[];
  readonly faults: readonly Fault[];
}

/** Who asks for a file: nobody for the first one. */
interface Asker {
  readonly at: Position;
  readonly value: string;
  /** Real paths of the files on the way here, the first one first. */
  readonly trail: readonly string[];
}

const maxBytes = 1024 * 1024;

/**
 * Reads a YAML file and, through its `extends`, what it changes, and merges them as RFC 7396 says: maps merge, lists
 * and scalars replace, null removes. Every value remembers the file that set it. Faults are returned, not thrown.
 */
export async function readExtended(path: string): Promise<Extended> {
  const files: string[] = [];
  const faults: Fault[] = [];
  const root = await readFrom(resolve(path), undefined, files, faults);
  return { ...(root === undefined ? {} : { root }), files, faults };
}

async function readFrom(
  path: string,
  asker: Asker | undefined,
  files: string[],
  faults: Fault[],
): Promise<YamlMap | undefined> {
  const file = shownPath(path);
  const refuse = (what: string, expected: string) => {
    const first = { at: { file, line: 1, col: 1 }, path: [], what: `is ${what}`, expected };
    const asked = asker && { at: asker.at, path: ["extends"], what: `is ${quote(asker.value)}, ${what}`, expected };
    faults.push(asked ?? first);
    return undefined;
  };
  if (asker === undefined) files.push(file);
  const read = await readText(path);
  if ("problem" in read) return refuse(read.problem, "a spec file");
  if (asker?.trail.includes(read.realPath)) {
    const round = [...asker.trail.slice(asker.trail.indexOf(read.realPath)), read.realPath];
    return refuse(`which leads back to where it began: ${round.map(shownPath).join(" > ")}`, "a chain that ends");
  }
  if (asker !== undefined) files.push(file);
  const root = parseMap(read.text, file, faults);
  const link = root?.entries.get("extends");
  if (root === undefined || link === undefined) return root;
  const changes: YamlMap = { ...root, entries: new Map([...root.entries].filter(([key]) => key !== "extends")) };
  const { at, value } = link.value as YamlScalar;
  const trail = [...(asker?.trail ?? []), read.realPath];
  // Anything but a file name is left to the schema, which says so.
  const named = typeof value === "string" && value !== "";
  const base = named ? await readFrom(resolve(dirname(path), value), { at, value, trail }, files, faults) : undefined;
  if (base !== undefined && !base.entries.has("extends")) return merge(base, changes, faults);
  // What a null removes cannot be known without the rest.
  const part = merge(base, changes, []);
  return { ...part, entries: new Map([["extends", link], ...part.entries]) };
}

function parseMap(text: string, file: string, faults: Fault[]): YamlMap | undefined {
  const { root, faults: found } = parseYaml(text, file);
  faults.push(...found);
  if (root === undefined || root.kind === "map") return root;
  const what = root.kind === "list" ? "is a list" : "is a single value";
  faults.push({ at: root.at, path: [], what, expected: "a mapping" });
  return undefined;
}

type Text = { readonly text: string; readonly realPath: string } | { readonly problem: string };

async function readText(path: string): Promise<Text> {
  try {
    const realPath = await realpath(path);
    // Looked at before it is opened: opening a pipe waits for somebody to write.
    const file = await stat(realPath);
    if (file.isDirectory()) return { problem: "a directory" };
    if (!file.isFile()) return { problem: "no ordinary file" };
    if (file.size > maxBytes) return { problem: `${file.size} bytes long` };
    return {
      text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await readFile(realPath)),
      realPath,
    };
  } catch (error) {
    return { problem: readProblem(error) };
  }
}

function readProblem(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") return "not text in UTF-8";
  if (code === "ENOENT" || code === "ENOTDIR") return "not there";
  if (code === "EISDIR") return "a directory";
  return `not readable (${code})`;
}

/** As a person would type it. */
function shownPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" || near.startsWith("..") ? path : near;
}

/** RFC 7396 on trees with positions. A merged map stands where the patch has it; keys keep the base's order. */
function merge(base: YamlNode | undefined, patch: YamlMap, faults: Fault[], path: readonly string[] = []): YamlMap {
  const from = base?.kind === "map" ? base : undefined;
  const entries = new Map(from?.entries);
  const removed = new Map(from?.removed);
  for (const [key, { at, value }] of patch.entries) {
    const here = [...path, key];
    if (value.kind === "scalar" && value.value === null) {
      if (!entries.delete(key)) {
        const expected = "a value, or a key of the spec that is extended";
        faults.push({ at: value.at, path: here, what: "removes what is not there", expected });
      }
      removed.set(key, value.at);
    } else {
      removed.delete(key);
      const merged = value.kind === "map" ? merge(entries.get(key)?.value, value, faults, here) : value;
      entries.set(key, { at, value: merged });
    }
  }
  return { kind: "map", at: patch.at, entries, removed };
}
