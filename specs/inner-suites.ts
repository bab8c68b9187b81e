import { relative } from "node:path";
import { projectRoot } from "../harness/kit.ts";

/** Spec files that specs write and run as suites of their own, to see what a suite says when its cluster goes wrong. */
const kit = JSON.stringify(`${projectRoot}/harness/kit.ts`);

/** What such a suite printed, as the label of a failure: at the left edge its tests and its sum would be taken for those of the suite around it. */
export const printed = (log: string): string => log.replaceAll(/^/gm, "  ");

/** Claims that look, and claims that ask each node twice: before and after the file `told` is there. */
export const askingTwice = (told: string): string => `
import { existsSync } from "node:fs";
import { expect, minutes, notYet, until, useCluster } from ${kit};

const cluster = useCluster("specs/lab.yaml");
cluster.eachNode("network", "it has its name", ({ seen, node }) => {
  expect(seen.hostname).toBe(node.name);
});
cluster.expects("ready", "all are Ready", ({ seen }) => {
  expect(seen.api.nodes.map(({ ready }) => ready)).toEqual([true, true, true]);
});
cluster.eachNode("ready", "k3s goes on", async ({ node }) => {
  const unit = node.role === "server" ? "k3s" : "k3s-agent";
  await node.waitForUnit(unit);
  console.log("asked " + node.name);
  await until("it was told", minutes(5), () => existsSync(${JSON.stringify(told)}) || notYet("not yet"));
  await node.waitForUnit(unit);
});
`;

/** A claim on the first stage after which there is something to see, and one on each later one, on the cluster of a spec file. */
export const everyStage = (spec: string): string => `
import { expect, useCluster } from ${kit};

const cluster = useCluster(${JSON.stringify(relative(projectRoot, spec))});
cluster.expects("image", "the disk is a clone of the image", ({ seen }) => {
  expect(Object.values(seen.disks).map(({ format }) => format)).toEqual(["qcow2"]);
});
for (const stage of ["network", "install", "ready", "networking"])
  cluster.expects(stage, "never judged at " + stage, () => expect.unreachable());
`;

/** A scenario that never ends, and interrupts the `kpi test` that runs it when it has its fork. */
export const holdingFork = `
import { expect, useCluster } from ${kit};

const cluster = useCluster("specs/lab.yaml");
const held = cluster.onFork("a fork", () => {
  process.kill(process.ppid, "SIGINT");
  return Promise.withResolvers().promise;
});
held.expects("never judged", () => expect.unreachable());
`;

/** A suite that kills itself while there are pods of a look, and an object of a claim, in the cluster that it shares. */
export const holdingObjects = `
import { expect, useCluster } from ${kit};

const cluster = useCluster("specs/lab.yaml");
cluster.expects("network", "never judged whole", async () => {
  await cluster.apply({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "held", namespace: "default" } });
  process.kill(process.pid, "SIGKILL");
  await Promise.withResolvers().promise;
});
cluster.expects("storage", "never judged", () => expect.unreachable());
`;

/** A scenario that fails while a machine of its fork has no power, and one that goes well, of whose claims one does not hold. */
export const failingOnFork = `
import { expect, useCluster } from ${kit};

const cluster = useCluster("specs/lab.yaml");
const failing = cluster.onFork("a fault that nobody bears", async (fork) => {
  await fork.faults("k3s-worker-01").powerCut();
  await fork.node("k3s-cp-01").succeed("exit 3");
});
failing.expects("never judged", () => expect.unreachable());

const wrong = cluster.onFork("a hope", (fork) => fork.node("k3s-worker-01").succeed("hostname"));
wrong.expects("it says something", ({ seen }) => expect(seen).not.toBe(""));
wrong.expects("it has another name", ({ seen }) => expect(seen).toBe("k3s-worker-02"));
`;
