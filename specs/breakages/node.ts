import type { Breakage, Round } from "../../harness/kit/breakage.ts";
import { minutes, notYet, type RunningCluster, until } from "../../harness/kit.ts";
import { countDhcp, forgetDhcp } from "../../harness/lab/dhcp.ts";
import type { RunningLab } from "../../harness/lab/lab.ts";
import { background, instead, kill, server, unit, worker, worker2 } from "./how.ts";

const only = "the planned static address on the planned interface, and nothing else";
const noDhcp = "no DHCP client runs, listens or is configured, and no lease is kept";
const gateway = "one default route, by the planned gateway";
const resolvers = "exactly the planned resolvers, in their order";
const hostname = "the node's name is its host name, now and after a reboot";
const hostKeys = "every node has ssh host keys of its own, ed25519 only";
const machineIds = "every node has a machine-id of its own";
const sameMachine = "the API and the nodes speak of the same machines and boots";
const binary = "the k3s on the node is the pinned artefact, byte for byte";
const version = "k3s --version is the pinned version";
const hashes = "the node was told the hashes that this machine holds";
const channel = "no channel is named in what the node was given";
const older = "the file system agrees: nothing of k3s is older than the answer of DNS";
const token = "what holds the token on a node is for root only";
const runs = "k3s runs, was never restarted, and starts at boot";
const steps = "its first boot took every step in order, to its own readiness; none was refused";
const noFailed = "no unit has failed";
const user = "one user, who has no password; nobody else can log in";

const nic = "eth0";

const addresses: readonly Breakage[] = [
  {
    what: "a second address on the interface",
    on: worker,
    how: `ip address add 192.168.122.99/24 dev ${nic}`,
    heal: `ip address del 192.168.122.99/24 dev ${nic}`,
    kills: { [only]: /192\.168\.122\.99\/24 on eth0/ },
  },
  {
    what: "an address on a second interface",
    on: worker2,
    how: "ip link add kpi0 type dummy && ip address add 10.9.9.9/24 dev kpi0 && ip link set kpi0 up",
    heal: "ip link del kpi0",
    kills: { [only]: /10\.9\.9\.9\/24 on kpi0/ },
  },
  {
    what: "another host name",
    on: server,
    how: "hostname localhost",
    heal: `hostname ${server}`,
    kills: { [hostname]: /"now": "localhost"/ },
  },
];

/** Breakages are for labs only. */
function labOf({ access }: RunningCluster): RunningLab {
  if (access.lab === undefined) throw new Error("no lab");
  return access.lab;
}

/** Of the one file with which cloud-init configures the interface. */
const dropIns = "/run/systemd/network/$(basename /etc/systemd/network/*.network).d";

const leases: readonly Breakage[] = [
  {
    what: "a DHCP client was started by hand, under a name that nobody knows",
    on: worker,
    async how({ running }, node) {
      // busybox goes by its first argument what it is; the kernel, by the file.
      const client = `exec -a busybox /var/tmp/kpi-innocent udhcpc -i ${nic} -f -s /bin/true -t 1000 -T 3`;
      await node.succeed(`cp /bin/busybox /var/tmp/kpi-innocent; ${background("dhcp", `bash -c '${client}'`)}`);
      await until("it has asked", minutes(1), async () => {
        if ((await countDhcp(labOf(running))) === 0) notYet("no packet");
      });
    },
    async heal({ running }, node) {
      await node.succeed(`${kill("dhcp")}; rm /var/tmp/kpi-innocent`);
      await forgetDhcp(labOf(running));
    },
    kills: {
      [noDhcp]: /packets of eth0/,
      "no DHCP packet has passed the bridge since its lab began": /Received: [1-9]/,
    },
  },
  {
    what: "networkd is told to ask for a lease, in a drop-in, beside the planned one",
    on: worker2,
    how: `mkdir -p ${dropIns}
      printf '[Network]\\nDHCP=ipv4\\n' > ${dropIns}/lease.conf`,
    heal: `rm -r ${dropIns}`,
    kills: { [noDhcp]: /lease\.conf: DHCP=ipv4/ },
  },
  {
    what: "the address got an end, as a leased one has",
    on: server,
    how: `ip address change 192.168.122.10/24 dev ${nic} valid_lft 3600 preferred_lft 3600`,
    heal: `ip address change 192.168.122.10/24 dev ${nic} valid_lft forever preferred_lft forever`,
    kills: { "the address has no end: it is static": /lifetime[^]*192\.168\.122\.10\/24/ },
  },
];

