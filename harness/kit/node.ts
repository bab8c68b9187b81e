import { notYet, until } from "../core/deadline.ts";
import { type Duration, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { NodePlan } from "../core/plan.ts";
import { shellQuote } from "../tools/exec.ts";
import type { NodeConnection } from "../tools/ssh.ts";

/** A planned node, and what a claim can do on it. Everything runs as root. */
export interface NodeHandle extends NodePlan {
  /** Standard output of a command that must end with 0. */
  succeed(command: string, options?: NodeCall): Promise<string>;
  /** Standard output and error of a command that must not end with 0. */
  fail(command: string, options?: NodeCall): Promise<string>;
  /** Waits until the unit is active; gives up at once when it has failed, or has stopped and nobody is starting it. */
  waitForUnit(unit: string, deadline?: Duration): Promise<void>;
  /** Waits until something listens on this TCP port of the node. */
  waitForPort(port: number, deadline?: Duration): Promise<void>;
  readFile(path: string): Promise<string>;
  /** Another one after each boot. */
  bootId(): Promise<string>;
  /** The unit's journal of this boot, newest lines last. */
  journal(unit: string, lines?: number): Promise<string>;
}

export interface NodeCall {
  /** A minute unless said otherwise. */
  readonly timeout?: Duration;
}

const anyCode = Array.from({ length: 256 }, (_, code) => code);

/** The vocabulary of a node of the cluster in `lab` over a connection that is opened when it is first needed. */
export function nodeHandle(plan: NodePlan, lab: string, connect: () => Promise<NodeConnection>): NodeHandle {
  const root = async (command: string, { timeout = minutes(1) }: NodeCall = {}) => {
    const connection = await connect();
    return connection.exec(shellQuote(["sudo", "-n", "sh", "-c", command]), { timeout, accept: anyCode });
  };
  const wrong = (what: string, command: string, text: string) =>
    new KpiError("claim", `${plan.name}: ${what}`, {
      command: shellQuote(["kpi", "ssh", "--lab", lab, plan.name, "--", "sudo", "sh", "-c", command]),
      details: text.trim() === "" ? [] : text.trim().split("\n").slice(-12),
    });
  const handle: NodeHandle = {
    ...plan,
    async succeed(command, options) {
      const { code, stdout, stderr } = await root(command, options);
      if (code !== 0) throw wrong(`expected success, got exit code ${code}`, command, stderr || stdout);
      return stdout;
    },
    async fail(command, options) {
      const { code, stdout, stderr } = await root(command, options);
      if (code === 0) throw wrong("expected a failure, got exit code 0", command, stdout);
      return `${stdout}\n${stderr}`.trim();
    },
    async waitForUnit(unit, deadline = minutes(2)) {
      await until(`${plan.name}: ${unit} did not become active`, deadline, async () => {
        const properties = "LoadState,ActiveState,SubState,Result,Job";
        const state = await handle.succeed(`systemctl show ${shellQuote([unit])} -p ${properties}`);
        if (state.includes("ActiveState=active")) return;
        const journal = await handle.journal(unit, 8);
        const ended = endedUnit(state, journal);
        if (ended !== undefined) {
          throw new KpiError("claim", `${plan.name}: ${unit} ${ended}`, {
            got: state.trim().replaceAll("\n", " "),
            details: journal.split("\n"),
            hint: `kpi logs --lab ${lab} ${plan.name} --unit ${unit}`,
          });
        }
        notYet(state.trim().replaceAll("\n", " "));
      });
    },
    async waitForPort(port, deadline = minutes(2)) {
      await until(`${plan.name}: nothing listens on port ${port}`, deadline, async () => {
        const open = await handle.succeed(`ss -Hlnt 'sport = :${port}'`);
        if (open.trim() === "") notYet("no listener");
      });
    },
    readFile: (path) => handle.succeed(`cat -- ${shellQuote([path])}`),
    bootId: async () => (await handle.readFile("/proc/sys/kernel/random/boot_id")).trim(),
    journal: (unit, lines = 50) =>
      handle.succeed(`journalctl -b -u ${shellQuote([unit])} -n ${lines} -o short-monotonic --no-pager`),
  };
  return handle;
}

/**
 * Why a unit that is not active will not become so by itself, by what `systemctl show` and its journal of this boot say of it;
 * undefined while it may. Pure.
 */
export function endedUnit(shown: string, journal: string): string | undefined {
  const of = (property: string) => new RegExp(`^${property}=(.*)$`, "m").exec(shown)?.[1] ?? "";
  if (of("ActiveState") === "failed") return "has failed";
  // One that never ran may still be started by something else, as k3s is during the first boot.
  // systemd forgets when a unit ran once nobody refers to it; the journal does not.
  const ran = /\bsystemd\[1\]: (Started|Stopped) /.test(journal);
  const queued = Number(of("Job") || 0) > 0;
  return of("ActiveState") === "inactive" && ran && !queued ? "has stopped" : undefined;
}

/** A node that can be asked nothing: where claims are judged on recorded observations. */
export function recordedNode(plan: NodePlan): NodeHandle {
  return nodeHandle(plan, "recorded", () => {
    throw new NotRecorded(plan.name);
  });
}

/** A claim wanted to act on a node while only recordings are there. */
export class NotRecorded extends Error {
  constructor(node: string) {
    super(`${node} is a recording: the claim acts on the node itself`);
  }
}

export const connectLimit = seconds(30);
