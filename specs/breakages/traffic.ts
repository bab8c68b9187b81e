import type { Round } from "../../harness/kit/breakage.ts";
import { dnsWithoutEndpoints } from "./cluster.ts";
import { instead, server, worker, worker2 } from "./how.ts";

const fits = "the tunnel's packets fit into the interface's";
const reaches = "every pod reaches every other, with packets small and full-size";

/** What pods of different nodes that speak with each other must notice. */
export const trafficRounds: readonly Round[] = [
  {
    looks: ["networking"],
    breakages: [
      {
        what: "pods of one node reach another's past the tunnel",
        on: worker,
        async how(fork, node) {
          const pods = (await fork.kube.nodes()).find(({ name }) => name === worker2)?.podCidr ?? "";
          await node.succeed(`ip route show ${pods} > /run/kpi-broken-route
            ip route replace ${pods} via ${fork.node(worker2).address} dev eth0`);
        },
        heal: "ip route replace $(cat /run/kpi-broken-route); rm /run/kpi-broken-route",
        kills: {
          "every other node's pods are routed into the tunnel, and into nothing else":
            /\+\s+"10\.42\.\d+\.0\/24 into eth0"/,
          "no packet of a pod passes the bridge between nodes bare": /10\.42\.\d+\.\d+ > 10\.42\.\d+\.\d+ icmp/,
          "what pods of different nodes say passes the bridge in VXLAN on 8472/udp, between the planned addresses":
            /192\.168\.122\.11 > 192\.168\.122\.12:8472 carries/,
        },
      },
      {
        what: "k3s was told another address and interface",
        on: worker2,
        ...instead(
          "/etc/rancher/k3s/config.yaml",
          "sed 's/192.168.122.12/192.168.122.99/; s/eth0/eth1/' /etc/rancher/k3s/config.yaml",
        ),
        kills: { "k3s was told the planned address and interface": /Received: [^]*192\.168\.122\.99/ },
      },
      {
        what: "the tunnel takes smaller packets than its pods send",
        on: server,
        how: "ip link set flannel.1 mtu 1400",
        heal: "ip link set flannel.1 mtu 1450",
        kills: {
          [fits]: /MTU of the tunnel/,
          [reaches]: /k3s-cp-01 to k3s-worker-01: small true, full-size false/,
          "a pod's MTU is the tunnel's": /MTU of the pod on k3s-cp-01/,
        },
      },
      {
        what: "nothing is behind the DNS service",
        on: server,
        ...dnsWithoutEndpoints,
        kills: { "DNS in a pod of every node knows the API's service and ours": /answers by node/ },
      },
    ],
  },
  {
    looks: ["networking"],
    breakages: [
      {
        what: "a node's firewall takes no VXLAN",
        on: worker,
        how: "iptables -I INPUT -p udp --dport 8472 -j DROP",
        heal: "iptables -D INPUT -p udp --dport 8472 -j DROP",
        kills: {
          [reaches]: /k3s-worker-01 to k3s-cp-01: small false, full-size false/,
          "every pod speaks HTTP with every other, and it is the right one that answers":
            /k3s-worker-01 to k3s-cp-01: no answer/,
          "the service answers at its virtual address, asked from every node": /who answered the pod on k3s-cp-01/, // its pod is there
        },
        // On which node the resolver runs is chance.
        perhaps: ["DNS in a pod of every node knows the API's service and ours"],
      },
    ],
  },
  // After the last one: healed.
  { looks: ["network", "machine", "install", "ready", "access", "networking", "storage"], breakages: [] },
];
