import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import { type DocumentPath, type Fault, faultsError } from "../core/fault.ts";
import { nearest } from "../core/nearest.ts";
import { projectRoot } from "../core/paths.ts";
import { compileSchema, type Schema } from "../core/schema.ts";
import { keyPosition, nodeAt, parseYaml, plain, type YamlNode } from "../core/yaml.ts";

/** A file of an upstream release. */
export interface UpstreamFile {
  readonly url: string;
  /** 64 hexadecimal digits, or `unpinned`: then only `pinSupply` fetches it. */
  readonly sha256: string;
  readonly executable?: boolean;
  /** The name it is kept under; otherwise the last part of the address. */
  readonly as?: string;
  /** It is a zip archive: these members are kept instead of it. */
  readonly unzip?: readonly string[];
}

/** A program of this machine that does as well. */
export interface MachineSource {
  readonly programs: readonly string[];
  readonly atLeast: string;
}

export type BuildTool = "go" | "mmdebstrap";

/** A recipe of this repository: a directory with a program `build OUTDIR`. */
export interface BuildSource {
  readonly recipe: string;
  /** What it makes, where that is another version than the release's. */
  readonly version?: string;
  /** Tools whose version changes the result. */
  readonly tools: readonly BuildTool[];
  readonly inputs?: readonly string[];
}

/** One outside thing that the pipeline needs. */
export interface Supply {
  readonly name: string;
  readonly version: string;
  readonly purpose: string;
  /** What every source must yield; the first is the main one. */
  readonly files: readonly string[];
  /** Directories, inside the supply's own, that a file goes to instead of its top. */
  readonly place?: Readonly<Record<string, readonly string[]>>;
  readonly machine?: MachineSource;
  readonly upstream?: readonly UpstreamFile[];
  /** The release's own list of hashes (sha256sum's format), which a new pin must agree with. */
  readonly sums?: string;
  readonly build?: BuildSource;
}

/** The lock file as read. */
export interface SupplyLock {
  readonly path: string;
  /** The directory that recipes are found below. */
  readonly root: string;
  readonly mirror?: string;
  readonly supplies: Readonly<Record<string, Supply>>;
}

export const unpinned = "unpinned";
export const lockPath = join(projectRoot, "fixtures", "supplies.lock.yaml");

/** Reads and checks the lock file. Throws one `spec` error with every fault and its position. */
export async function loadLock(path: string = lockPath, root: string = projectRoot): Promise<SupplyLock> {
  const text = await Bun.file(path)
    .text()
    .catch((cause: unknown) => {
      throw new KpiError("spec", `the supplies lock ${path} cannot be read`, { cause });
    });
  const node = await parseLockNode(text, path);
  const value = plain(node) as { mirror?: string; supplies: Record<string, Omit<Supply, "name">> };
  const supplies = Object.fromEntries(
    Object.entries(value.supplies).map(([name, supply]): [string, Supply] => [name, { name, ...supply }]),
  );
  return { path, root, supplies, ...(value.mirror === undefined ? {} : { mirror: value.mirror }) };
}

let compiled: Promise<Schema> | undefined;

function schema(): Promise<Schema> {
  compiled ??= Bun.file(join(projectRoot, "fixtures", "supplies.lock.schema.json"))
    .json()
    .then(compileSchema);
  return compiled;
}

/** The checked document with positions, for whoever edits it. */
export async function parseLockNode(text: string, path: string): Promise<YamlNode> {
  const parsed = parseYaml(text, path);
  if (parsed.root === undefined || parsed.faults.length > 0) throw faultsError(`supplies lock ${path}`, parsed.faults);
  const faults = (await schema()).check(parsed.root);
  if (faults.length === 0) faults.push(...sourceFaults(parsed.root));
  if (faults.length > 0) throw faultsError(`supplies lock ${path}`, faults);
  return parsed.root;
}

/**
 * What a schema cannot say: every source yields every promised file, only promised files are placed, and no address is of another version than
 * the supply: an older release would pass for the new one, as its own list of hashes says.
 */
function sourceFaults(root: YamlNode): Fault[] {
  const faults: Fault[] = [];
  const { supplies } = plain(root) as { supplies: Record<string, Omit<Supply, "name">> };
  for (const [name, supply] of Object.entries(supplies)) {
    const path: DocumentPath = ["supplies", name];
    const fault = (at: DocumentPath, what: string, expected: string) =>
      faults.push({ at: nodeAt(root, at)?.at ?? keyPosition(root, at), path: at, what, expected });
    const yields = supply.upstream?.flatMap(upstreamNames);
    for (const file of supply.files) {
      if (yields?.includes(file) === false) fault([...path, "upstream"], `yields no ${file}`, supply.files.join(", "));
    }
    const expected = `an address of ${supply.version}`;
    const stale = (url: string) => {
      const { pathname } = new URL(url);
      return /\d+\.\d+/.test(pathname) && !decodeURIComponent(pathname).includes(supply.version);
    };
    for (const [index, { url }] of (supply.upstream ?? []).entries())
      if (stale(url)) fault([...path, "upstream", index, "url"], "is of another version", expected);
    if (supply.sums !== undefined && stale(supply.sums)) fault([...path, "sums"], "is of another version", expected);
    for (const file of Object.keys(supply.place ?? {})) {
      if (!supply.files.includes(file)) fault([...path, "place", file], "is no file of it", supply.files.join(" or "));
    }
  }
  return faults;
}

/** The names under which an upstream file's content is kept. */
export function upstreamNames(file: UpstreamFile): readonly string[] {
  return file.unzip ?? [file.as ?? urlFileName(file.url)];
}

/** The last part of an address, decoded. */
export function urlFileName(url: string): string {
  return decodeURIComponent(new URL(url).pathname.split("/").at(-1) ?? "");
}

/** The supply of that name. Throws a `spec` error which names the known ones. */
export function lockedSupply(lock: SupplyLock, name: string): Supply {
  const supply = Object.hasOwn(lock.supplies, name) ? lock.supplies[name] : undefined;
  if (supply === undefined) {
    const known = Object.keys(lock.supplies);
    const meant = nearest(name, known);
    throw new KpiError("spec", `there is no supply ${JSON.stringify(name)} in ${lock.path}`, {
      expected: known.join(", "),
      ...(meant === undefined ? {} : { hint: `did you mean ${meant}?` }),
    });
  }
  return supply;
}

/** Whether every upstream file has a known hash. */
export function isPinned(supply: Supply): boolean {
  return supply.upstream?.every((file) => file.sha256 !== unpinned) ?? false;
}
