import { join } from "node:path";
import { notYet, orAborted, ticks, until } from "../core/deadline.ts";
import { type Duration, minutes, seconds } from "../core/duration.ts";
import { exitCode, isRefusal, KpiError } from "../core/errors.ts";
import type { RunEventBody } from "../core/event.ts";
import type { Plan } from "../core/plan.ts";
import { nodesMissing, type NodeState, type PodState } from "../tools/kube-state.ts";
import type { Access } from "./access.ts";
import { followConsoles, recordConsoles } from "./console.ts";
import { NodeWatch } from "./nodes.ts";

/** Everything that is watched of the nodes while a cluster comes up, from their domains' start to Ready. */
export interface Watching extends Disposable {
  readonly nodes: NodeWatch;
}

/** Follows consoles and libvirt's domain states until disposed. What is on the consoles is in `consoleDir`, or written there from now on. */
export function watchNodes(
  access: Access,
  plan: Plan,
  consoleDir: string,
  emit: (body: RunEventBody) => void,
): Watching {
  const stop = new AbortController();
  const names = plan.nodes.map(({ name }) => name);
  const nodes = new NodeWatch(names, emit, (node) => join(consoleDir, `${node}.log`));
  const failed = (error: unknown) => nodes.failed(error);
  if (access.lab === undefined) recordConsoles(access.libvirt, consoleDir, names, stop.signal, failed);
  const consoles = followConsoles(consoleDir, names, (node, line) => nodes.line(node, line), failed);
  // The kernel's file events can miss the last write of a burst; three file sizes a second cost nothing.
  const reading = (async () => {
    for await (const _ of ticks(seconds(1), stop.signal)) consoles.flush();
  })();
  const domains = (async () => {
    for await (const event of access.libvirt.events(stop.signal)) {
      const { at: when, domain, kind, detail } = event;
      emit({ type: "domain", domain, kind, detail, when });
      if (event.kind === "lifecycle" && event.detail.startsWith("Started"))
        emit({ type: "node", node: event.domain, state: "started" });
      if (event.lost !== undefined) nodes.lost(event.domain, event.lost, event.hint);
    }
  })();
  domains.catch((error: unknown) => {
    if (stop.signal.aborted) return;
    if (isRefusal(error)) return nodes.failed(error); // what was said cannot be written down
    emit({ type: "note", text: `libvirt's events ended: ${String(error)}` });
  });
  return {
    nodes,
    [Symbol.dispose]() {
      stop.abort();
      consoles[Symbol.dispose]();
      reading.catch(() => {}); // it ends by our own abort
    },
  };
}

/**
 * Fetches the kubeconfig from the server as soon as k3s has written it: one ssh connection and one command that waits in
 * the guest, because asking again and again is what makes an emulated guest slow.
 */
export async function fetchKubeconfig(access: Access, signal: AbortSignal): Promise<void> {
  await using connection = await access.ssh(access.server.name, { deadline: minutes(20), booting: true, signal });
  const path = "/etc/rancher/k3s/k3s.yaml";
  const wait = `until sudo test -s ${path}; do sleep 1; done; sudo cat ${path}`;
  const { stdout } = await connection.exec(wait, {
    signal,
    hint: `k3s has not written ${path}: kpi logs ${access.server.name}`,
  });
  access.keepKubeconfig(stdout);
}

/**
 * Watches the API until every planned node is Ready, telling each node's change as it comes. Throws a `claim` error when one is of another
 * version than planned: then what was served was another release, whatever its hash.
 */
export async function awaitReady(
  access: Access,
  emit: (body: RunEventBody) => void,
  signal: AbortSignal,
): Promise<readonly NodeState[]> {
  const names = access.plan.nodes.map(({ name }) => name);
  const told = new Map<string, string>();
  const kube = access.kube();
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const { promise, resolve } = Promise.withResolvers<readonly NodeState[]>();
  const watching = kube.watchNodes(
    (nodes) => {
      for (const node of nodes) {
        const state = node.ready ? "Ready" : "NotReady";
        if (told.get(node.name) === state) continue;
        told.set(node.name, state);
        emit({ type: "node", node: node.name, state, ...(node.ready ? {} : { detail: node.why }) });
      }
      if (names.every((name) => nodes.some((node) => node.name === name && node.ready))) resolve(nodes);
    },
    { signal: either },
  );
  try {
    const ready = await orAborted(either, Promise.race([promise, watching]));
    const { version } = access.plan.k3s;
    const other = ready.find((node) => names.includes(node.name) && node.kubeletVersion !== version);
    if (other === undefined) return ready;
    const hint = "the addresses of the supply are of another release: fixtures/supplies.lock.yaml";
    throw new KpiError("claim", `${other.name} is Ready in another version`, {
      expected: version,
      got: other.kubeletVersion,
      hint,
    });
  } finally {
    stop.abort();
    watching.catch(() => {}); // it ends by our own abort
  }
}

/** Waits until every pod of kube-system runs and is ready, five minutes unless said otherwise; says which does not. */
export async function awaitSystemPods(
  access: Access,
  { deadline = minutes(5), signal }: { deadline?: Duration; signal?: AbortSignal } = {},
): Promise<void> {
  const options = { deadline, ...(signal === undefined ? {} : { signal }) };
  await access.kube().waitForPods("kube-system", "kube-system does not run", systemPodsMissing, options);
}

/** What is still wanting of kube-system; undefined when nothing is. Pods that ran to their end count as fine. */
export function systemPodsMissing(pods: readonly PodState[]): string | undefined {
  if (pods.length === 0) return "no pods yet";
  const waiting = pods.filter((pod) => !pod.ready && pod.phase !== "Succeeded");
  return waiting.length === 0 ? undefined : waiting.map((pod) => `${pod.name}: ${pod.why || pod.phase}`).join(", ");
}

/** How long a cluster may take to show that it is well: a busy machine is no reason to replace it. */
const patience = minutes(2);

/**
 * Why a cluster that should be running is not well, undefined when it is: its API answers, and every planned node is Ready.
 * A machine that does not run any more ends the wait; an answer that is late, or a node that is just coming back, does not.
 */
export async function whyUnhealthy(
  access: Access,
  { signal: stop, onMissing }: { signal?: AbortSignal; onMissing?: (what: string) => void } = {},
): Promise<string | undefined> {
  let told = false;
  const look = async (signal: AbortSignal) => {
    const nodes = await access
      .kube()
      .nodes(AbortSignal.any([signal, AbortSignal.timeout(seconds(10))]))
      .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
    const missing =
      nodes instanceof Error
        ? nodes.message
        : nodesMissing(
            access.plan.nodes.map(({ name }) => name),
            nodes,
          );
    if (missing === undefined) return;
    await refuseStopped(access, signal);
    if (!told) onMissing?.(missing);
    told = true;
    notYet(missing);
  };
  return until("it has not become well", patience, look, stop === undefined ? {} : { signal: stop }).then(
    () => undefined,
    (error: unknown) => {
      if (!(error instanceof KpiError) || exitCode(error) === 130) throw error;
      return [error.what, ...error.details].join(": ");
    },
  );
}

/** Throws when a planned machine does not run. */
async function refuseStopped({ libvirt, plan }: Access, signal: AbortSignal): Promise<void> {
  const domains = await libvirt.domains(signal);
  for (const { name } of plan.nodes) {
    const state = domains.find((domain) => domain.name === name)?.state ?? "gone";
    if (state !== "running") throw new KpiError("host", `${name} is ${state}`);
  }
}
