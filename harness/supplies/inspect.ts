import { contentsOf } from "./content.ts";
import { isPinned, lockedSupply, type Supply, unpinned } from "./lock.ts";
import { findOnMachine } from "./machine.ts";
import { readStored } from "./store.ts";
import { type ResolvedFile, resolvedFrom, type SourceName, type SupplyContext } from "./supply.ts";

/** What `kpi supplies` shows of one supply. */
export interface SupplyView {
  readonly name: string;
  readonly version: string;
  readonly purpose: string;
  /** `unpinned`: refused until `kpi supplies pin`. `damaged`: made anew when it is next needed. */
  readonly state: "machine" | "cached" | "absent" | "unpinned" | "damaged";
  readonly source?: SourceName;
  readonly detail: string;
  /** What would be tried, in order, were it needed now. */
  readonly sources: readonly string[];
  readonly files: Readonly<Record<string, ResolvedFile>>;
  /** Of the main file. */
  readonly sha256?: string;
  /** Of all files, in bytes. */
  readonly size?: number;
  /** When it was made or fetched; ISO 8601. */
  readonly madeAt?: string;
}

/** Looks at supplies, all of the lock unless named. Fetches nothing and writes nothing. `full`: by hash, not by size and time. */
export async function inspectSupplies(
  context: SupplyContext & { readonly names?: readonly string[]; readonly full?: boolean },
): Promise<SupplyView[]> {
  const names = context.names ?? Object.keys(context.lock.supplies);
  return await Promise.all(names.map((name) => view(lockedSupply(context.lock, name), context)));
}

async function view(supply: Supply, context: SupplyContext & { full?: boolean }): Promise<SupplyView> {
  const env = context.env ?? process.env;
  const { name, version, purpose } = supply;
  const mirror = env["KPI_MIRROR"] || context.lock.mirror;
  const base = { name, version, purpose, sources: sourcesOf(supply, mirror), files: {} };

  const machine = supply.machine === undefined ? undefined : await findOnMachine(supply.machine, env, context.signal);
  if (machine?.found === true) {
    const { version: found, detail, file, age } = machine;
    const { sha256, size } = file;
    const files = { [supply.files[0] ?? name]: file };
    const madeAt = age.toISOString();
    return { ...base, version: found, state: "machine", source: "machine", detail, files, sha256, size, madeAt };
  }

  const contents = await contentsOf(context.lock, context.cache, supply);
  const troubles: string[] = contents.buildTrouble === undefined ? [] : [contents.buildTrouble.what];
  for (const content of [contents.release, contents.build]) {
    if (content === undefined) continue;
    const stored = await readStored(content.dir, context.full);
    if (stored.state === "damaged") return { ...base, state: "damaged", detail: stored.what };
    if (stored.state === "absent") continue;
    const { source, version: made, detail, files, age } = resolvedFrom(content.dir, stored.manifest);
    const main = files[supply.files[0] ?? ""];
    const size = Object.values(files).reduce((sum, file) => sum + file.size, 0);
    const found = { version: made, source, detail, files, size, madeAt: age.toISOString() };
    return { ...base, state: "cached", ...found, ...(main === undefined ? {} : { sha256: main.sha256 }) };
  }
  const known = supply.upstream?.find((file) => file.sha256 !== unpinned)?.sha256;
  const hash = known === undefined ? {} : { sha256: known };
  const none = base.sources.length === 0;
  return {
    ...base,
    ...hash,
    state: none ? "unpinned" : "absent",
    detail: none
      ? `refused until: kpi supplies pin ${name}`
      : [`from ${base.sources.join(", ")}`, ...troubles].join("; "),
  };
}

function sourcesOf(supply: Supply, mirror: string | undefined): string[] {
  const release = isPinned(supply) ? [...(mirror === undefined ? [] : ["mirror"]), "upstream"] : [];
  return [...release, ...(supply.build === undefined ? [] : ["build"])];
}
