import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { diskFull, type Domain, parseDomains } from "./libvirt-domain.ts";
import { type DomainEvent, parseEvent } from "./libvirt-event.ts";
import { type CommandResult, run, shellQuote, start } from "./exec.ts";

export type { Domain } from "./libvirt-domain.ts";
export type { DomainEvent } from "./libvirt-event.ts";

/** A volume of a storage pool. The path is the hypervisor's. */
export interface Volume {
  readonly pool: string;
  readonly name: string;
  readonly path: string;
}

/** A libvirt, reached by its URI through virsh. Every call throws a `command` error when libvirt does not answer or refuses. */
export class Libvirt {
  constructor(readonly uri: string) {}

  /** All domains, running or not. One that is paused because a disk is full says so in `lost`. */
  async domains(signal?: AbortSignal): Promise<Domain[]> {
    const stats = await this.virsh(["domstats", "--state", "--balloon", "--block", "--nowait"], signal);
    const domains = parseDomains(stats.stdout);
    return Promise.all(domains.map((domain) => this.explain(domain, signal)));
  }

  /** One domain, or undefined when libvirt does not know it. */
  async domain(name: string, signal?: AbortSignal): Promise<Domain | undefined> {
    return (await this.domains(signal)).find((domain) => domain.name === name);
  }

  /** A domain's full definition as it runs. */
  async dumpXml(domain: string, signal?: AbortSignal): Promise<string> {
    return (await this.virsh(["dumpxml", domain], signal)).stdout;
  }

  /** Whether the guest's agent has its end of the channel open, as QEMU sees it: the agent itself is not asked. */
  async agentConnected(domain: string, signal?: AbortSignal): Promise<boolean> {
    return /name='org\.qemu\.guest_agent\.0' state='connected'/.test(await this.dumpXml(domain, signal));
  }

  /** Switches a domain on. */
  async start(domain: string, signal?: AbortSignal): Promise<void> {
    await this.virsh(["start", domain], signal);
  }

  /** Takes a domain's power away: nothing in the guest hears of it. Its definition and disks stay. */
  async powerOff(domain: string, signal?: AbortSignal): Promise<void> {
    await this.virsh(["destroy", domain], signal);
  }

  /** Stops a domain's CPUs where they are. */
  async suspend(domain: string, signal?: AbortSignal): Promise<void> {
    await this.virsh(["suspend", domain], signal);
  }

  async resume(domain: string, signal?: AbortSignal): Promise<void> {
    await this.virsh(["resume", domain], signal);
  }

  /** Plugs or unplugs the cable of the interface with this MAC address. */
  async setLink(domain: string, mac: string, state: "up" | "down", signal?: AbortSignal): Promise<void> {
    await this.virsh(["domif-setlink", domain, mac, state], signal);
  }

  /**
   * Sends one command to the guest's agent, which answers without any network; gives what its `return` holds. Undefined
   * while no agent answers: the domain is off or paused, or the guest is booting. `unanswered` is given instead where an agent may have
   * taken the command all the same.
   */
  async agent(domain: string, command: object, signal?: AbortSignal, unanswered?: unknown): Promise<unknown> {
    const args = ["qemu-agent-command", domain, JSON.stringify(command), "--timeout", "10"];
    const { code, stdout, stderr } = await this.virsh(args, signal, [0, 1]);
    if (code === 0) return (JSON.parse(stdout) as { return: unknown }).return;
    const silence = agentSilence(stderr);
    if (silence !== undefined) return silence === "unanswered" ? unanswered : undefined;
    throw new KpiError("command", `the guest agent of ${domain} refused`, { details: stderr.split("\n") });
  }

