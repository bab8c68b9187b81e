import { existsSync } from "node:fs";
import { KpiError } from "../core/errors.ts";
import type { RunningLab } from "./lab.ts";

/** What a rule or a jump matches, in the words of its program. */
export type Match = readonly string[];

/**
 * The programs that drop. ebtables sees every frame between two guests, ARP too; iptables sees IPv4 packets: those for the
 * lab itself, and by br_netfilter also those that the bridge only passes on.
 */
const programs = {
  ebtables: { table: [], list: (chain: string) => ["-L", chain, "--Lc"], count: /pcnt = (\d+)/g },
  iptables: {
    table: ["-t", "mangle"],
    list: (chain: string) => ["-nvxL", chain],
    count: /^ *(\d+) +\d+ DROP /gm,
  },
} as const;

const bridgedToIptables = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/** Rules in a lab's own network which drop packets: a chain of their own, so that drops can be counted and rules be removed exactly. */
export class PacketRules {
  /** `jumps`: the hooks from which the chain is reached, each with what it takes (`["PREROUTING", "-s", address]`). `id` tells the chain from all others of the lab, 24 characters at most. */
  constructor(
    private readonly lab: RunningLab,
    private readonly program: keyof typeof programs,
    private readonly jumps: readonly Match[],
    private readonly id: string,
  ) {}

  private get chain(): string {
    return `kpi-${this.id}`;
  }

  /** Makes the chain, and only when it is whole jumps to it, before everything that is there. */
  async add(drops: readonly Match[]): Promise<void> {
    if (this.program === "iptables") await this.showBridged();
    await this.call(["-N", this.chain]);
    for (const match of drops) await this.call(["-A", this.chain, ...match, "-j", "DROP"]);
    for (const [hook = "", ...match] of this.jumps) await this.call(["-I", hook, ...match, "-j", this.chain]);
  }

  /** How many packets they have dropped. */
  async dropped(): Promise<number> {
    const { list, count } = programs[this.program];
    const { stdout } = await this.call(list(this.chain));
    return [...stdout.matchAll(count)].reduce((sum, [, packets]) => sum + Number(packets), 0);
  }

  /** Removes whatever of them is there, also what a killed `add` left. */
  async remove(): Promise<void> {
    for (const [hook = "", ...match] of this.jumps) await this.call(["-D", hook, ...match, "-j", this.chain], anyCode);
    await this.call(["-F", this.chain], anyCode);
    await this.call(["-X", this.chain], anyCode);
    if ((await this.call(programs[this.program].list(this.chain), anyCode)).code !== 0) return;
    throw new KpiError("contract", `${this.program} did not remove chain ${this.chain}`, {
      hint: `kpi down removes lab ${this.lab.name} with all its rules`,
    });
  }

  private async showBridged(): Promise<void> {
    if (!existsSync(bridgedToIptables)) {
      throw new KpiError("host", "this machine's kernel does not show bridged packets to iptables", {
        hint: "modprobe br_netfilter",
      });
    }
    await this.lab.enter("tee", [bridgedToIptables], { input: "1" });
  }

  private call(args: readonly string[], accept: readonly number[] = [0]) {
    const { table } = programs[this.program];
    return this.lab.enter(this.program, [...table, ...args], { accept, hint: "apt-get install iptables" });
  }
}

const anyCode = Array.from({ length: 256 }, (_, code) => code);
