import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { minutes } from "./core/duration.ts";
import { kpiPaths, projectRoot } from "./core/paths.ts";
import { extendExpect } from "./kit/matchers.ts";
import { readSpecs } from "./kit/spec-nodes.ts";
import { giveWay } from "./kit/use-cluster.ts";
import { clusterNames } from "./run/cluster.ts";
import { type Declared, declare } from "./run/journal.ts";
import { type CommandResult, type RunningCommand, run, type RunOptions, start } from "./tools/exec.ts";

export { type Judgement, judgeBudget, renderJudgement } from "./core/calibration.ts";
export { notYet, until } from "./core/deadline.ts";
export { milliseconds, minutes, seconds } from "./core/duration.ts";
export { type Access, openAccess } from "./run/access.ts";
export { knownBinary } from "./run/binary.ts";
export { ClusterDir } from "./run/cluster.ts";
export { type Fault, faultsInForce } from "./run/fault.ts";
export { during, type Invariant } from "./run/invariant.ts";
export { networkFaults, type NetworkFaults } from "./run/network-fault.ts";
export { nodeFaults, type NodeFaults } from "./run/node-fault.ts";
export { nodeSteps } from "./run/nodes.ts";
export { kpiPaths, projectRoot } from "./core/paths.ts";
export { type SpecCluster, useCluster } from "./kit/use-cluster.ts";
export type { ForkedCluster } from "./kit/scenario.ts";
export { openLab } from "./lab/lab.ts";
export { coldRun, readEvents, readRecord } from "./run/run-files.ts";
export { Checkpoint, openCheckpoint, openCluster, RunningCluster } from "./run/running.ts";
export { forThisProcess, markInUse, passing } from "./run/users.ts";
export { mountPath } from "./tools/directory.ts";
export { run, shellQuote } from "./tools/exec.ts";
export { expect } from "bun:test";

extendExpect();
await readSpecs();

/**
 * A kpi of a test's own: state in a directory that goes with it, the machine's cache (or another one), called as a user calls it.
 * Shared clusters that the same bun test has made give way to it.
 */
export interface TestKpi extends AsyncDisposable {
  readonly state: string;
  readonly cache: string;
  /** What it and its tools use as TMPDIR. */
  readonly temporary: string;
  /** Runs `./kpi ...` to its end, whatever its exit code. */
  run(args: readonly string[], options?: RunOptions): Promise<CommandResult>;
  /** Runs it and fails the test, showing what it said, unless the exit code is 0. */
  succeed(args: readonly string[], options?: RunOptions): Promise<CommandResult>;
  start(args: readonly string[], options?: RunOptions): Promise<RunningCommand>;
  /** Removes the clusters that it has made and that are still there. */
  removeClusters(): Promise<void>;
}

/** As somebody's environment may be who does other work on this machine, too. None of it may change anything. */
const somebodys = {
  no_proxy: "192.168.122.10,10.20.30.10", // the API of a lab, which is reached through the lab's proxy only
  LC_ALL: "de_DE.UTF-8",
  FORCE_COLOR: "1",
  TF_WORKSPACE: "other",
  TF_LOG_PROVIDER: "trace",
  PKR_VAR_image: "other",
  PACKER_CONFIG: "/proc/version", // where it is no JSON, Packer ends without a word
  CLAUDECODE: "1",
};

/** What a test's own kpi has of its own beside its state. */
export interface TestKpiOptions {
  /** The machine's unless said otherwise. */
  readonly cache?: string;
  /** Whether its clusters are frozen, as a user's are. */
  readonly checkpoints?: boolean;
  /** A changed copy of the project. */
  readonly project?: string;
  /** A command that runs what follows it somewhere else, such as `nsenter ... --`; asked before each call. */
  readonly within?: () => readonly string[];
}

/**
 * Opens a kpi for a test. Its directory is made when it is first called, so a file whose tests are filtered out leaves nothing. Disposing
 * removes its clusters first, then its directory.
 */
export function testKpi({
  cache = kpiPaths().cache,
  checkpoints = false,
  project = projectRoot,
  within,
}: TestKpiOptions = {}): TestKpi {
  const dir = join(tmpdir(), `kpi spec-${crypto.randomUUID().slice(0, 8)}`); // as somebody's home directory may be called
  const state = join(dir, "state");
  const temporary = join(dir, "tmp");
  let intent: Declared | undefined;
  /** Before each call; its directory is made before the first. */
  const prepare = async () => {
    if (intent === undefined) {
      intent = declare(kpiPaths().state, { kind: "state", path: state });
      mkdirSync(temporary, { recursive: true, mode: 0o700 });
    }
    await giveWay();
  };
  /** The program, and its arguments. */
  const call = (args: readonly string[]): [string, readonly string[]] => {
    const [program = "", ...rest] = [...(within?.() ?? []), join(project, "kpi"), ...args];
    return [program, rest];
  };
  const room = checkpoints ? {} : { KPI_CHECKPOINT_SPACE: "0" }; // nobody forks from most tests' clusters
  const withPaths = (options: RunOptions): RunOptions => ({
    tied: true,
    timeout: minutes(30),
    grace: minutes(1), // it unmakes what it has made
    ...options,
    env: {
      ...somebodys,
      KPI_STATE: state,
      KPI_CACHE: cache,
      TMPDIR: temporary,
      NO_COLOR: "1",
      ...room,
      ...options.env,
    },
  });
  const any = Array.from({ length: 256 }, (_, code) => code);
  const kpi: TestKpi = {
    state,
    cache,
    temporary,
    run: (args, options = {}) => kpi.succeed(args, { accept: any, ...options }),
    async succeed(args, options = {}) {
      await prepare();
      return run(...call(args), withPaths(options));
    },
    async start(args, options = {}) {
      await prepare();
      return start(...call(args), withPaths({ accept: any, ...options }));
    },
    async removeClusters() {
      for (const name of clusterNames(state)) await kpi.run(["down", name]);
    },
    async [Symbol.asyncDispose]() {
      if (intent === undefined) return;
      await kpi.removeClusters();
      await kpi.run(["reap"]);
      rmSync(dir, { recursive: true, force: true });
      intent.settle();
    },
  };
  return kpi;
}
