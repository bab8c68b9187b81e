import { existsSync } from "node:fs";
import { join } from "node:path";
import { minutes } from "../core/duration.ts";
import { collectEvidence } from "../run/evidence.ts";
import { fileName, suiteDir } from "./results.ts";
import type { Session } from "./session.ts";

/** Where it is being written, and when all of it is there. */
export interface Collection {
  readonly dir: string;
  readonly done: Promise<unknown>;
}

/** What a cluster's nodes, libvirt and API say after the first claim on it has failed: collected once, however many fail at that moment. */
export class Evidence {
  #collection: Promise<Collection | undefined> | undefined;

  /** `collect` begins; it gives nothing where there is no cluster to ask, and is asked again by the next failure then. */
  constructor(private readonly collect: () => Promise<Collection | undefined>) {}

  /** Where it lies, or will: a claim that failed does not wait for it. */
  async places(): Promise<readonly string[]> {
    const collection = (this.#collection ??= this.collect());
    const found = await collection.catch(() => undefined);
    if (found !== undefined) return [found.dir];
    if (this.#collection === collection) this.#collection = undefined;
    return [];
  }

  /** Waits until all of it is there, if it was asked for. */
  async whole(): Promise<void> {
    const found = await this.#collection?.catch(() => undefined);
    await found?.done;
  }
}

/** Where the suite keeps what a cluster, or the fork of a scenario, had to say. */
const dirOf = (name: string): string => join(suiteDir(), "evidence", fileName(name));

/** Begins to collect what a cluster has to say while it runs, for two minutes at most; what is missing then, it says itself. */
export function collect(session: Session, name: string): Collection {
  const dir = dirOf(name);
  const collecting = () => collectEvidence(session.access, dir, AbortSignal.timeout(minutes(2)));
  return { dir, done: session.whileItRuns(collecting).catch(() => {}) };
}

/** What has been collected under this name. */
export const collected = (name: string): readonly string[] => [dirOf(name)].filter((dir) => existsSync(dir));