const routes: readonly Breakage[] = [
  {
    what: "a second default route",
    on: worker,
    how: `ip route add default via 192.168.122.254 dev ${nic} metric 500`,
    heal: `ip route del default via 192.168.122.254 dev ${nic} metric 500`,
    kills: { [gateway]: /via 192\.168\.122\.254 on eth0/ },
  },
  {
    what: "no default route",
    on: worker2,
    how: "ip route del default",
    heal: `ip route add default via 192.168.122.1 dev ${nic} proto static`,
    kills: { [gateway]: /default routes[^]*-\s+"via 192\.168\.122\.1 on eth0"/ },
  },
  {
    what: "a route that a DHCP server gave",
    on: server,
    how: `ip route add 10.9.0.0/16 via 192.168.122.1 dev ${nic} proto dhcp`,
    heal: "ip route del 10.9.0.0/16",
    kills: { "no route came from DHCP or a router": /"protocol": "dhcp"/ },
  },
];

const names: readonly Breakage[] = [
  {
    what: "systemd-resolved was given another resolver",
    on: worker,
    how: `resolvectl dns ${nic} 9.9.9.9 && grep -q 9.9.9.9 /run/systemd/resolve/resolv.conf`,
    heal: `resolvectl revert ${nic} && ! grep -q 9.9.9.9 /run/systemd/resolve/resolv.conf`,
    kills: { [resolvers]: /9\.9\.9\.9/ },
  },
  {
    what: "/etc/resolv.conf goes past systemd-resolved",
    on: worker2,
    ...instead("/etc/resolv.conf", "echo nameserver 9.9.9.9"),
    kills: { [resolvers]: /9\.9\.9\.9/ },
  },
  {
    what: "a host name that the next boot forgets",
    on: server,
    ...instead("/etc/hostname", "echo localhost"),
    kills: { [hostname]: /"file": "localhost"/ },
  },
];

const identities: readonly Breakage[] = [
  {
    what: "a machine-id that another node has, too",
    on: worker,
    async how(fork, node) {
      const id = await fork.node(server).readFile("/etc/machine-id");
      await node.succeed(instead("/etc/machine-id", `echo ${id}`).how);
    },
    heal: instead("/etc/machine-id", "").heal,
    kills: { [machineIds]: /different machine-ids/, [sameMachine]: /k3s-worker-01[^]*machineId/ },
  },
  {
    what: "a host key of another type",
    on: worker2,
    how: "echo ssh-rsa AAAA somebody > /etc/ssh/ssh_host_rsa_key.pub",
    heal: "rm /etc/ssh/ssh_host_rsa_key.pub",
    kills: { [hostKeys]: /ssh-rsa/ },
  },
  {
    what: "the one user has got a password",
    on: server,
    how: "echo ubuntu:kpi-break | chpasswd",
    heal: "usermod --password '!' ubuntu",
    kills: { [user]: /"name": "ubuntu"[^]*"password": "set"/ },
  },
];

const files: readonly Breakage[] = [
  {
    what: "another program in the place of k3s, from the image, of another version",
    on: worker,
    how: "mount --bind /usr/bin/true /usr/local/bin/k3s",
    heal: "umount /usr/local/bin/k3s",
    kills: {
      [binary]: /sha256 of \/usr\/local\/bin\/k3s/,
      [version]: /k3s --version/,
      [older]: /\/usr\/local\/bin\/k3s by [\d.]+ s/,
    },
  },
  {
    what: "the node was told another hash, and a channel",
    on: worker2,
    ...instead(
      "/etc/kpi/node.env",
      "sed 's/^BINARY_SHA256=.*/BINARY_SHA256=0000/; $a INSTALL_K3S_CHANNEL=stable' /etc/kpi/node.env",
    ),
    kills: { [hashes]: /"BINARY_SHA256": "0000"/, [channel]: /INSTALL_K3S_CHANNEL=stable/ },
  },
  {
    what: "everybody may read the token",
    on: server,
    how: "chmod 644 /var/lib/rancher/k3s/server/token",
    heal: "chmod 600 /var/lib/rancher/k3s/server/token",
    kills: { [token]: /server\/token/ },
  },
];

