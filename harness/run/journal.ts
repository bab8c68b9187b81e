import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "../core/plan.ts";
import type { FaultSpec } from "../core/fault-spec.ts";
import { entries } from "../tools/directory.ts";
import type { Manifest } from "../tools/kube.ts";
import { isAlive, type Owner, ownerNamed, ownName, thisOwner } from "../tools/owner.ts";
import { readSound, writeWhole } from "../tools/whole-file.ts";

/** What is about to be made (or broken), said before it is, so that it can be unmade (or healed) when its maker dies. */
export type Intent =
  | { readonly kind: "cluster"; readonly cluster: string; readonly host: Host }
  /** A cluster whose nodes may stand still, and the directory that a checkpoint of it is made in. */
  | { readonly kind: "checkpoint"; readonly cluster: string; readonly path: string }
  | { readonly kind: "path"; readonly path: string }
  /** A state directory of a test's own, with whatever runs from it. */
  | { readonly kind: "state"; readonly path: string }
  | { readonly kind: "fault"; readonly cluster: string; readonly id: string; readonly fault: FaultSpec }
  /** Objects in a cluster that goes on, by their names. */
  | { readonly kind: "objects"; readonly cluster: string; readonly objects: readonly Manifest[] };

export interface JournalEntry {
  readonly id: string;
  readonly at: string;
  readonly owner: Owner;
  readonly intent: Intent;
}

/** An intent of this process that is on disk. Settle it when the thing is finished and may stay, or is gone. */
export interface Declared extends Disposable {
  settle(): void;
}

const journalDir = (state: string) => join(state, "journal");

let ending: Error | undefined;

/** From now on this process makes nothing new: whatever it would declare fails for this reason. */
export function declareNoMore(why: Error): void {
  ending = why;
}

/** Whether this process is about to end. */
export const isEnding = (): boolean => ending !== undefined;

/** Writes the intent, whole or not at all, before anything of it exists. */
export function declare(state: string, intent: Intent): Declared {
  if (ending !== undefined) throw ending;
  const owner = thisOwner();
  const id = ownName();
  const path = join(journalDir(state), `${id}.json`);
  const entry: JournalEntry = { id, at: new Date().toISOString(), owner, intent };
  writeWhole(path, JSON.stringify(entry));
  const settle = () => rmSync(path, { force: true });
  return { settle, [Symbol.dispose]: settle };
}

/** Everything that is declared, by the living and the dead. */
export function declared(state: string): JournalEntry[] {
  const dir = journalDir(state);
  return entries(dir).flatMap((name) =>
    name.endsWith(".json") ? (readSound<JournalEntry>(join(dir, name)) ?? []) : [],
  );
}

/** What this process has declared and not settled. */
export function ownEntries(state: string): JournalEntry[] {
  const { pid, start } = thisOwner();
  return declared(state).filter(({ owner }) => owner.pid === pid && owner.start === start);
}

/** The entries whose maker is dead: what it was making is to be unmade. Torn files (a death while declaring) are removed: nothing had been made. */
export function orphans(state: string): JournalEntry[] {
  const dir = journalDir(state);
  return entries(dir).flatMap((name) => {
    const path = join(dir, name);
    const entry = name.endsWith(".json") ? readSound<JournalEntry>(path) : undefined;
    if (entry !== undefined) return isAlive(entry.owner) ? [] : [entry];
    const maker = ownerNamed(name);
    if (maker === undefined || !isAlive(maker)) rmSync(path, { force: true });
    return [];
  });
}

/** Forgets that a cluster was to be unmade, whoever said so: it has been. For whoever holds the cluster. */
export function forgetCluster(state: string, name: string): void {
  for (const entry of declared(state))
    if (entry.intent.kind === "cluster" && entry.intent.cluster === name) forget(state, entry);
}

/** Removes an entry after what it declares has been unmade, of a maker that is dead or about to end. */
export function forget(state: string, entry: JournalEntry): void {
  rmSync(join(journalDir(state), `${entry.id}.json`), { force: true });
}
