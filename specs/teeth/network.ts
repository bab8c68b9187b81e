import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-01";
const nic = "eth0";
const only = "the planned static address on the planned interface, and nothing else";
const noDhcp = "no DHCP client runs, listens or is configured, and no lease is kept";
const mac = "the planned MAC address, on hardware, and up";
const gateway = "one default route, by the planned gateway";

/** The network of a worker, ready to be broken. */
type Seen = Parameters<Parameters<typeof mutant<"network">>[3]>[0];
const node = (seen: Seen) => seen.nodes[worker]!;
const eth = (seen: Seen) => node(seen).interfaces.find(({ name }) => name === nic)!;
const address = (cidr: string, dynamic = false) => ({ cidr, family: 4 as const, scope: "global", dynamic });

export const mutants = [
  mutant(
    "network",
    "a second address on the interface",
    { [only]: /k3s-worker-01: [^]*192\.168\.122\.99\/24 on eth0/ },
    (seen) => {
      eth(seen).addresses.push(address("192.168.122.99/24"));
    },
  ),
  mutant("network", "another address than planned", { [only]: /192\.168\.122\.111\/24 on eth0/ }, (seen) => {
    eth(seen).addresses[0]!.cidr = "192.168.122.111/24";
  }),
  mutant("network", "the right address with the wrong prefix", { [only]: /192\.168\.122\.11\/16 on eth0/ }, (seen) => {
    eth(seen).addresses[0]!.cidr = "192.168.122.11/16";
  }),
  mutant("network", "the address on another interface", { [only]: /192\.168\.122\.11\/24 on eth1/ }, (seen) => {
    const found = eth(seen);
    node(seen).interfaces.push({ ...found, name: "eth1" });
    found.addresses = [];
  }),
  mutant(
    "network",
    "no address at all",
    { [only]: /global addresses[^]*-\s+"192\.168\.122\.11\/24 on eth0"/ },
    (seen) => {
      eth(seen).addresses = [];
    },
  ),
  mutant("network", "a global IPv6 address from a router", { [only]: /2001:db8::5054\/64 on eth0/ }, (seen) => {
    eth(seen).addresses.push({ cidr: "2001:db8::5054/64", family: 6, scope: "global", dynamic: false });
  }),
  mutant(
    "network",
    "a leased address: the planned one, but with an end",
    { "the address has no end: it is static": /lifetime[^]*192\.168\.122\.11\/24/ },
    (seen) => {
      eth(seen).addresses[0]!.dynamic = true;
    },
  ),
  mutant("network", "a DHCP client runs", { [noDhcp]: /traces of DHCP[^]*dhclient/ }, (seen) => {
    node(seen).dhcp.clients.push("dhclient");
  }),
  mutant(
    "network",
    "a guest asked for an address while it booted",
    { "no DHCP packet has passed the bridge since its lab began": /packets[^]*Received: 1/ },
    (seen) => {
      seen.dhcpPackets = 1;
    },
  ),
  mutant("network", "something listens on the DHCP client's port", { [noDhcp]: /udp 0\.0\.0\.0:68/ }, (seen) => {
    node(seen).dhcp.sockets.push("udp 0.0.0.0:68");
  }),
  mutant("network", "a lease is kept", { [noDhcp]: /\/run\/systemd\/netif\/leases\/2/ }, (seen) => {
    node(seen).dhcp.leases.push("/run/systemd/netif/leases/2");
  }),
  mutant("network", "DHCP is configured for a later boot", { [noDhcp]: /DHCP=yes/ }, (seen) => {
    node(seen).dhcp.config.push("/etc/systemd/network/10-cloud-init-eth0.network: DHCP=yes");
  }),
  mutant("network", "another MAC address", { [mac]: /eth0[^]*52:54:00:00:00:99/ }, (seen) => {
    eth(seen).mac = "52:54:00:00:00:99";
  }),
  mutant("network", "the interface is down", { [mac]: /"up": false/ }, (seen) => {
    eth(seen).up = false;
  }),
  mutant("network", "the interface is a bridge with the NIC's address", { [mac]: /"kind": "bridge"/ }, (seen) => {
    eth(seen).kind = "bridge";
  }),
  mutant("network", "another gateway", { [gateway]: /via 192\.168\.122\.254 on eth0/ }, (seen) => {
    node(seen).routes.find(({ to }) => to === "default")!.via = "192.168.122.254";
  }),
  mutant("network", "a second default route", { [gateway]: /via 10\.0\.0\.1 on eth1/ }, (seen) => {
    node(seen).routes.push({ to: "default", via: "10.0.0.1", device: "eth1", protocol: "static" });
  }),
  mutant(
    "network",
    "no default route",
    { [gateway]: /default routes[^]*-\s+"via 192\.168\.122\.1 on eth0"/ },
    (seen) => {
      node(seen).routes = node(seen).routes.filter(({ to }) => to !== "default");
    },
  ),
  mutant("network", "a route from DHCP", { "no route came from DHCP or a router": /"protocol": "dhcp"/ }, (seen) => {
    node(seen).routes.push({ to: "10.9.0.0/16", via: "192.168.122.1", device: nic, protocol: "dhcp" });
  }),
  mutant("network", "another resolver", { "exactly the planned resolvers, in their order": /9\.9\.9\.9/ }, (seen) => {
    node(seen).resolvers = ["9.9.9.9"];
  }),
  mutant(
    "network",
    "one resolver too many",
    { "exactly the planned resolvers, in their order": /\+\s+"9\.9\.9\.9"/ },
    (seen) => {
      node(seen).resolvers.push("9.9.9.9");
    },
  ),
  mutant(
    "network",
    "another host name",
    { "the node's name is its host name, now and after a reboot": /"now": "localhost"/ },
    (seen) => {
      node(seen).hostname = "localhost";
    },
  ),
  mutant(
    "network",
    "a host name that a reboot forgets",
    { "the node's name is its host name, now and after a reboot": /"file": "localhost"/ },
    (seen) => {
      node(seen).hostnameFile = "localhost";
    },
  ),
  mutant(
    "network",
    "two nodes with one machine-id",
    { "every node has a machine-id of its own": /different machine-ids/ },
    (seen) => {
      node(seen).machineId = seen.nodes["k3s-worker-02"]!.machineId;
    },
  ),
  mutant(
    "network",
    "a node without machine-id",
    { "every node has a machine-id of its own": /machine-ids that are none/ },
    (seen) => {
      node(seen).machineId = "";
    },
  ),
  mutant(
    "network",
    "two nodes with one host key",
    { "every node has ssh host keys of its own, ed25519 only": /different host keys/ },
    (seen) => {
      node(seen).hostKeys = seen.nodes["k3s-worker-02"]!.hostKeys;
    },
  ),
  mutant(
    "network",
    "a host key of another type",
    { "every node has ssh host keys of its own, ed25519 only": /ssh-rsa/ },
    (seen) => {
      node(seen).hostKeys.push("ssh-rsa AAAA");
    },
  ),
];
