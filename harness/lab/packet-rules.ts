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
  // Somebody else who changes the rules is waited for; ebtables of nftables needs no such lock, and takes the word.
  ebtables: {
    always: ["--concurrent"],
    all: ["-L"],
    chains: /^Bridge chain: ([^,]+),/gm,
    list: (chain: string) => ["-L", chain, "--Lc"],
    count: /pcnt = (\d+)/g,
  },
  iptables: {
    always: ["-w", "10", "-t", "mangle"],
    all: ["-S"],
    chains: /^-N (\S+)$/gm,
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

  /**
   * Removes whatever of them is there, also what a killed `add` left. That the chain is gone is seen in a list of all, so what is said to
   * each step need not be understood; a list that fails is an error. A lab that has ended has taken its rules along.
   */
  async remove(): Promise<void> {
    try {
      if (!(await this.isThere())) return;
      const jumps = this.jumps.map(([hook = "", ...match]) => ["-D", hook, ...match, "-j", this.chain]);
      const said: string[] = [];
      for (const step of [...jumps, ["-F", this.chain], ["-X", this.chain]])
        said.push((await this.call(step, anyCode)).stderr);
      if (!(await this.isThere())) return;
      throw new KpiError("contract", `${this.program} did not remove chain ${this.chain}`, {
        details: said
          .join("\n")
          .split("\n")
          .filter((line) => line !== ""),
        hint: `kpi down removes lab ${this.lab.name} with all its rules`,
      });
    } catch (error) {
      if (this.lab.runs) throw error;
    }
  }

  private async isThere(): Promise<boolean> {
    const { all, chains } = programs[this.program];
    const { stdout } = await this.call(all);
    return [...stdout.matchAll(chains)].some(([, chain]) => chain === this.chain);
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
    const { always } = programs[this.program];
    return this.lab.enter(this.program, [...always, ...args], { accept, hint: "apt-get install iptables" });
  }
}

const anyCode = Array.from({ length: 256 }, (_, code) => code);
