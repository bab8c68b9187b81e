import { notYet, until } from "../core/deadline.ts";
import { type Duration, formatDuration, milliseconds, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { type CommandResult, shellQuote } from "./exec.ts";
import type { Libvirt } from "./libvirt.ts";

export interface GuestExecOptions {
  /** Bounds the whole call, the wait for an agent that does not answer yet included; 30 s unless said otherwise. */
  readonly timeout?: Duration;
  readonly signal?: AbortSignal;
  /** Exit codes that are no failure; `[0]` unless said otherwise. */
  readonly accept?: readonly number[];
}

/**
 * Runs commands in a guest as root through its agent (QEMU Guest Agent protocol, over virtio-serial): it needs no network
 * and no key, so it works on a node whose network is broken on purpose. Does not answer while the domain is off or paused.
 */
export class GuestAgent {
  constructor(
    private readonly libvirt: Libvirt,
    private readonly domain: string,
  ) {}

  /** Whether it answers now. */
  async answers(signal?: AbortSignal): Promise<boolean> {
    return (await this.libvirt.agent(this.domain, { execute: "guest-ping" }, signal)) !== undefined;
  }

  /**
   * Runs a shell script to its end; errors as `run` of exec.ts. After a timeout the command goes on in the guest. It is sent again when no
   * answer to it came, so it may be run twice: write it so that this does no harm.
   */
  async sh(script: string, options: GuestExecOptions = {}): Promise<CommandResult> {
    const { timeout = seconds(30), signal, accept = [0] } = options;
    const began = performance.now();
    const stoppable = signal === undefined ? {} : { signal };
    const pasteable = `virsh -c ${shellQuote([this.libvirt.uri])} qemu-agent-command ${this.domain} …`;
    const start = {
      execute: "guest-exec",
      arguments: { path: "/bin/sh", arg: ["-c", script], "capture-output": true },
    };
    let pid: number | undefined;
    const status = await until(
      `the guest agent of ${this.domain} did not run a command`,
      timeout,
      async (stop) => {
        pid ??= ((await this.libvirt.agent(this.domain, start, stop)) as { pid: number } | undefined)?.pid;
        if (pid === undefined) notYet("the agent does not answer");
        const asked = { execute: "guest-exec-status", arguments: { pid } };
        const found = (await this.libvirt.agent(this.domain, asked, stop)) as ExecStatus | undefined;
        if (found === undefined) notYet("the agent has stopped answering");
        return found.exited ? found : notYet(`it runs for ${formatDuration(performance.now() - began)}`);
      },
      { ...stoppable, details: [script], hint: `kpi console ${this.domain}` },
    );
    const result = {
      code: status.exitcode ?? 128 + (status.signal ?? 0),
      stdout: decode(status["out-data"]),
      stderr: decode(status["err-data"]),
      elapsed: milliseconds(performance.now() - began),
    };
    if (accept.includes(result.code)) return result;
    throw new KpiError("command", `a command in ${this.domain} ended with exit code ${result.code}`, {
      command: pasteable,
      details: [script, ...(result.stderr || result.stdout).trim().split("\n").slice(-8)],
    });
  }

  /** Starts a shell script that may take the agent down with it; resolves when the agent has taken it, or may have: it is never run twice. */
  async begin(script: string, signal?: AbortSignal): Promise<void> {
    const start = { execute: "guest-exec", arguments: { path: "/bin/sh", arg: ["-c", script] } };
    await until(
      `the guest agent of ${this.domain} did not take a command`,
      seconds(30),
      async (stop) =>
        (await this.libvirt.agent(this.domain, start, stop, "perhaps")) ?? notYet("the agent does not answer"),
      { ...(signal === undefined ? {} : { signal }), details: [script], hint: `kpi console ${this.domain}` },
    );
  }

  /** How far the guest's clock is ahead of this machine's, in milliseconds; exact to half the time that asking takes, some 100 ms. */
  async clockOffset(signal?: AbortSignal): Promise<number> {
    return until(
      `the clock of ${this.domain} could not be read`,
      seconds(30),
      async (stop) => {
        const before = Date.now();
        const nanoseconds = await this.libvirt.agent(this.domain, { execute: "guest-get-time" }, stop);
        if (typeof nanoseconds !== "number") return notYet("the agent does not answer");
        return nanoseconds / 1e6 - (before + Date.now()) / 2;
      },
      signal === undefined ? {} : { signal },
    );
  }

  /** Sets the guest's clock to this machine's, plus an offset in milliseconds, and checks it: right to a second. */
  async setClock(offset: number, signal?: AbortSignal): Promise<void> {
    await until(
      `the clock of ${this.domain} could not be set`,
      seconds(60),
      async (stop) => {
        const asked = { signal: stop, timeout: seconds(20) };
        await this.sh(`date -u -s @${((Date.now() + offset) / 1_000).toFixed(3)}`, asked);
        const seen = await this.clockOffset(stop);
        if (Math.abs(seen - offset) > 1_000) notYet(`it is off by ${Math.round(seen)} ms, wanted ${offset} ms`);
      },
      signal === undefined ? {} : { signal },
    );
  }

  /** The kernel's id of this boot; undefined while the agent does not answer, or when it stops answering halfway. */
  async bootId(signal?: AbortSignal): Promise<string | undefined> {
    if (!(await this.answers(signal))) return undefined;
    const asked = { timeout: seconds(10), ...(signal === undefined ? {} : { signal }) };
    try {
      return (await this.sh("cat /proc/sys/kernel/random/boot_id", asked)).stdout.trim();
    } catch (error) {
      if (error instanceof KpiError && error.kind === "deadline") return undefined;
      throw error;
    }
  }
}

interface ExecStatus {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly signal?: number;
  readonly "out-data"?: string;
  readonly "err-data"?: string;
}

const decode = (base64: string | undefined): string =>
  Buffer.from(base64 ?? "", "base64")
    .toString("utf8")
    .replace(/\n$/, "");
