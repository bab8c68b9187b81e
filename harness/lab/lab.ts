import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ticks } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { entries } from "../tools/directory.ts";
import { type CommandResult, run, type RunOptions } from "../tools/exec.ts";
import type { Proxy } from "../tools/tunnel.ts";
import { readSound } from "../tools/whole-file.ts";
import type { LabOptions, LabRecord } from "./config.ts";
import { destroyLab, isLabDir } from "./destroy.ts";
import { checkLabDir, labLayout, type LabPath } from "./layout.ts";
import { prepareLab } from "./prepare.ts";
import { isSame, type LabIdentity, labProcesses } from "./process.ts";
import { labUri, launch } from "./launch.ts";

export type { LabNetwork, LabOptions } from "./config.ts";
export { destroyLab, isLabDir, stopLab } from "./destroy.ts";
export type { LabPath } from "./layout.ts";

export interface LabWatch extends Disposable {
  /** Aborted, with a `host` error, when the lab has ended, whoever ended it. */
  readonly ended: AbortSignal;
}

/** A lab that is up. Disposing it destroys it; forgetting it leaves it running. */
export interface RunningLab extends AsyncDisposable {
  readonly name: string;
  readonly dir: string;
  /** Its init, as the host numbers it. */
  readonly pid: number;
  /** Of its libvirtd; works for virsh and for Terraform, on this machine, as this user. */
  readonly uri: string;
  /** The way to its guests. */
  readonly proxy: Proxy;
  readonly poolDir: LabPath;
  readonly consoleDir: LabPath;
  /** Where its daemons log; the first is the one to look at. */
  readonly logs: readonly string[];
  /** Runs a program inside all of its namespaces; it dies with the lab, and with an abort or timeout. */
  enter(command: string, args: readonly string[], options?: RunOptions): Promise<CommandResult>;
  /** Whether it still does, now. */
  readonly runs: boolean;
  /** Looks each second, until disposed of, whether it still runs. */
  watch(): LabWatch;
  /** Kills everything in it and removes its directory. */
  destroy(): Promise<void>;
}

/**
 * Starts a lab and resolves when libvirtd answers with its network, and file server and proxy listen. Throws a `host` error
 * when this machine cannot hold it. When it fails or is aborted, all that was made is unmade and the first error thrown.
 */
export async function startLab(options: LabOptions): Promise<RunningLab> {
  checkLabDir(options.dir);
  if ((await openLab(options.dir)) !== undefined) {
    throw new KpiError("host", `lab ${options.name} is running already`, {
      got: options.dir,
      hint: "kpi down removes it",
    });
  }
  await destroyLab(options.dir);
  try {
    prepareLab(options);
    const identity = await launch(options);
    return new Lab(options.dir, readRecord(options.dir), identity);
  } catch (error) {
    await destroyLab(options.dir).catch(() => {}); // the first error is the one that counts; reap tries again
    throw error;
  }
}

/** The lab in this directory if it is up, and undefined if it is not: dead, half made, or no lab at all. */
export async function openLab(dir: string): Promise<RunningLab | undefined> {
  const identity = readSound<LabIdentity>(labLayout(dir).running);
  if (identity === undefined || !isSame(identity)) return undefined;
  return new Lab(dir, readRecord(dir), identity);
}

/** A lab on disk or in the process list. `half`: processes run, but it never came up or its files are gone. */
export interface FoundLab {
  readonly name: string;
  readonly dir: string;
  readonly state: "running" | "half" | "dead";
}

/** Every lab below the state directory: those with files and those with processes only. What else lies there (`lost+found`) is none. */
export function findLabs(stateDir: string): FoundLab[] {
  const root = join(stateDir, "labs");
  const alive = labProcesses()
    .map((found) => found.dir)
    .filter((dir) => dir.startsWith(`${root}/`));
  const dirs = new Set([...entries(root).map((name) => join(root, name)), ...alive]);
  return [...dirs]
    .filter(isLabDir)
    .sort()
    .map((dir) => {
      const identity = readSound<LabIdentity>(labLayout(dir).running);
      const running = identity !== undefined && isSame(identity);
      return { name: basename(dir), dir, state: running ? "running" : alive.includes(dir) ? "half" : "dead" };
    });
}

/** What is said of something that needed a lab which has ended meanwhile. */
export const labEnded = (name: string): KpiError => new KpiError("host", `lab ${name} has ended`);

class Lab implements RunningLab {
  readonly name: string;
  readonly pid: number;
  readonly uri: string;
  readonly proxy: Proxy;
  readonly poolDir: LabPath;
  readonly consoleDir: LabPath;
  readonly logs: readonly string[];

  constructor(
    readonly dir: string,
    record: LabRecord,
    private readonly identity: LabIdentity,
  ) {
    const layout = labLayout(dir);
    const port = readSound<{ port: number }>(layout.gateway)?.port;
    if (port === undefined) throw new KpiError("host", `lab ${record.name} has no proxy`, { evidence: [layout.log] });
    this.name = record.name;
    this.pid = identity.pid;
    this.uri = labUri(layout);
    const secret = readFileSync(layout.secret, "utf8").trim();
    this.proxy = { host: "127.0.0.1", port, user: record.user, secret, secretFile: layout.secret };
    this.poolDir = layout.pool;
    this.consoleDir = layout.console;
    this.logs = [layout.log, layout.libvirtLog, layout.dnsLog];
  }

  async enter(command: string, args: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    if (!this.runs) throw labEnded(this.name); // another process may have its pid by now
    const namespaces = ["--target", String(this.pid), "--mount", "--net", "--pid", "--wdns=/"];
    // nsenter passes no signals on; so what it runs dies with it, and takes all its own children along.
    const confined = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--pid", "--fork", "--kill-child=KILL"];
    return run("nsenter", [...namespaces, "--", ...confined, "--", command, ...args], options);
  }

  get runs(): boolean {
    return isSame(this.identity);
  }

  watch(): LabWatch {
    const over = new AbortController();
    const ended = new AbortController();
    const look = async () => {
      for await (const _ of ticks(seconds(1), over.signal)) if (!this.runs) return ended.abort(labEnded(this.name));
    };
    void look();
    return { ended: ended.signal, [Symbol.dispose]: () => over.abort() };
  }

  destroy(): Promise<void> {
    return destroyLab(this.dir);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }
}

function readRecord(dir: string): LabRecord {
  const record = readSound<LabRecord>(labLayout(dir).options);
  if (record === undefined)
    throw new KpiError("host", "the lab's own note is missing", {
      got: labLayout(dir).options,
      hint: "kpi reap removes what is left of it",
    });
  return record;
}
