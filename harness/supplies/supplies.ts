import { KpiError } from "../core/errors.ts";
import { isPinned, lockedSupply, type Supply, type SupplyLock } from "./lock.ts";
import { Resolution, type Shared } from "./resolution.ts";
import type { ResolvedSupply, SupplyContext } from "./supply.ts";
import { Slots, together } from "./together.ts";

export { inspectSupplies, type SupplyView } from "./inspect.ts";
export { loadLock, lockedSupply, type SupplyLock } from "./lock.ts";
export { type Pin, pinSupply } from "./pin.ts";
export { terraformCliConfig } from "./provider.ts";
export { staleStaging } from "./store.ts";
export type { ResolvedFile, ResolvedSupply, SourceName, SupplyContext } from "./supply.ts";
export { renderSupplies } from "./table.ts";

/** Compilers take all cores there are: more of them at once only gets slower, and hungrier. */
const buildsAtOnce = 2;

/**
 * Gets supplies, side by side: from this machine, from the cache, else mirror, upstream, build, in this order. Safe with
 * other processes that want the same. Throws a `supply` error that lists what was tried, once everything it had begun is
 * unmade; what an interrupted download has brought is kept for the next time.
 */
export async function resolveSupplies(
  names: readonly string[],
  context: SupplyContext,
): Promise<Record<string, ResolvedSupply>> {
  const wanted = [...new Set(names)].map((name) => lockedSupply(context.lock, name));
  refuseUnpinned(wanted, context.lock);
  const env = context.env ?? process.env;
  const shared: Shared = {
    context,
    env,
    mirror: env["KPI_MIRROR"] || context.lock.mirror,
    unreachable: new Map(),
    slots: new Slots(buildsAtOnce),
  };
  const found = await together(wanted, context.signal, (supply, signal) =>
    new Resolution(supply, shared, signal).resolve(),
  );
  return Object.fromEntries(found.map((supply) => [supply.name, supply]));
}

/** All at once, and before anything is fetched: those that nothing but an unpinned release could deliver. */
function refuseUnpinned(wanted: readonly Supply[], lock: SupplyLock): void {
  const refused = wanted.filter(
    (supply) => !isPinned(supply) && supply.build === undefined && supply.machine === undefined,
  );
  if (refused.length === 0) return;
  const named = refused.map(({ name, version }) => `${name} ${version}`).join(", ");
  throw new KpiError("supply", `${named}: not pinned, so refused`, {
    details: refused.flatMap((supply) => (supply.upstream ?? []).map(({ url }) => url)),
    expected: `its sha256 in ${lock.path}`,
    hint: `kpi supplies pin ${refused.map(({ name }) => name).join(" ")}`,
  });
}
