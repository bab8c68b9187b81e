import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-01";
const other = "k3s-worker-02";
const told = "k3s was told the planned address and interface";
const tunnel = "flannel's tunnel is VXLAN on port 8472 over the planned interface and address";
const routes = "every other node's pods are routed into the tunnel, and into nothing else";
const own = "every node has a pod of ours, with an address of that node's network";
const reach = "every pod reaches every other, with packets small and full-size";
const http = "every pod speaks HTTP with every other, and it is the right one that answers";
const vxlan = "what pods of different nodes say passes the bridge in VXLAN on 8472/udp, between the planned addresses";
const bare = "no packet of a pod passes the bridge between nodes bare";
const service = "the service answers at its virtual address, asked from every node";
const dns = "DNS in a pod of every node knows the API's service and ours";

type Seen = Parameters<Parameters<typeof mutant<"networking">>[3]>[0];
const link = (seen: Seen) => seen.nodes[worker]!.interfaces.find(({ kind }) => kind === "vxlan")!;

export const mutants = [
  mutant("networking", "k3s was told another address", { [told]: /k3s-worker-01: k3s's configuration/ }, (seen) => {
    seen.nodes[worker]!.config = seen.nodes[worker]!.config.replace('"node-ip": "192', '"node-ip": "10');
  }),
  mutant("networking", "k3s chose the interface itself", { [told]: /flannel-iface/ }, (seen) => {
    seen.nodes[worker]!.config = seen.nodes[worker]!.config.replace("flannel-iface", "flannel-none");
  }),
  mutant("networking", "the tunnel goes over another interface", { [tunnel]: /"device": "eth1"/ }, (seen) => {
    link(seen).vxlan!.device = "eth1";
  }),
  mutant("networking", "the tunnel speaks on IANA's port", { [tunnel]: /4789/ }, (seen) => {
    link(seen).vxlan!.port = 4789;
  }),
  mutant("networking", "the tunnel ends at another address", { [tunnel]: /10\.0\.0\.9/ }, (seen) => {
    link(seen).vxlan!.local = "10.0.0.9";
  }),
  mutant(
    "networking",
    "there is no tunnel",
    { [tunnel]: /undefined/, "the tunnel's packets fit into the interface's": /MTU of the tunnel/ },
    (seen) => {
      link(seen).kind = "bridge";
    },
  ),
  mutant(
    "networking",
    "the tunnel's MTU is the interface's",
    { "the tunnel's packets fit into the interface's": /1500/ },
    (seen) => {
      link(seen).mtu = 1500;
    },
  ),
  mutant(
    "networking",
    "nothing listens for the overlay",
    { "8472/udp is open for the overlay": /sockets on 8472/ },
    (seen) => {
      seen.nodes[worker]!.listening = seen.nodes[worker]!.listening.filter((socket) => !socket.endsWith(":8472"));
    },
  ),
  mutant("networking", "pods are routed over the bare network", { [routes]: /10\.42\.0\.0\/24 into eth0"/ }, (seen) => {
    seen.nodes[worker]!.routes.find(({ to }) => to.startsWith("10.42.0."))!.device = "eth0";
  }),
  mutant(
    "networking",
    "the route to a node's pods is missing",
    { [routes]: /-\s+"10\.42\.0\.0\/24 into flannel\.1"/ },
    (seen) => {
      seen.nodes[worker]!.routes = seen.nodes[worker]!.routes.filter(({ to }) => !to.startsWith("10.42.0."));
    },
  ),
  mutant(
    "networking",
    "one pod's packets are routed past the tunnel",
    { [routes]: /10\.42\.2\.7 into eth0"/ },
    (seen) => {
      seen.nodes[worker]!.routes.push({ to: "10.42.2.7", via: "", device: "eth0", protocol: "boot" });
    },
  ),
  mutant(
    "networking",
    "another network than a node's is routed to it",
    { [routes]: /10\.42\.7\.0\/24 into/ },
    (seen) => {
      seen.nodes[worker]!.routes.find(({ to }) => to.startsWith("10.42.0."))!.to = "10.42.7.0/24";
    },
  ),
  mutant(
    "networking",
    "a pod has an address of no node's network",
    { [own]: /10\.42\.9\.4 on k3s-worker-01/ },
    (seen) => {
      const was = seen.pods[worker]!.address;
      seen.pods[worker]!.address = "10.42.9.4";
      for (const { vxlan } of seen.frames)
        for (const end of ["source", "target"] as const) if (vxlan?.inner[end] === was) vxlan.inner[end] = "10.42.9.4";
    },
  ),
  mutant("networking", "a node has no pod", { [own]: /nodes with a pod/ }, (seen) => {
    delete seen.pods[worker];
  }),
  mutant(
    "networking",
    "two nodes' pods are of one network",
    { [own]: /10\.42\.\d\.\d+ on k3s-worker-01, which has 10\.42\.\d\.0\/24/ },
    (seen) => {
      seen.pods[worker]!.address = seen.pods[other]!.address;
    },
  ),
  mutant("networking", "a pair loses packets", { [reach]: /k3s-worker-01 to k3s-worker-02: small false/ }, (seen) => {
    seen.pods[worker]!.peers[other]!.ping = false;
  }),
  mutant("networking", "full-size packets are lost", { [reach]: /small true, full-size false/ }, (seen) => {
    seen.pods[worker]!.peers[other]!.fullSize = false;
  }),
  mutant(
    "networking",
    "a pair was not tried",
    { [reach]: /k3s-worker-01 to k3s-worker-02/, [http]: /no answer/ },
    (seen) => {
      delete seen.pods[worker]!.peers[other];
    },
  ),
  mutant(
    "networking",
    "another pod answers at a pod's address",
    { [http]: /k3s-worker-01 to k3s-worker-02: k3s-cp-01/ },
    (seen) => {
      seen.pods[worker]!.peers[other]!.http = "k3s-cp-01";
    },
  ),
  mutant(
    "networking",
    "a pod's MTU is too large for the tunnel",
    { "a pod's MTU is the tunnel's": /MTU of the pod on k3s-worker-01/ },
    (seen) => {
      seen.pods[worker]!.mtu = 1500;
    },
  ),
  mutant(
    "networking",
    "a flow never passed the bridge",
    { [vxlan]: /192\.168\.122\.11 > 192\.168\.122\.12:8472 carries/ },
    (seen) => {
      seen.frames = seen.frames.filter(
        ({ source, target }) => source !== "192.168.122.11" || target !== "192.168.122.12",
      );
    },
  ),
  mutant("networking", "the tunnel's packets use another port", { [vxlan]: /flows that were not seen/ }, (seen) => {
    for (const frame of seen.frames) if (frame.vxlan !== undefined) frame.port = 4789;
  }),
  mutant("networking", "the bridge was not listened to", { [vxlan]: /flows that were not seen/ }, (seen) => {
    seen.frames = [];
  }),
  mutant(
    "networking",
    "pods' packets pass the bridge bare",
    { [bare]: /10\.42\.\d+\.\d+ > 10\.42\.\d+\.\d+ icmp/ },
    (seen) => {
      const frame = seen.frames.find((each) => each.vxlan !== undefined)!;
      const { source, target } = { source: seen.pods[worker]!.address, target: seen.pods[other]!.address };
      seen.frames.push({ from: frame.from, to: frame.to, source, target, protocol: "icmp" });
    },
  ),
  mutant(
    "networking",
    "the service does not answer on one node",
    { [service]: /who answered the pod on k3s-worker-01/ },
    (seen) => {
      seen.pods[worker]!.service = "";
    },
  ),
  mutant(
    "networking",
    "the service's address is not of the planned network",
    { [service]: /172\.30\.0\.9/ },
    (seen) => {
      seen.serviceAddress = "172.30.0.9";
    },
  ),
  mutant("networking", "a pod's DNS does not answer", { [dns]: /k3s-worker-01/ }, (seen) => {
    seen.pods[worker]!.dns = {};
  }),
  mutant("networking", "a pod's DNS gives another address", { [dns]: /10\.43\.9\.9/ }, (seen) => {
    seen.pods[worker]!.dns["kubernetes.default.svc.cluster.local"] = "10.43.9.9";
  }),
];
