import { expect, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");
/** What flannel and the container runtime add to a node is theirs. */
const ofPods = /^(lo|cni0|flannel\.1|veth.*)$/;

cluster.eachNode(
  "network",
  "the planned static address on the planned interface, and nothing else",
  ({ seen, plan, node }) => {
    const found = seen.interfaces
      .filter(({ name }) => !ofPods.test(name))
      .flatMap(({ name, addresses }) =>
        addresses.filter(({ scope }) => scope === "global").map(({ cidr }) => `${cidr} on ${name}`),
      );
    const prefix = plan.network.cidr.split("/")[1];
    expect(found, "global addresses").toEqual([`${node.address}/${prefix} on ${plan.network.interface}`]);
  },
);

cluster.eachNode("network", "the address has no end: it is static", ({ seen }) => {
  const dynamic = seen.interfaces.flatMap(({ addresses }) => addresses.filter((address) => address.dynamic));
  expect(dynamic, "addresses with a lifetime").toEqual([]);
});

cluster.eachNode("network", "no DHCP client runs, listens or is configured, and no lease is kept", ({ seen }) => {
  expect(seen.dhcp, "traces of DHCP").toEqual({ leases: [], clients: [], sockets: [], config: [] });
});

// The lab counts from before the first boot. One that goes on from a checkpoint, as warm clusters and forks do, counts from there: of its boots
// the other claims tell, by what a client or a lease would have left.
cluster.expects("network", "no DHCP packet has passed the bridge since its lab began", ({ seen }) => {
  expect(seen.dhcpPackets, "packets").toBe(0);
});

cluster.eachNode("network", "the planned MAC address, on hardware, and up", ({ seen, plan, node }) => {
  const { mac, up, kind } = seen.interfaces.find(({ name }) => name === plan.network.interface) ?? {};
  expect({ mac, up, kind }, plan.network.interface).toEqual({ mac: node.mac, up: true, kind: "" });
});

cluster.eachNode("network", "one default route, by the planned gateway", ({ seen, plan }) => {
  const routes = seen.routes.filter(({ to }) => to === "default").map(({ via, device }) => `via ${via} on ${device}`);
  expect(routes, "default routes").toEqual([`via ${plan.network.gateway} on ${plan.network.interface}`]);
});

cluster.eachNode("network", "no route came from DHCP or a router", ({ seen }) => {
  expect(
    seen.routes.filter(({ protocol }) => /^(dhcp|ra)$/.test(protocol)),
    "learnt routes",
  ).toEqual([]);
});

cluster.eachNode("network", "exactly the planned resolvers, in their order", ({ seen, plan }) => {
  expect(seen.resolvers, "resolvers").toEqual([...plan.network.dns]);
});

cluster.eachNode("network", "the node's name is its host name, now and after a reboot", ({ seen, node }) => {
  expect({ now: seen.hostname, file: seen.hostnameFile }).toEqual({ now: node.name, file: node.name });
});

cluster.expects("network", "every node has a machine-id of its own", ({ seen, plan }) => {
  const ids = plan.nodes.map(({ name }) => seen.nodes[name]?.machineId ?? "");
  expect(
    ids.filter((id) => !/^[0-9a-f]{32}$/.test(id)),
    "machine-ids that are none",
  ).toEqual([]);
  expect(new Set(ids).size, `different machine-ids among ${ids.join(", ")}`).toBe(plan.nodes.length);
});

cluster.expects("network", "every node has ssh host keys of its own, ed25519 only", ({ seen, plan }) => {
  const keys = plan.nodes.map(({ name }) => seen.nodes[name]?.hostKeys ?? []);
  for (const own of keys)
    expect(
      own.map((key) => key.split(" ")[0]),
      "types of host keys",
    ).toEqual(["ssh-ed25519"]);
  expect(new Set(keys.flat()).size, "different host keys").toBe(plan.nodes.length);
});