const programs: readonly Breakage[] = [
  {
    what: "one byte more in k3s",
    on: worker,
    ...instead("/usr/local/bin/k3s", "cat /usr/local/bin/k3s; echo"),
    kills: { [binary]: /sha256 of \/usr\/local\/bin\/k3s/ },
  },
  {
    what: "k3s that calls itself another version",
    on: worker2,
    ...instead("/usr/local/bin/k3s", "echo '#!/bin/sh'; echo 'echo k3s version v1.34.4+lab1'"),
    kills: { [binary]: /sha256 of \/usr\/local\/bin\/k3s/, [version]: /v1\.34\.4\+lab1/ },
  },
  {
    what: "the node's record does not know DNS's answer",
    on: server,
    ...instead("/var/log/kpi/verdict.ndjson", `grep -v '"step":"dns"' /var/log/kpi/verdict.ndjson`),
    kills: {
      "the gate's steps all passed, in their order": /-\s+"dns ok"/,
      "the planned resolvers answered for every required name": /the node's word on DNS/,
      "by the guest's clock, DNS answered before the artefacts came and k3s was installed and started":
        /artefact after dns/,
      [older]: /older than the answer of DNS/,
      "systemd agrees: k3s was started after DNS had answered, by monotonic time": /NaN/,
      [steps]: /-\s+"dns"/,
    },
  },
];

const units: readonly Breakage[] = [
  {
    what: "k3s does not start at the next boot",
    on: worker,
    how: `systemctl disable ${unit(worker)}`,
    heal: `systemctl enable ${unit(worker)}`,
    kills: { [runs]: /"enabled": "disabled"/ },
  },
  {
    what: "a unit has failed",
    on: worker2,
    how: `printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' > /run/systemd/system/kpi-broken.service
      ! systemctl start kpi-broken`,
    heal: "systemctl reset-failed kpi-broken; rm /run/systemd/system/kpi-broken.service",
    kills: { [noFailed]: /kpi-broken\.service/ },
  },
  {
    what: "a step of the first boot was refused",
    on: server,
    ...instead(
      "/var/log/kpi/verdict.ndjson",
      `cat /var/log/kpi/verdict.ndjson; tail -n 1 /var/log/kpi/verdict.ndjson | sed 's/"ok":true/"ok":false/'`,
    ),
    kills: { [steps]: /ready: / },
  },
];

const roles: readonly Breakage[] = [
  {
    what: "a worker has a server's unit as well",
    on: worker,
    how: "printf '[Service]\\nExecStart=/bin/true\\n' > /run/systemd/system/k3s.service; systemctl daemon-reload",
    heal: "rm /run/systemd/system/k3s.service; systemctl daemon-reload",
    kills: { "only the unit of its role is there": /the other role's unit/ },
  },
  {
    what: "something on a worker listens where the API server does",
    on: worker2,
    how: `${background("listener", "busybox httpd -f -p 6443 -h /run/lock")}
      until ss -Hlnt 'sport = :6443' | grep -q .; do sleep 0.1; done`,
    heal: kill("listener"),
    kills: { "the API server listens on the control plane only": /"agent"/ },
  },
];

/** Hashing k3s takes seconds of an emulated CPU: only where it, or what was installed, is broken. */
const all = ["network", "machine", "install", "ready"] as const;
const looks = ["network", "machine", "ready"] as const;

/** What the look at a node from within must notice. */
export const nodeRounds: readonly Round[] = [
  { looks: all, breakages: [] },
  ...[addresses, leases, routes, names, identities, units, roles].map((breakages) => ({ looks, breakages })),
  ...[files, programs].map((breakages) => ({ looks: all, breakages })),
];
