import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Duration, formatDuration, milliseconds, minutes, seconds } from "../core/duration.ts";
import { notYet, until } from "../core/deadline.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import type { Environment } from "../core/paths.ts";
import { tryLock } from "../tools/owner.ts";
import { type Content, type Contents, contentsOf } from "./content.ts";
import { downloadLimits } from "./download.ts";
import { isPinned, type Supply, unpinned } from "./lock.ts";
import { findOnMachine } from "./machine.ts";
import { runRecipe } from "./recipe.ts";
import { fromMirror, fromUpstream } from "./release.ts";
import * as store from "./store.ts";
import { type ResolvedSupply, resolvedFrom, type SupplyContext } from "./supply.ts";
import type { Slots } from "./together.ts";

/** What all supplies of one call share. */
export interface Shared {
  readonly context: SupplyContext;
  readonly env: Environment;
  readonly mirror: string | undefined;
  /** Hosts found out of reach. */
  readonly unreachable: Map<string, string>;
  /** For builds. */
  readonly slots: Slots;
}

interface Source {
  readonly name: "mirror" | "upstream" | "build";
  readonly get: () => Promise<ResolvedSupply>;
}

/** How long to wait for an answer from upstream when there is a recipe as well. */
const shortAnswer = seconds(5);

/** Takes the right to change what the cache holds of a supply; waits while another run has it, saying so. */
export async function hold(
  cache: string,
  name: string,
  signal: AbortSignal | undefined,
  onProgress: OnProgress,
): Promise<Disposable> {
  const path = join(store.supplyDir(cache, name), ".lock");
  const attempt = () => {
    const lock = tryLock(path);
    if (!("heldBy" in lock)) return lock;
    const who = `process ${lock.heldBy.pid} (kpi ${lock.heldBy.command})`;
    onProgress({ what: `waiting for ${who}, which gets the same` });
    return notYet(who);
  };
  return await until(`another run's work on ${name}`, minutes(90), attempt, {
    hint: `see what that process does; when it is no kpi, remove ${path}`,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** The way of one supply: this machine, the cache, its sources. */
export class Resolution {
  private readonly failures: { source: string; error: KpiError }[] = [];
  private readonly onProgress: OnProgress;

  constructor(
    private readonly supply: Supply,
    private readonly shared: Shared,
    private readonly signal: AbortSignal,
  ) {
    this.onProgress = thinned((progress) => shared.context.onProgress?.(supply.name, progress));
  }

  private get cache(): string {
    return this.shared.context.cache;
  }

  async resolve(): Promise<ResolvedSupply> {
    return await store.inCache(this.cache, () => this.find());
  }

  private async find(): Promise<ResolvedSupply> {
    const machine = await this.onMachine();
    if (machine !== undefined) return machine;
    const contents = await contentsOf(this.shared.context.lock, this.cache, this.supply);
    const ready = await this.cached(contents, false);
    if (ready !== undefined) return ready;
    using _ = await hold(this.cache, this.supply.name, this.signal, this.onProgress);
    for (const dir of store.staleStaging(this.cache, this.supply.name)) await rm(dir, { recursive: true, force: true });
    return (await this.cached(contents, true)) ?? (await this.obtain(contents));
  }

  private async onMachine(): Promise<ResolvedSupply | undefined> {
    const { machine, name, files } = this.supply;
    if (machine === undefined) return undefined;
    const found = await findOnMachine(machine, this.shared.env, this.signal);
    if (!found.found) {
      this.failures.push({ source: "machine", error: new KpiError("supply", found.why) });
      return undefined;
    }
    const { version, detail, file, age } = found;
    const dir = dirname(file.path);
    return { name, version, source: "machine", detail, dir, files: { [files[0] ?? name]: file }, age };
  }

  /** From the cache, whatever source it came from: the release before the build. */
  private async cached({ release, build }: Contents, tell: boolean): Promise<ResolvedSupply | undefined> {
    for (const content of [release, build]) {
      if (content === undefined) continue;
      const { dir } = content;
      const stored = await store.readStored(dir);
      if (stored.state === "whole") {
        await store.touch(dir);
        return resolvedFrom(dir, stored.manifest);
      }
      if (stored.state === "damaged" && tell) {
        this.onProgress({ what: `${stored.what}; making it anew` });
        this.failures.push({ source: "cache", error: new KpiError("supply", stored.what) });
      }
    }
    return undefined;
  }

  private async obtain(contents: Contents): Promise<ResolvedSupply> {
    const sources = this.sources(contents);
    for (const [index, source] of sources.entries()) {
      try {
        return await source.get();
      } catch (error) {
        this.signal.throwIfAborted();
        if (!(error instanceof KpiError) || error.kind === "host") throw error;
        this.failures.push({ source: source.name, error });
        const next = sources[index + 1]?.name;
        if (next !== undefined) this.onProgress({ what: `${source.name}: ${error.what}; next: ${next}` });
      }
    }
    throw this.allFailed();
  }

  /** The sources that this supply has, in order. */
  private sources({ release, build, buildTrouble }: Contents): Source[] {
    const { supply } = this;
    const { mirror } = this.shared;
    const sources: Source[] = [];
    if (release !== undefined && mirror !== undefined) {
      const fetch = (staging: store.Staging) => fromMirror(supply, mirror, staging);
      sources.push({ name: "mirror", get: () => this.make("mirror", mirror, release, fetch) });
    }
    if (release !== undefined) {
      const fetch = (staging: store.Staging) => fromUpstream(supply, staging, this.releaseOptions());
      const detail = (supply.upstream ?? []).map(({ url }) => url).join(" ");
      sources.push({ name: "upstream", get: () => this.make("upstream", detail, release, fetch) });
    } else if (supply.upstream !== undefined) {
      const what = `${unpinned}, so not fetched (kpi supplies pin ${supply.name})`;
      this.failures.push({ source: "upstream", error: new KpiError("supply", what) });
    }
    if (build !== undefined) {
      const get = () => this.make("build", `built by ${supply.build?.recipe}`, build, (staging) => this.build(staging));
      sources.push({ name: "build", get });
    } else if (buildTrouble !== undefined) {
      sources.push({ name: "build", get: () => Promise.reject(buildTrouble) });
    }
    return sources;
  }

  private releaseOptions() {
    const { limits = downloadLimits } = this.shared.context;
    const answer: Duration =
      this.supply.build === undefined ? limits.answer : milliseconds(Math.min(limits.answer, shortAnswer));
    const { cache, signal, onProgress } = this;
    return { cache, signal, onProgress, limits: { ...limits, answer }, unreachable: this.shared.unreachable };
  }

  private async build(staging: store.Staging): Promise<void> {
    const { supply, signal, onProgress, cache } = this;
    if (supply.build === undefined) return;
    using _ = await this.shared.slots.take(signal, () => onProgress({ what: "waiting for another build to end" }));
    const { env = {} } = this.shared.context;
    await runRecipe(this.shared.context.lock, supply, supply.build, staging, { cache, env, signal, onProgress });
  }

  /** Staging, work, commit. */
  private async make(
    source: Source["name"],
    detail: string,
    { version, key, inputs, dir }: Content,
    work: (staging: store.Staging) => Promise<void>,
  ): Promise<ResolvedSupply> {
    const started = performance.now();
    await using staging = await store.stage(this.cache, this.supply.name);
    this.onProgress({ what: `${source}: ${detail}` });
    await work(staging);
    this.signal.throwIfAborted();
    const took = Math.round(performance.now() - started);
    const because = this.failures.map((failure) => `; ${failure.source}: ${failure.error.what}`).join("");
    const about = { version, source, detail: `${detail} in ${formatDuration(took)}${because}`, key, inputs, took };
    return resolvedFrom(dir, await store.commit(staging, dir, this.supply, about));
  }

  private allFailed(): KpiError {
    const { name, version } = this.supply;
    const last = this.failures.at(-1)?.error;
    const details = this.failures.flatMap(({ source, error }) => [
      `${source}: ${error.what}`,
      ...(error.got === undefined ? [] : [`  expected ${error.expected}, got ${error.got}`]),
      ...error.details.map((line) => `  ${line}`),
    ]);
    const canPin = !isPinned(this.supply) && this.supply.upstream !== undefined;
    const hint =
      last?.hint ?? (canPin ? `kpi supplies pin ${name}` : "put its files into a mirror directory and set KPI_MIRROR");
    return new KpiError("supply", `${name} ${version}: no source could deliver it`, {
      details,
      hint,
      ...(last?.command === undefined ? {} : { command: last.command }),
      evidence: last?.evidence ?? [],
    });
  }
}

/** A transfer reports with every piece that comes: four times a second, and at its end, is enough for whoever keeps it. */
function thinned(tell: OnProgress): OnProgress {
  let last = 0;
  return (progress) => {
    const now = performance.now();
    if (progress.unit === "bytes" && progress.done !== progress.total && now - last < 250) return;
    last = now;
    tell(progress);
  };
}
