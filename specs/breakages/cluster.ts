import type { Round } from "../../harness/kit/breakage.ts";
import { minutes, notYet, until } from "../../harness/kit.ts";
import { countDnsEndpoints } from "../../harness/kit/api-seen.ts";
import type { ForkedCluster } from "../../harness/kit/scenario.ts";
import { toolImage } from "../../harness/kit/workload.ts";
import type { Manifest } from "../../harness/tools/kube.ts";
import { server, unit, worker, worker2 } from "./how.ts";

const runs = "k3s runs, was never restarted, and starts at boot";
const joined = "exactly the planned nodes have joined, and all are Ready";
const system = "kube-system runs, with DNS behind its service";

/** Changes one object by a merge patch. */
async function patch({ kube }: ForkedCluster, path: string, change: object): Promise<void> {
  const headers = { "content-type": "application/merge-patch+json" };
  const { status, text } = await kube.request(path, { method: "PATCH", headers, body: JSON.stringify(change) });
  if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
}

const cordon = (unschedulable: boolean | null) => (fork: ForkedCluster) =>
  patch(fork, `/api/v1/nodes/${worker}`, { spec: { unschedulable } });
const relabel = (value: string | null) => (fork: ForkedCluster) =>
  patch(fork, `/api/v1/nodes/${worker2}`, { metadata: { labels: { "node-role.kubernetes.io/control-plane": value } } });
const defaultClass = (value: string) => (fork: ForkedCluster) =>
  patch(fork, "/apis/storage.k8s.io/v1/storageclasses/local-path", {
    metadata: { annotations: { "storageclass.kubernetes.io/is-default-class": value } },
  });

const dns = "/api/v1/namespaces/kube-system/services/kube-dns";
async function pointDns(fork: ForkedCluster, app: string): Promise<void> {
  await patch(fork, dns, { spec: { selector: { "k8s-app": app } } });
  await until(`endpoints of kube-dns are those of ${app}`, minutes(1), async () => {
    const ready = await countDnsEndpoints(fork.kube);
    if (ready > 0 !== (app === "kube-dns")) notYet(`${ready} endpoints`);
  });
}
/** Nothing is behind the service any more; its pods run on. */
export const dnsWithoutEndpoints = {
  how: (fork: ForkedCluster) => pointDns(fork, "nobody"),
  heal: (fork: ForkedCluster) => pointDns(fork, "kube-dns"),
};

const crashing: Manifest = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "kpi-broken", namespace: "kube-system" },
  spec: {
    nodeName: server,
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "main", image: toolImage, imagePullPolicy: "Never", command: ["sh", "-c", "exit 3"] }],
  },
};

/** What the API tells of the whole, and what is to be seen of k3s on its nodes. */
export const clusterRounds: readonly Round[] = [
  {
    looks: ["ready", "access"],
    breakages: [
      {
        what: "k3s is killed on a worker and does not come back",
        on: worker,
        async how(fork) {
          await fork.faults(worker).killUnit();
          await fork.kube.waitForNode(worker, ({ ready }) => (ready ? "still Ready" : undefined), {
            deadline: minutes(3),
          });
        },
        async heal(fork, node) {
          await node.succeed(`systemctl reset-failed ${unit(worker)}; systemctl start ${unit(worker)}`, {
            timeout: minutes(3),
          });
          await fork.kube.waitForNodes([worker], { deadline: minutes(3) });
        },
        kills: {
          [runs]: /"active": "(inactive|failed)"/,
          [joined]: /"k3s-worker-01": "Kubelet stopped posting node status/,
          "every kubelet refuses the anonymous and a made-up token": /k3s-worker-01[^]*"anonymous": "ERR_PROXY_TUNNEL"/,
        },
        perhaps: ["no unit has failed", system],
      },
      {
        what: "k3s was killed on a worker, and systemd has started it again",
        on: worker2,
        how: (_, node) =>
          node.succeed(
            `systemctl kill --kill-whom=main --signal=KILL ${unit(worker2)}
            until [ "$(systemctl show ${unit(worker2)} -P NRestarts)" = 1 ] && systemctl -q is-active ${unit(worker2)}
            do sleep 0.5; done`,
            { timeout: minutes(4) },
          ),
        heal: `systemctl reset-failed ${unit(worker2)}`,
        kills: { [runs]: /"restarts": 1/ },
      },
      {
        what: "a pod of kube-system crashes as often as it is started",
        on: server,
        async how({ kube }) {
          await kube.apply([crashing]);
          const often = (pods: readonly { name: string; restarts: number; ready: boolean }[]) => {
            const found = pods.find(({ name }) => name === "kpi-broken");
            if ((found?.restarts ?? 0) <= 2) return `${found?.restarts} restarts`;
            return found?.ready ? "it is up for a moment" : undefined; // down, it stays so for most of a minute
          };
          await kube.waitForPods("kube-system", "the pod does not crash", often, { deadline: minutes(4) });
        },
        heal: ({ kube }) => kube.delete([crashing]),
        kills: {
          [system]: /kpi-broken: main: /,
          "no pod of kube-system restarts in a loop": /kpi-broken: [3-9] restarts/,
        },
      },
    ],
  },
  {
    looks: ["ready"],
    breakages: [
      {
        what: "a node is cordoned",
        on: worker,
        how: cordon(true),
        heal: cordon(null),
        kills: { "no node is cordoned or under pressure": /k3s-worker-01[^]*"unschedulable": true/ },
      },
      {
        what: "a worker says that it is a control plane",
        on: worker2,
        how: relabel("true"),
        heal: relabel(null),
        kills: { "each node has its planned role and address": /"role": "server"/ },
      },
      {
        what: "the storage class is not the default one",
        on: server,
        how: defaultClass("false"),
        heal: defaultClass("true"),
        kills: { "local-path is the one default storage class, bound when a pod comes": /default storage classes/ },
      },
      {
        what: "nothing is behind the DNS service",
        on: server,
        ...dnsWithoutEndpoints,
        kills: { [system]: /endpoints of kube-dns/ },
      },
    ],
  },
];
