import { join } from "node:path";
import { minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { projectRoot } from "../core/paths.ts";
import type { Frame } from "../lab/frame.ts";
import type { RunningLab } from "../lab/lab.ts";
import { shellQuote } from "../tools/exec.ts";
import type { Session } from "./session.ts";
import type { StartedPod, Workload } from "./workload.ts";

/** What one pod saw of the others and of the cluster's services. */
export interface PodSeen {
  readonly node: string;
  readonly address: string;
  readonly mtu: number;
  /** By the other pod's node: whether small and full-size packets came back, and who answered HTTP. */
  readonly peers: Readonly<
    Record<string, { readonly ping: boolean; readonly fullSize: boolean; readonly http: string }>
  >;
  /** Node of the pod that answered at the service's address. */
  readonly service: string;
  /** What the pod's resolver answered, by name. */
  readonly dns: Readonly<Record<string, string>>;
  readonly resolver: string;
}

export interface TrafficSeen {
  /** By node. */
  readonly pods: Readonly<Record<string, PodSeen>>;
  readonly serviceAddress: string;
  readonly serviceName: string;
  /** What passed the lab's bridge meanwhile, each flow once; empty where the hypervisor is not a lab. */
  readonly frames: readonly Frame[];
}

export const apiName = "kubernetes.default.svc.cluster.local";

/** Lets every pod speak to every other, to a service and to the resolver, while the bridge between the nodes is listened to. */
export async function seeTraffic(session: Session, { started }: Workload): Promise<TrafficSeen> {
  const { lab } = session.access;
  const frames: Frame[] = [];
  await using listener = lab === undefined ? undefined : await listen(lab, frames); // while the pods are still starting
  const { pods, serviceAddress, serviceName } = await started;
  const all = await Promise.all(
    pods.map(async (pod) => {
      const text = await inPod(session, pod, script(pod.node, pods, serviceAddress, serviceName));
      return [pod.node, parsePod(pod, text)] as const;
    }),
  );
  listener?.settle();
  return { pods: Object.fromEntries(all), serviceAddress, serviceName, frames };
}

/**
 * One shell script a pod; each line of its output is `KEY VALUE...`. Attempts are bounded, and made side by side: lost packets are waited
 * for once. Starts few programs, because an emulated node pays for each.
 */
function script(own: string, pods: readonly StartedPod[], service: string, name: string): string {
  const others = pods.filter(({ node }) => node !== own);
  return [
    "read -r mtu < /sys/class/net/eth0/mtu",
    "echo mtu $mtu",
    'while read -r key value; do [ "$key" != nameserver ] || echo resolver $value; done < /etc/resolv.conf',
    ...others.map(({ node, address }) => `ping -c 1 -W 10 ${address} > /dev/null 2>&1 && echo ping ${node} &`),
    // 28 bytes of IP and ICMP header: fills a packet of the overlay's MTU exactly.
    ...others.map(
      ({ node, address }) => `ping -c 1 -W 10 -s $((mtu - 28)) ${address} > /dev/null 2>&1 && echo full ${node} &`,
    ),
    // A pod may not serve yet when it has started, and every node's kube-proxy hears of it later still.
    // Not every Debian's busybox knows wget's own -T.
    "ask() { timeout 3 wget -q -O - http://$1:8080/ 2> /dev/null; }",
    "again() { deadline=$(($(date +%s) + 10)); until usleep 200000; ask $1 || [ $(date +%s) -ge $deadline ]; do :; done; }",
    ...others.map(({ node, address }) => `echo http ${node} $(ask ${address} || again ${address}) &`),
    `echo service $(ask ${service} || again ${service}) &`,
    ...[apiName, name].map((asked) => `echo dns ${asked} $(nslookup ${asked} 2> /dev/null) &`),
    "wait",
    "echo end",
  ].join("\n");
}

function parsePod(pod: StartedPod, text: string): PodSeen {
  const lines = text.split("\n").map((line) => line.trim().split(" "));
  if (!lines.some(([key]) => key === "end"))
    throw new KpiError("claim", `the pod on ${pod.node} did not finish`, { details: text.split("\n").slice(-5) });
  const of = (key: string) => lines.filter(([found]) => found === key).map((words) => words.slice(1));
  const names = [...new Set(of("http").map(([node = ""]) => node))];
  const has = (key: string, node: string) => of(key).some(([found]) => found === node);
  return {
    node: pod.node,
    address: pod.address,
    mtu: Number(of("mtu")[0]?.[0] ?? 0),
    resolver: of("resolver")[0]?.[0] ?? "",
    peers: Object.fromEntries(
      names.map((node) => [
        node,
        {
          ping: has("ping", node),
          fullSize: has("full", node),
          http: of("http").find(([found]) => found === node)?.[1] ?? "",
        },
      ]),
    ),
    service: of("service")[0]?.[0] ?? "",
    dns: Object.fromEntries(of("dns").map(([name = "", ...answer]) => [name, resolved(answer.join(" "))])),
  };
}

/** The address in an answer of busybox's nslookup, which first names the server, in the same words; empty when there is none. */
const resolved = (answer: string) => /\bName: .*?\bAddress[^:]*: (\S+)/.exec(answer)?.[1] ?? "";

/**
 * Runs shell commands in a pod's own namespaces, through its node: `kubectl exec` costs an emulated node a second of runc, and where
 * the way from the API to the pod is broken nothing could be said about the other ways.
 */
async function inPod(session: Session, { node, container }: StartedPod, commands: string): Promise<string> {
  const connection = await session.connect(session.access.node(node));
  const enter = `set -- /sys/fs/cgroup/kubepods*/*/*/*${container}*/cgroup.procs; read -r pid < "$1"; exec nsenter -m -n -t "$pid" sh`;
  const command = `sudo -n sh -c ${shellQuote([enter])}`;
  return (await connection.exec(command, { input: commands, timeout: minutes(2) })).stdout;
}

/** Listens in the lab until settled; resolves when it hears. */
async function listen(lab: RunningLab, frames: Frame[]): Promise<AsyncDisposable & { settle(): void }> {
  const heard = Promise.withResolvers<void>();
  const stop = new AbortController();
  const program = join(projectRoot, "harness", "lab", "capture.ts");
  let settled = false;
  const listening = lab.enter(process.execPath, [program], {
    signal: stop.signal,
    onLine(line, from) {
      if (from !== "stdout" || settled) return;
      const value = JSON.parse(line) as Frame & { listening?: boolean };
      if (value.listening === true) heard.resolve();
      else frames.push(value);
    },
  });
  listening.then(
    () => heard.reject(new KpiError("host", "the listener in the lab ended")),
    (error: unknown) => heard.reject(error),
  );
  const limit = AbortSignal.timeout(seconds(60));
  limit.addEventListener("abort", () =>
    heard.reject(new KpiError("deadline", "the listener in the lab did not start")),
  );
  await heard.promise;
  return {
    settle: () => void (settled = true),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await listening.catch(() => {}); // it ends by our own abort
    },
  };
}