  /**
   * Reads a domain's serial console, line by line and from now on, until it is switched off, somebody takes the console by force, or abort.
   * Rejects where the domain does not run or its console is taken already. virsh talks to a terminal only: `script` (util-linux) is one.
   */
  async console(domain: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    let connected = false;
    await run(
      "script",
      [
        "--quiet",
        "--return",
        "--flush",
        "--command",
        shellQuote(["virsh", "-c", this.uri, "console", domain]),
        "/dev/null",
      ],
      {
        onLine(line) {
          if (connected) onLine(line);
          connected ||= line.startsWith("Escape character is"); // all before is virsh's own
        },
        holdInput: true,
        tied: true,
        grace: seconds(1),
        signal,
      },
    );
  }

  /** Names of all storage pools, active or not. */
  async pools(signal?: AbortSignal): Promise<string[]> {
    return (await this.virsh(["pool-list", "--all", "--name"], signal)).stdout
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
  }

  /** The volumes of an active pool; an inactive one has none to show. */
  async volumes(pool: string, signal?: AbortSignal): Promise<Volume[]> {
    const { code, stdout, stderr } = await this.virsh(["vol-list", pool], signal, [0, 1]);
    if (code === 0) return stdout.split("\n").flatMap((line) => volume(pool, line));
    if (/not active/.test(stderr)) return [];
    throw new KpiError("command", `virsh cannot list the volumes of pool ${pool}`, { details: stderr.split("\n") });
  }

  /**
   * What happens to domains from now on, as it happens. Ends with a `command` error when libvirt goes away, and with the
   * abort's reason. Leaving the loop ends the program behind it.
   */
  async *events(signal?: AbortSignal): AsyncGenerator<DomainEvent, void, void> {
    const queue: DomainEvent[] = [];
    let wake = Promise.withResolvers<void>();
    const onLine = (line: string, from: "stdout" | "stderr") => {
      const event = from === "stdout" ? parseEvent(line) : undefined;
      if (event === undefined) return;
      queue.push(event);
      wake.resolve();
    };
    const options = { onLine, tied: true, grace: seconds(1), ...(signal === undefined ? {} : { signal }) };
    await using virsh = start("virsh", ["-c", this.uri, "event", "--all", "--loop", "--timestamp"], options);
    const ended = virsh.done.then(() => {
      throw new KpiError("command", "libvirt's events ended", { command: `virsh -c '${this.uri}' event --all --loop` });
    });
    ended.catch(() => {}); // seen below, unless the loop is left first
    for (;;) {
      await Promise.race([wake.promise, ended]);
      wake = Promise.withResolvers<void>();
      yield* queue.splice(0);
    }
  }

  /** domstats says that an I/O error paused a domain, and only domblkerror says which disk and why. */
  private async explain(domain: Domain, signal?: AbortSignal): Promise<Domain> {
    if (domain.reason !== "ioerror") return domain;
    const { stdout } = await this.virsh(["domblkerror", domain.name], signal, [0, 1]);
    const full = domain.disks.filter(({ target }) => stdout.includes(`${target}: no space`));
    if (full.length === 0) return domain;
    return { ...domain, ...diskFull(full.map(({ path }) => path).join(", ")) };
  }

  private virsh(
    args: readonly string[],
    signal?: AbortSignal,
    accept: readonly number[] = [0],
  ): Promise<CommandResult> {
    const options = { accept, timeout: seconds(30), ...(signal === undefined ? {} : { signal }) };
    return run("virsh", ["--quiet", "-c", this.uri, ...args], options);
  }
}

/**
 * What libvirt's words for an agent that does not answer mean: before each command it has the agent answer a ping (guest-sync), so most
 * have not been told it. Undefined for any other complaint. Pure.
 */
export function agentSilence(stderr: string): "untold" | "unanswered" | undefined {
  if (/agent.*not connected|respond to synchroni[sz]ation|due to an error|domain is not running/i.test(stderr))
    return "untold";
  const silent = /agent.*(not respond|unavailable|not available|failed|disappeared)|timed out/i;
  return silent.test(stderr) ? "unanswered" : undefined;
}

function volume(pool: string, line: string): Volume[] {
  const [name = "", path = ""] = line.trim().split(/ {2,}/);
  return path.startsWith("/") ? [{ pool, name, path }] : [];
}
