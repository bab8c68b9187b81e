import { expect, judgeBudget, milliseconds, nodeSteps, renderJudgement, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");

cluster.expects("ready", "exactly the planned nodes have joined, and all are Ready", ({ seen, plan }) => {
  const found = Object.fromEntries(seen.api.nodes.map(({ name, ready, why }) => [name, ready ? "Ready" : why]));
  expect(found, "nodes").toEqual(Object.fromEntries(plan.nodes.map(({ name }) => [name, "Ready"])));
});

cluster.expects("ready", "each node has its planned role and address", ({ seen, plan }) => {
  const found = seen.api.nodes.map(({ name, internalIp, roles }) => ({
    name,
    address: internalIp,
    role: roles.includes("control-plane") ? "server" : "agent",
  }));
  expect(found.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual(
    plan.nodes
      .map(({ name, address, role }) => ({ name, address, role }))
      .toSorted((a, b) => a.name.localeCompare(b.name)),
  );
});

cluster.expects("ready", "no node is cordoned or under pressure", ({ seen }) => {
  const bad = seen.api.nodes.filter(({ unschedulable, pressures }) => unschedulable || pressures.length > 0);
  expect(bad.map(({ name, unschedulable, pressures }) => ({ name, unschedulable, pressures }))).toEqual([]);
});

cluster.expects("ready", "every node runs its pods in containerd", ({ seen, plan }) => {
  const runtimes = Object.fromEntries(seen.api.nodes.map(({ name, runtime }) => [name, runtime.split(":")[0] ?? ""]));
  expect(runtimes, "container runtimes").toEqual(
    Object.fromEntries(plan.nodes.map(({ name }) => [name, "containerd"])),
  );
});

cluster.expects("ready", "every node has a pod network of its own inside the planned one", ({ seen, plan }) => {
  const networks = seen.api.nodes.map(({ podCidr }) => podCidr);
  expect(new Set(networks).size, "different pod networks").toBe(plan.nodes.length);
  const prefix = plan.k3s.podCidr.split(".").slice(0, 2).join(".");
  for (const network of networks) expect(network).toStartWith(`${prefix}.`);
});

cluster.expects("ready", "the API and the nodes speak of the same machines and boots", ({ seen, plan }) => {
  const told = Object.fromEntries(seen.api.nodes.map(({ name, machineId, bootId }) => [name, { machineId, bootId }]));
  const own = plan.nodes.map(({ name }) => [name, seen.nodes[name]] as const);
  expect(told).toEqual(
    Object.fromEntries(
      own.map(([name, node]) => [name, { machineId: node?.machineId ?? "", bootId: node?.bootId ?? "" }]),
    ),
  );
});

cluster.expects("ready", "kube-system runs, with DNS behind its service", ({ seen }) => {
  const pods = seen.api.pods.filter(({ namespace }) => namespace === "kube-system");
  expect(pods.length, "pods of kube-system").toBeGreaterThan(0);
  const down = pods
    .filter(({ ready, phase }) => !ready && phase !== "Succeeded")
    .map(({ name, why }) => `${name}: ${why}`);
  expect(down, "pods that are not ready").toEqual([]);
  expect(seen.api.dnsEndpoints, "ready endpoints of kube-dns").toBeGreaterThan(0);
});

cluster.expects("ready", "no pod of kube-system restarts in a loop", ({ seen }) => {
  const loops = seen.api.pods.filter(({ namespace, restarts }) => namespace === "kube-system" && restarts > 2);
  expect(loops.map(({ name, restarts }) => `${name}: ${restarts} restarts`)).toEqual([]);
});

cluster.eachNode("ready", "k3s runs, was never restarted, and starts at boot", ({ seen, node }) => {
  const { active, restarts, enabled } = seen.units[node.role === "server" ? "k3s" : "k3s-agent"] ?? {};
  expect({ active, restarts, enabled }, "k3s's unit").toEqual({ active: "active", restarts: 0, enabled: "enabled" });
});

cluster.eachNode("ready", "only the unit of its role is there", ({ seen, node }) => {
  expect(seen.units[node.role === "server" ? "k3s-agent" : "k3s"]?.loaded, "the other role's unit").toBe(false);
});

cluster.eachNode("ready", "no unit has failed", ({ seen }) => {
  expect(seen.failedUnits, "failed units").toEqual([]);
});

cluster.eachNode(
  "ready",
  "its first boot took every step in order, to its own readiness; none was refused",
  ({ seen }) => {
    const steps = seen.verdicts.map(({ step, ok, detail }) => (ok ? step : `${step}: ${detail}`));
    expect(steps, "steps of the first boot").toEqual([...nodeSteps]);
  },
);

cluster.expects("ready", "the API server listens on the control plane only", ({ seen, plan }) => {
  const listeners = plan.nodes.filter(({ name }) =>
    seen.nodes[name]?.listening.some((socket) => /^tcp .*:6443$/.test(socket)),
  );
  expect(
    listeners.map(({ role }) => role),
    "roles of nodes that listen on 6443",
  ).toEqual(["server"]);
});

cluster.expects("ready", "every stage kept its budget, as it is stretched for this machine", ({ seen, plan }) => {
  const budgeted = plan.stages.flatMap(({ name, budget }) =>
    budget === undefined ? [] : [{ name, budget, took: seen.took[name] }],
  );
  const missing = budgeted.filter(({ took }) => took === undefined).map(({ name }) => name);
  expect(missing, "stages without a time").toEqual([]);
  const over = budgeted.flatMap(({ name, budget, took = 0 }) => {
    const judged = judgeBudget(milliseconds(took), budget, seen.factor);
    return judged.within ? [] : [`${name}: ${renderJudgement(judged)}`];
  });
  expect(over, "stages over their budget").toEqual([]);
});
