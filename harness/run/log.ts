import { appendFileSync, mkdirSync, openSync, closeSync } from "node:fs";
import { join } from "node:path";
import type { RunEvent, RunEventBody } from "../core/event.ts";
import { emptyRecord, fold, type RunRecord } from "../core/record.ts";

/** Hears every event of a run, with the record as it is after that event. */
export type RunListener = (event: RunEvent, record: RunRecord) => void;

/** A run's append-only journal of events: `events.ndjson` in its own directory, one line an event, written as it happens. */
export class RunLog implements Disposable {
  readonly dir: string;
  record: RunRecord = emptyRecord;
  private readonly began = performance.now();
  private readonly file: number;
  private torn = false;

  constructor(
    readonly run: string,
    runsDir: string,
    private readonly listeners: readonly RunListener[],
  ) {
    this.dir = join(runsDir, run);
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    this.file = openSync(this.path("events.ndjson"), "a", 0o600);
  }

  /** A path in the run's directory. */
  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** Milliseconds since the run began. */
  get elapsed(): number {
    return performance.now() - this.began;
  }

  /**
   * The first event that cannot be written fails whatever emits it. Those after it belong to the run's end, which must not fail: they
   * are heard.
   */
  emit(body: RunEventBody): void {
    const event: RunEvent = { at: new Date().toISOString(), t: Math.round(this.elapsed), ...body };
    this.record = fold(this.record, event);
    for (const listener of this.listeners) listener(event, this.record);
    try {
      appendFileSync(this.file, `${this.torn ? "\n" : ""}${JSON.stringify(event)}\n`);
    } catch (error) {
      if (this.torn) return;
      this.torn = true;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.file);
  }
}

/** A run's name: when it began (UTC, to the second, sortable), and of which cluster. */
export function runId(cluster: string, now: Date): string {
  return `${now.toISOString().slice(0, 19).replaceAll(":", "-")}-${cluster}`;
}

/** The cluster that a run was of, by its name. */
export const clusterOf = (run: string): string => run.slice(20);
