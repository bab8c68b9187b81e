import { contains, parseNetwork } from "../harness/core/address.ts";
import { expect, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");
/** Whether an address lies in a network, `10.42.1.0/24`; in none when that is not known. */
const isWithin = (address: string, network: string | undefined) => {
  const known = parseNetwork(network ?? "");
  return known !== undefined && contains(known, address);
};
const overhead = 50; // outer Ethernet, IPv4, UDP and VXLAN headers: RFC 7348

cluster.eachNode("networking", "k3s was told the planned address and interface", ({ seen, plan, node }) => {
  expect(seen.config, "k3s's configuration").toContain(`"node-ip": "${node.address}"`);
  expect(seen.config, "k3s's configuration").toContain(`"flannel-iface": "${plan.network.interface}"`);
});

cluster.eachNode(
  "networking",
  "flannel's tunnel is VXLAN on port 8472 over the planned interface and address",
  ({ seen, plan, node }) => {
    const tunnel = seen.interfaces.find(({ kind }) => kind === "vxlan");
    expect(tunnel?.vxlan, "the tunnel").toEqual({
      id: 1,
      port: 8472,
      local: node.address,
      device: plan.network.interface,
    });
  },
);

cluster.eachNode("networking", "the tunnel's packets fit into the interface's", ({ seen, plan }) => {
  const nic = seen.interfaces.find(({ name }) => name === plan.network.interface);
  const tunnel = seen.interfaces.find(({ kind }) => kind === "vxlan");
  expect(tunnel?.mtu, "MTU of the tunnel").toBe((nic?.mtu ?? 0) - overhead);
});

cluster.eachNode("networking", "8472/udp is open for the overlay", ({ seen }) => {
  expect(
    seen.listening.filter((socket) => socket.startsWith("udp") && socket.endsWith(":8472")).length,
    "sockets on 8472/udp",
  ).toBe(1);
});

cluster.eachNode(
  "networking",
  "every other node's pods are routed into the tunnel, and into nothing else",
  ({ seen, all, plan, node }) => {
    const tunnel = seen.interfaces.find(({ kind }) => kind === "vxlan")?.name ?? "a tunnel";
    const prefix = plan.k3s.podCidr.split(".").slice(0, 2).join(".");
    const own = all.podNetworks[node.name];
    // Its own pods' bridge is there since the first of them.
    const routes = seen.routes.filter(
      ({ to, device }) => to.startsWith(`${prefix}.`) && !(to === own && device === "cni0"),
    );
    const others = plan.nodes.filter(({ name }) => name !== node.name);
    expect(routes.map(({ to, device }) => `${to} into ${device}`).sort(), `pod routes on ${node.name}`).toEqual(
      others.map(({ name }) => `${all.podNetworks[name]} into ${tunnel}`).sort(),
    );
  },
);

cluster.expects(
  "networking",
  "every node has a pod of ours, with an address of that node's network",
  ({ seen, plan }) => {
    expect(Object.keys(seen.pods).sort(), "nodes with a pod").toEqual(plan.nodes.map(({ name }) => name).sort());
    const strays = Object.entries(seen.pods).filter(
      ([name, { address }]) => !isWithin(address, seen.podNetworks[name]),
    );
    expect(
      strays.map(([name, { address }]) => `${address} on ${name}, which has ${seen.podNetworks[name]}`),
      "pods outside of their node's network",
    ).toEqual([]);
  },
);

cluster.expects("networking", "every pod reaches every other, with packets small and full-size", ({ seen, plan }) => {
  const lost = plan.nodes.flatMap(({ name: from }) =>
    plan.nodes
      .filter(({ name: to }) => to !== from)
      .flatMap(({ name: to }) => {
        const { ping = false, fullSize = false } = seen.pods[from]?.peers[to] ?? {};
        return ping && fullSize ? [] : [`${from} to ${to}: small ${ping}, full-size ${fullSize}`];
      }),
  );
  expect(lost, "pairs that lose packets").toEqual([]);
});

cluster.expects(
  "networking",
  "every pod speaks HTTP with every other, and it is the right one that answers",
  ({ seen, plan }) => {
    const wrong = plan.nodes.flatMap(({ name: from }) =>
      plan.nodes
        .filter(({ name: to }) => to !== from && seen.pods[from]?.peers[to]?.http !== to)
        .map(({ name: to }) => `${from} to ${to}: ${seen.pods[from]?.peers[to]?.http || "no answer"}`),
    );
    expect(wrong, "pairs").toEqual([]);
  },
);

cluster.expects("networking", "a pod's MTU is the tunnel's", ({ seen, plan }) => {
  for (const { name } of plan.nodes) {
    const tunnel = seen.nodes[name]?.interfaces.find(({ kind }) => kind === "vxlan");
    expect(seen.pods[name]?.mtu, `MTU of the pod on ${name}`).toBe(tunnel?.mtu ?? 0);
  }
});

cluster.expects(
  "networking",
  "what pods of different nodes say passes the bridge in VXLAN on 8472/udp, between the planned addresses",
  ({ seen, plan }) => {
    const carried = seen.frames.flatMap(({ source, target, port, vxlan }) =>
      vxlan === undefined || vxlan.inner.protocol !== "icmp"
        ? []
        : [`${source} > ${target}:${port} carries ${vxlan.inner.source} > ${vxlan.inner.target}`],
    );
    const wanted = plan.nodes.flatMap((from) =>
      plan.nodes
        .filter((to) => to !== from)
        .map((to) => {
          const inner = `${seen.pods[from.name]?.address} > ${seen.pods[to.name]?.address}`;
          return `${from.address} > ${to.address}:8472 carries ${inner}`;
        }),
    );
    expect(
      wanted.filter((flow) => !carried.includes(flow)),
      "flows that were not seen on the bridge",
    ).toEqual([]);
  },
);

cluster.expects("networking", "no packet of a pod passes the bridge between nodes bare", ({ seen, plan }) => {
  const addresses = Object.values(seen.pods).map(({ address }) => address);
  const macs = plan.nodes.map(({ mac }) => mac);
  const bare = seen.frames.filter(
    ({ from, to, source, target, vxlan }) =>
      vxlan === undefined &&
      macs.includes(from) &&
      macs.includes(to) &&
      (addresses.includes(source) || addresses.includes(target)),
  );
  expect(bare.map(({ source, target, protocol }) => `${source} > ${target} ${protocol}`)).toEqual([]);
});

cluster.expects("networking", "the service answers at its virtual address, asked from every node", ({ seen, plan }) => {
  const prefix = plan.k3s.serviceCidr.split(".").slice(0, 2).join(".");
  expect(seen.serviceAddress, "address of the service").toStartWith(`${prefix}.`);
  const names = plan.nodes.map(({ name }) => name);
  for (const name of names)
    expect(names, `who answered the pod on ${name}`).toContain(seen.pods[name]?.service ?? "nobody");
});

cluster.expects("networking", "DNS in a pod of every node knows the API's service and ours", ({ seen, plan }) => {
  const api = plan.k3s.serviceCidr.replace(/0\/\d+$/, "1");
  const found = Object.fromEntries(Object.entries(seen.pods).map(([name, { dns }]) => [name, dns]));
  const wanted = { "kubernetes.default.svc.cluster.local": api, [seen.serviceName]: seen.serviceAddress };
  expect(found, "answers by node").toEqual(Object.fromEntries(plan.nodes.map(({ name }) => [name, wanted])));
});
