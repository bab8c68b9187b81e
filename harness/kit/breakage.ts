import { minutes } from "../core/duration.ts";
import { awaitSystemPods } from "../run/watch.ts";
import type { DeclaredClaim } from "./claims.ts";
import type { NodeHandle } from "./node.ts";
import type { SeenAt } from "./observers.ts";
import type { ForkedCluster, OpenFork } from "./scenario.ts";
import { type Refusal, refusals } from "./teeth.ts";

/** What is done to a real cluster: a command as root on the breakage's node, or anything else. */
type Act = string | ((fork: ForkedCluster, node: NodeHandle) => Promise<unknown>);

/** One thing that is really broken, and the claims that must fail for it, each with what it must say. */
export interface Breakage {
  /** In the words of somebody who would report it. */
  readonly what: string;
  /** Where. Claims on each node must fail for this node and for no other. */
  readonly on: string;
  readonly how: Act;
  readonly heal: Act;
  readonly kills: Readonly<Record<string, RegExp>>;
  /** Claims that may or may not fail, by chance. */
  readonly perhaps?: readonly string[];
}

/** Breakages that are made together, so that one look sees them all: on different nodes, or not in each other's way. */
export interface Round {
  readonly looks: readonly (keyof SeenAt)[];
  readonly breakages: readonly Breakage[];
}

/** A claim that failed in a round. */
export interface Failed extends Refusal {
  readonly title: string;
}

/** Rounds on one fork, each at most once and only when somebody asks. */
export class BreakingFork implements AsyncDisposable {
  #fork: Promise<OpenFork> | undefined;
  readonly #rounds = new Map<Round, Promise<readonly Failed[]>>();

  constructor(
    private readonly open: () => Promise<OpenFork>,
    private readonly claims: readonly DeclaredClaim[],
    private readonly say: (line: string) => void,
  ) {}

  /** Breaks, looks, heals, and judges every claim of what was looked at. */
  failures(round: Round): Promise<readonly Failed[]> {
    const running = this.#rounds.get(round) ?? this.#run(round);
    this.#rounds.set(round, running);
    return running;
  }

  async #run({ looks, breakages }: Round): Promise<readonly Failed[]> {
    this.#fork ??= this.open();
    const fork = await this.#fork;
    // All to their end, whatever one of them says: what is still being broken cannot be healed.
    const all = async (kind: "how" | "heal") => {
      const acts = await Promise.allSettled(breakages.map((each) => act(fork, each[kind], each.on)));
      for (const ended of acts) if (ended.status === "rejected") throw ended.reason;
    };
    const times = [performance.now()];
    const lap = () => times.push(performance.now());
    let seen: Partial<SeenAt>;
    try {
      await all("how");
      lap();
      seen = await fork.look(looks);
      lap();
    } catch (error) {
      await all("heal").catch(() => {}); // why it could not be broken or looked at is what counts
      throw error;
    }
    await all("heal");
    await settled(fork);
    lap();
    const [broken, looked, healed] = times.slice(1).map((at, index) => ((at - (times[index] ?? 0)) / 1_000).toFixed(1));
    this.say(`${breakages.length} broken in ${broken} s, looked at in ${looked} s, healed in ${healed} s`);
    const failed: Failed[] = [];
    const handles = fork.running.plan.nodes.map(({ name }) => fork.node(name));
    for (const claim of this.claims) {
      const of = seen[claim.stage as keyof SeenAt];
      if (of === undefined) continue;
      const found = await refusals(claim, of, fork.running.plan, handles);
      failed.push(...found.map((refusal) => ({ title: claim.title, ...refusal })));
    }
    for (const { what, on, kills } of breakages) {
      const titles = failed.filter(({ title, node = on }) => node === on && title in kills).map(({ title }) => title);
      this.say(`  ${what} (${on}): ${titles.join("; ")}`);
    }
    return failed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#fork?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}

/** Until the cluster is as it was: what a round has left would be found by the next one. */
async function settled({ kube, running }: ForkedCluster): Promise<void> {
  const deadline = minutes(3);
  await kube.waitForNodes(
    running.plan.nodes.map(({ name }) => name),
    { deadline },
  );
  await awaitSystemPods(running.access, { deadline });
}

async function act(fork: ForkedCluster, how: Act, on: string): Promise<unknown> {
  const node = fork.node(on);
  return typeof how === "string" ? node.succeed(`set -e\n${how}`) : how(fork, node);
}

/** What a breakage got and did not get of the claims it names; empty when they did as it says. Pure. */
export function unnoticed({ kills, on }: Breakage, failed: readonly Failed[]): string[] {
  return Object.entries(kills).flatMap(([title, pattern]) => {
    const refused = failed.filter((each) => each.title === title && (each.node ?? on) === on);
    if (refused.length === 0) return [`"${title}" holds`];
    return refused.some(({ said }) => pattern.test(said))
      ? []
      : [`"${title}" fails, but does not say ${pattern}: ${refused.map(({ said }) => said).join("; ")}`];
  });
}

/** The claims that failed in a round although nothing that was broken touches them. Pure. */
export function unasked({ breakages }: Round, failed: readonly Failed[]): string[] {
  const asked = ({ title, node }: Failed) =>
    breakages.some(({ on, kills, perhaps = [] }) => (node ?? on) === on && (title in kills || perhaps.includes(title)));
  return failed
    .filter((each) => !asked(each))
    .map(({ title, node, said }) => `${title} (${node ?? "cluster"}): ${said}`);
}
