import { notYet, until } from "../core/deadline.ts";
import { type Duration, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { type CommandResult, run } from "./exec.ts";

/** Asked within one command: the agent in an emulated guest that has just been woken is slow. */
const agentLimit = seconds(20);

/**
 * The domains of one libvirt as machines that are paused, saved, restored and told the time. Paths are the hypervisor's.
 * Every call throws a `command` error when libvirt, or the guest's agent, does not answer or refuses.
 */
export class Machines {
  constructor(
    readonly uri: string,
    private readonly signal?: AbortSignal,
  ) {}

  /** Stops a machine's CPUs where they are. Its disks are flushed to their files. */
  async pause(domain: string): Promise<void> {
    await this.virsh(["suspend", domain]);
  }

  /** Lets a machine go on that may be paused, or being saved. For it, no time has passed. Throws a `deadline` error when it is still held after `limit`. */
  async resume(domain: string, limit: Duration = minutes(3)): Promise<void> {
    const what = `libvirt does not let ${domain} go on`;
    const attempt = async () => {
      const { code, stderr } = await this.virsh(["resume", domain], seconds(60), [0, 1]);
      if (code === 0 || stderr.includes("already running")) return;
      if (!stderr.includes("cannot acquire state change lock"))
        throw new KpiError("command", what, { details: stderr.split("\n") });
      await this.virsh(["domjobabort", domain], seconds(30), [0, 1]); // what was saving it is gone
      notYet(stderr);
    };
    await until(what, limit, attempt, this.signal === undefined ? {} : { signal: this.signal });
  }

  /**
   * Writes the memory and devices of a paused machine to a file that `restore` takes, in the format of the driver's
   * `snapshot_image_format`. The machine stays paused and keeps its disks: libvirt calls it a snapshot of memory only.
   */
  async saveMemory(domain: string, path: string, disks: readonly string[], timeout: Duration): Promise<void> {
    const none = disks.flatMap((target) => ["--diskspec", `${target},snapshot=no`]);
    const memory = ["--memspec", `file=${path},snapshot=external`];
    await this.virsh(["snapshot-create-as", domain, "--no-metadata", ...memory, ...none], timeout);
  }

  /** Makes a machine of a saved memory, paused at the very instruction. */
  async restorePaused(path: string, timeout: Duration): Promise<void> {
    await this.virsh(["restore", path, "--paused"], timeout);
  }

  /** Makes a domain known that does not run, so that it can be started when it is switched off. */
  async define(xmlPath: string): Promise<void> {
    await this.virsh(["define", xmlPath]);
  }

  /** The definition with which a domain would be started anew; with the secrets in it, were there any. */
  async inactiveXml(domain: string): Promise<string> {
    return (await this.virsh(["dumpxml", domain, "--inactive", "--security-info"])).stdout;
  }

  /** The definition of a storage pool. */
  async poolXml(pool: string): Promise<string> {
    return (await this.virsh(["pool-dumpxml", pool, "--inactive"])).stdout;
  }

  /** Makes a storage pool known and active; its directory must exist. */
  async openPool(pool: string, xmlPath: string): Promise<void> {
    await this.virsh(["pool-define", xmlPath]);
    await this.virsh(["pool-start", pool]);
  }

  /**
   * Sets a machine's clock to this machine's through its agent (guest-set-time). The agent sets the system's time first, and then
   * the hardware's by a program (hwclock) that a small guest lacks: a complaint about that alone is no failure.
   */
  async setClock(domain: string): Promise<void> {
    const stoppable = this.signal === undefined ? {} : { signal: this.signal };
    const attempt = async () => {
      const time = BigInt(Date.now()) * 1_000_000n;
      const set = `{"execute":"guest-set-time","arguments":{"time":${time}}}`;
      const command = ["qemu-agent-command", domain, set, "--timeout", String(agentLimit / 1_000)];
      const { code, stderr } = await this.virsh(command, agentLimit, [0, 1]);
      if (code === 0 || stderr.includes("failed to set hardware clock")) return;
      // libvirt may hear only a moment after a restore that the agent's channel is open.
      if (stderr.includes("agent is not connected")) notYet(stderr);
      throw new KpiError("command", `the clock of ${domain} cannot be set`, { details: stderr.split("\n") });
    };
    await until(`the clock of ${domain} cannot be set`, agentLimit, attempt, stoppable);
  }

  /** Lets a machine go on, and sets its clock, which stood still with it, before anything in it asks for the time. */
  async goOn(domain: string): Promise<void> {
    await this.resume(domain);
    await this.setClock(domain);
  }

  private virsh(
    args: readonly string[],
    timeout: Duration = seconds(30),
    accept: readonly number[] = [0],
  ): Promise<CommandResult> {
    const stoppable = this.signal === undefined ? {} : { signal: this.signal };
    const options = { timeout, accept, ...stoppable };
    return run("virsh", ["--quiet", "-c", this.uri, ...args], options);
  }
}
