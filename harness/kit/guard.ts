import { KpiError } from "../core/errors.ts";
import { shellQuote } from "../tools/exec.ts";
import type { NodeLooks } from "./node-looks.ts";
import type { Session } from "./session.ts";

/** What a spec that only looks must leave as it was; cheap to take. Lines by what they are about. */
export type Fingerprint = Readonly<Record<string, string>>;

/** The lines of fingerprint.sh. */
const aspects = ["boot", "units", "accounts and configuration", "addresses"];

/** The names of what looks make for themselves, which is removed in the background. */
export const ownNamespace = /^kpi-spec-/;

/**
 * Takes it: a command a node over the open connections, unless somebody looks at the nodes anyway, and three requests. Nobody waits for a
 * lab that has ended.
 */
export const takeFingerprint = (session: Session, looks: Asked = session): Promise<Fingerprint> =>
  session.whileItRuns(() => ask(session, looks));

type Asked = Pick<NodeLooks, "fingerprint">;

async function ask(session: Session, looks: Asked): Promise<Fingerprint> {
  const kube = session.access.kube();
  const names = async (path: string, ours: (object: Named) => boolean = () => true) => {
    const { status, text } = await kube.request(path);
    if (status !== 200) throw new KpiError("contract", `the API answers ${status} to ${path}`);
    const { items } = JSON.parse(text) as { items: Named[] };
    return items
      .filter(ours)
      .map(({ metadata, spec }) => `${metadata.name}${spec?.unschedulable === true ? " (cordoned)" : ""}`)
      .sort()
      .join(" ");
  };
  const [nodes, spaces, pods, ...lines] = await Promise.all([
    names("/api/v1/nodes"),
    names("/api/v1/namespaces", ({ metadata }) => !ownNamespace.test(metadata.name)),
    names("/api/v1/pods", ({ metadata }) => !ownNamespace.test(metadata.namespace ?? "")),
    ...session.plan.nodes.map((node) => looks.fingerprint(node)),
  ]);
  const onNodes = session.plan.nodes.flatMap(({ name }, index) =>
    aspects.map(
      (aspect, line) => [`${name}: ${aspect}`, (lines[index] ?? "").split("\n")[line]?.trim() ?? ""] as const,
    ),
  );
  return { nodes, namespaces: spaces, pods, ...Object.fromEntries(onNodes) };
}

interface Named {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: { readonly unschedulable?: boolean };
}

/** What differs, a line each. Pure. */
export function changes(before: Fingerprint, after: Fingerprint): string[] {
  return Object.keys({ ...before, ...after }).flatMap((about) => {
    const [was, is] = [before[about] ?? "nothing", after[about] ?? "nothing"];
    if (was === is) return [];
    const [gone, come] = [without(was, is), without(is, was)];
    return [`${about}: ${shellQuote([gone])} became ${shellQuote([come])}`];
  });
}

/**
 * Without what a machine that was started again, or a unit that was, has another of: whoever goes on with a cluster that was broken and
 * healed finds the same units running, the same accounts, configuration, addresses, nodes, namespaces and pods. Pure.
 */
export function lasting(fingerprint: Fingerprint): Fingerprint {
  return Object.fromEntries(
    Object.entries(fingerprint)
      .filter(([about]) => !about.endsWith(": boot"))
      .map(([about, text]) => [about, about.endsWith(": units") ? text.replaceAll(/:\d+/g, "") : text]),
  );
}

/** The words of one text that the other lacks: of a long line only what differs is shown. */
function without(text: string, other: string): string {
  const known = new Set(other.split(/\s+/));
  return (
    text
      .split(/\s+/)
      .filter((word) => !known.has(word))
      .join(" ") || "nothing"
  );
}
