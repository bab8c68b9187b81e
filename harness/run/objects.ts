import { until } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import type { Kube, Manifest } from "../tools/kube.ts";
import { accessIfThere } from "./access.ts";
import { ClusterDir } from "./cluster.ts";
import { type Declared, declare, type Intent } from "./journal.ts";

/** For all that a process has left in one cluster: whoever comes next waits for it. */
const limit = seconds(20);

/** Says which objects are about to be made in a cluster that goes on, so that they go with their maker, however that ends. */
export function declareObjects({ stateDir, name }: ClusterDir, objects: readonly Manifest[]): Declared {
  return declare(stateDir, { kind: "objects", cluster: name, objects: objects.map(named) });
}

/**
 * Applies objects, which go when the result is disposed of; those that could be made go at once, where another could not. What cannot be
 * removed is left to the next command.
 */
export async function holdObjects(
  kube: Pick<Kube, "apply" | "delete">,
  cluster: ClusterDir,
  objects: readonly Manifest[],
): Promise<AsyncDisposable> {
  const declared = declareObjects(cluster, objects);
  const remove = async () => {
    await kube.delete(objects);
    declared.settle();
  };
  try {
    await kube.apply(objects);
  } catch (error) {
    await remove().catch(() => {});
    throw error;
  }
  return { [Symbol.asyncDispose]: remove };
}

/** What the API finds it by; the rest may be secret. */
function named({ apiVersion = "", kind = "", metadata }: Manifest): Manifest {
  const { name = "", namespace } = metadata ?? {};
  return { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
}

/** Removes objects whose maker is dead or about to end. False when their cluster is gone, and they with it. */
export async function removeObjects(state: string, intent: Intent & { kind: "objects" }): Promise<boolean> {
  const access = await accessIfThere(new ClusterDir(state, intent.cluster));
  const remove = (signal: AbortSignal) => access?.kube().delete(intent.objects, signal);
  await until(`${describeObjects(intent)} did not go`, limit, remove);
  return access !== undefined;
}

/** `Namespace a, ConfigMap b/c of cluster d`. */
export function describeObjects({ objects, cluster }: Intent & { kind: "objects" }): string {
  const names = objects.map(
    ({ kind, metadata }) => `${kind} ${[metadata?.namespace, metadata?.name].filter(Boolean).join("/")}`,
  );
  return `${names.join(", ")} in cluster ${cluster}`;
}
