import type { FaultKind, FaultSpec } from "../core/fault-spec.ts";
import { type Access, accessIfThere } from "./access.ts";
import { ClusterDir } from "./cluster.ts";
import { type Fault, type FaultWay, inflict, labOf } from "./fault.ts";
import type { Intent } from "./journal.ts";
import * as network from "./network-fault.ts";
import * as node from "./node-fault.ts";

/** Every kind of fault, and how it is done and undone. */
const ways: { readonly [Kind in FaultKind]: FaultWay<Kind> } = {
  partition: network.partition,
  delay: network.delay,
  loss: network.loss,
  "link-down": network.linkDown,
  "dns-down": network.dnsDown,
  "power-cut": node.powerCut,
  reboot: node.reboot,
  freeze: node.freeze,
  "fill-disk": node.fillDisk,
  "set-clock": node.setClock,
  "kill-unit": node.killUnit,
};

/** Brings any fault into force. */
export function inflictFault(access: Access, spec: FaultSpec, signal?: AbortSignal): Promise<Fault> {
  return inflict(wayOf(spec), access, spec, signal);
}

/**
 * Takes away the cause of a fault whose maker is dead or about to end; what follows from it (a boot) is not waited for. False when
 * its lab is gone, and the fault with it.
 */
export async function undoFault(state: string, { cluster, fault, id }: Intent & { kind: "fault" }): Promise<boolean> {
  const access = await accessIfThere(new ClusterDir(state, cluster));
  if (access === undefined) return false;
  await wayOf(fault).undo({ access, lab: labOf(access), id }, fault);
  return true;
}

/** The table says that the way fits the kind; TypeScript cannot follow that through a union. */
const wayOf = (spec: FaultSpec) => ways[spec.kind] as FaultWay<FaultKind>;
