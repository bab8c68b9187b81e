import { describeFault, type FaultKind, type FaultOf, type FaultSpec } from "../core/fault-spec.ts";
import { KpiError } from "../core/errors.ts";
import type { RunningLab } from "../lab/lab.ts";
import type { Access } from "./access.ts";
import { declare } from "./journal.ts";

/** Something broken on purpose that is in force. Disposing heals it. */
export interface Fault extends AsyncDisposable {
  /** `power cut of k3s-worker-01` */
  readonly what: string;
  readonly spec: FaultSpec;
  /** Takes the cause away and returns when that shows. A second call waits for the first; one that failed is tried again. */
  heal(): Promise<void>;
}

/** What a fault is done to. `id` names what it leaves in the lab (chains, files), so that another process finds it. */
export interface Target {
  readonly access: Access;
  readonly lab: RunningLab;
  readonly id: string;
}

/** How one kind of fault is done and undone. */
export interface FaultWay<Kind extends FaultKind> {
  /** Throws when the fault cannot be: another one is there already. Changes nothing. */
  check?(target: Target, spec: FaultOf<Kind>, signal: AbortSignal): Promise<void>;
  /** Returns when the fault has been seen to be in force. */
  inflict(target: Target, spec: FaultOf<Kind>, signal: AbortSignal): Promise<void>;
  /** Takes the cause away, in seconds; does nothing where it is gone. Needs no memory: another process may be the one. */
  undo(target: Target, spec: FaultOf<Kind>): Promise<void>;
  /** Waits until what followed from it is over too: the node boots and is Ready again. */
  settle?(target: Target, spec: FaultOf<Kind>): Promise<void>;
}

const inForce = new Set<{ readonly what: string; readonly cluster: string }>();

/** The faults that this process is inflicting, has in force or is healing, in the order in which they began; all, or those of one cluster. */
export function faultsInForce(cluster?: string): readonly string[] {
  return [...inForce].flatMap((fault) => (cluster === undefined || fault.cluster === cluster ? [fault.what] : []));
}

/** The lab that a cluster runs in; a `host` error where it has none, for on a hypervisor others would be hit as well. */
export function labOf(access: Access): RunningLab {
  if (access.lab !== undefined) return access.lab;
  throw new KpiError("host", `faults are for labs: cluster ${access.plan.cluster} runs on ${access.uri}`, {
    hint: "make the same cluster in a lab: kpi up --host lab",
  });
}

/**
 * Brings a fault into force. What is about to be done is in the journal before it is, so that the next command heals what a
 * killed one left. When it cannot be brought into force, or on abort, it is undone and the first error thrown.
 */
export async function inflict<Kind extends FaultKind>(
  way: FaultWay<Kind>,
  access: Access,
  spec: FaultOf<Kind>,
  signal: AbortSignal = new AbortController().signal,
): Promise<Fault> {
  const what = describeFault(spec);
  const target: Target = { access, lab: labOf(access), id: crypto.randomUUID().replaceAll("-", "").slice(0, 12) };
  await way.check?.(target, spec, signal);
  const entry = { kind: "fault", cluster: access.cluster.name, id: target.id, fault: spec } as const;
  const intent = declare(access.cluster.stateDir, entry);
  const mine = { what, cluster: access.cluster.name };
  inForce.add(mine);
  const undo = async () => {
    await way.undo(target, spec);
    intent.settle();
  };
  try {
    signal.throwIfAborted();
    await way.inflict(target, spec, signal);
  } catch (error) {
    await undo()
      .catch(() => {}) // the first error counts; the journal still has it, so the next command tries again
      .finally(() => inForce.delete(mine));
    throw error;
  }
  let healing: Promise<void> | undefined;
  const heal = () => {
    healing ??= undo()
      .then(() => way.settle?.(target, spec))
      .then(() => void inForce.delete(mine))
      .catch((error: unknown) => {
        healing = undefined;
        throw error;
      });
    return healing;
  };
  return { what, spec, heal, [Symbol.asyncDispose]: heal };
}
