import { KpiError } from "../core/errors.ts";
import { isPinned, type Supply, type SupplyLock } from "./lock.ts";
import { buildInputs } from "./recipe.ts";
import { contentDir, sha256Text } from "./store.ts";

/** What a supply's content follows from, and so where in the cache it lies. */
export interface Content {
  readonly version: string;
  readonly inputs: unknown;
  readonly key: string;
  readonly dir: string;
}

/** The contents that would do, by where they come from. A mirror's is a release's: same hashes, same bytes. */
export interface Contents {
  readonly release?: Content;
  readonly build?: Content;
  /** Why there is no `build`, when there is a recipe. */
  readonly buildTrouble?: KpiError;
}

/** To be raised when the same inputs come to be laid out in another way. */
const layout = 1;

/** Reads the recipe and asks its tools for their versions; touches nothing. */
export async function contentsOf(lock: SupplyLock, cache: string, supply: Supply): Promise<Contents> {
  const content = (version: string, inputs: unknown): Content => {
    const key = sha256Text(JSON.stringify([layout, inputs, supply.files, supply.place ?? null]));
    return { version, inputs, key, dir: contentDir(cache, supply.name, version, key) };
  };
  const release = isPinned(supply) ? { release: content(supply.version, supply.upstream) } : {};
  if (supply.build === undefined) return release;
  try {
    const inputs = await buildInputs(lock, supply, supply.build);
    return { ...release, build: content(inputs.version, inputs) };
  } catch (error) {
    if (!(error instanceof KpiError)) throw error;
    return { ...release, buildTrouble: error };
  }
}
