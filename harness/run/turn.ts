import { join } from "node:path";
import { notYet, until } from "../core/deadline.ts";
import { minutes, seconds } from "../core/duration.ts";
import { type FileLock, tryLock } from "../tools/owner.ts";

/** Longer than suites take one after another, where several wait. */
const limit = minutes(240);

export interface TurnOptions {
  readonly cache: string;
  readonly signal: AbortSignal;
  /** Told who is at work, once for each. */
  readonly say: (line: string) => void;
}

/**
 * Waits until no other whole suite is at work with this cache. A suite asserts times, and keeps the machine busy: of two at once on two cores
 * nodes were not Ready in time, and nothing was wrong with them. Given back by disposing; a dead one's turn is over.
 */
export async function takeTurn({ cache, signal, say }: TurnOptions): Promise<FileLock> {
  let told: number | undefined;
  const attempt = () => {
    const lock = tryLock(join(cache, "admission", "suite.lock"));
    if (!("heldBy" in lock)) return lock;
    const { pid, command } = lock.heldBy;
    const who = `kpi ${command} (process ${pid})`;
    if (told !== pid) say(`waiting for ${who}: suites take turns, because their times count`);
    told = pid;
    return notYet(`${who} is at work`);
  };
  return until("other suites did not end", limit, attempt, { signal, every: seconds(1) });
}
