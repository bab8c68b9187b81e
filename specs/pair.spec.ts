import { expect, useCluster } from "../harness/kit.ts";

// Joins the cluster of this spec if it runs unchanged, makes it by `kpi up --warm` otherwise; nothing happens before a claim is run.
const cluster = useCluster("specs/pair.yaml");

cluster.eachNode("network", "the node has its planned address", ({ seen, plan, node }) => {
  const nic = seen.interfaces.find(({ name }) => name === plan.network.interface);
  const ipv4 = nic?.addresses.filter(({ family }) => family === 4).map(({ cidr }) => cidr);
  expect(ipv4, "addresses").toEqual([`${node.address}/24`]);
});

cluster.eachNode("install", "DNS answered before k3s was started", ({ seen, node }) => {
  const answered = seen.verdicts.find(({ step, ok }) => step === "dns" && ok)?.mono;
  const started = seen.units[node.role === "server" ? "k3s" : "k3s-agent"]?.startedAt;
  expect(started, "seconds since boot").toBeGreaterThan(answered ?? Number.NaN);
});

cluster.expects("ready", "both nodes are Ready, at their addresses", ({ seen, plan }) => {
  const found = seen.api.nodes.map(({ name, ready, internalIp }) => ({ name, ready, address: internalIp }));
  expect(found).toEqual(plan.nodes.map(({ name, address }) => ({ name, ready: true, address })));
});

cluster.expects("networking", "the pods of both nodes reach each other", ({ seen }) => {
  for (const { node, peers } of Object.values(seen.pods))
    for (const [peer, { ping }] of Object.entries(peers)) expect(ping, `${node} to ${peer}`).toBe(true);
});

cluster.eachNode("ready", "k3s keeps running when its console is asked", async ({ node }) => {
  await node.waitForUnit(node.role === "server" ? "k3s" : "k3s-agent");
  expect(await node.succeed("hostname")).toBe(node.name);
});
