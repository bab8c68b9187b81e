import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { notYet, until } from "../core/deadline.ts";
import { milliseconds, minutes } from "../core/duration.ts";
import { memoryNeeded } from "../core/capacity.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import { isAlive, type Owner, thisOwner, tryLock } from "../tools/owner.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { machineCapacity } from "./capacity.ts";

/** A fork that wants to be made, or is being made. */
export interface Ticket {
  readonly name: string;
  readonly owner: Owner;
  readonly memoryMiB: number;
  /** Milliseconds since 1970; who came first goes first. */
  readonly since: number;
  readonly admitted: boolean;
}

/** What forks compete for. */
export interface Room {
  /** Available now; forks that are being made may not have taken theirs yet. */
  readonly memoryMiB: number;
  readonly cpus: number;
}

/** Why a fork has to wait; undefined when it may begin. Restoring keeps every core busy, so one fork begins for each two cores. Pure. */
export function whyWait(mine: Ticket, others: readonly Ticket[], room: Room): string | undefined {
  const making = others.filter(({ admitted }) => admitted);
  const before = others.find((other) => !other.admitted && other.since < mine.since);
  if (before !== undefined) return `${before.name} came before`;
  const atOnce = Math.max(1, Math.floor(room.cpus / 2));
  if (making.length >= atOnce) {
    const names = making.map(({ name }) => name).join(", ");
    return `${names} ${making.length === 1 ? "is" : "are"} being made, and ${room.cpus} cores take ${atOnce} at a time`;
  }
  const taken = making.reduce((sum, { memoryMiB }) => sum + memoryMiB, 0);
  const free = room.memoryMiB - taken;
  if (free >= mine.memoryMiB) return undefined;
  return `${mine.memoryMiB} MiB of memory are needed, ${Math.max(0, free)} MiB are free`;
}

export interface AdmitOptions {
  readonly name: string;
  readonly signal: AbortSignal;
  /** Told the reason whenever it changes. */
  readonly onQueued: (why: string) => void;
}

/** A place among the forks that are being made. Given back when the fork is Ready, or has failed. */
export interface Place extends Disposable {
  release(): void;
}

/** Waits for a place. Tickets are files, shared by all that use this cache; a dead owner's does not count. */
export async function admit(plan: Plan, paths: KpiPaths, options: AdmitOptions): Promise<Place> {
  const dir = join(paths.cache, "admission");
  const owner = thisOwner();
  const path = join(dir, `${owner.pid}-${owner.start}-${options.name}.json`);
  const base = { name: options.name, owner, memoryMiB: memoryNeeded(plan), since: Date.now() };
  const write = (admitted: boolean): Ticket => {
    const ticket = { ...base, admitted };
    writeWhole(path, JSON.stringify(ticket));
    return ticket;
  };
  const release = () => rmSync(path, { force: true });
  const mine = write(false);
  let told = "";
  const wait = (why: string): never => {
    if (why !== told) options.onQueued(why);
    told = why;
    return notYet(why);
  };
  try {
    await until(
      `fork ${options.name} was not admitted`,
      minutes(30),
      () => {
        const lock = tryLock(join(dir, "lock"));
        if ("heldBy" in lock) return notYet("another fork is being judged"); // for an instant
        using _lock = lock;
        const { memoryMiB, cpus } = machineCapacity(paths.cache);
        const why = whyWait(mine, tickets(dir, path), { memoryMiB, cpus });
        if (why !== undefined) wait(why);
        write(true);
      },
      { signal: options.signal, every: milliseconds(50) },
    );
  } catch (error) {
    release();
    throw error;
  }
  return { release, [Symbol.dispose]: release };
}

/** The living owners' tickets but one; dead ones are removed. */
function tickets(dir: string, except: string): Ticket[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    if (!name.endsWith(".json") || path === except) return [];
    try {
      const ticket = JSON.parse(readFileSync(path, "utf8")) as Ticket;
      if (isAlive(ticket.owner)) return [ticket];
      rmSync(path, { force: true });
    } catch {
      // given back while we looked
    }
    return [];
  });
}
