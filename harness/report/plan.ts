import { formatDuration } from "../core/duration.ts";
import type { Plan } from "../core/plan.ts";

/** The plan for a person: what will be made, of what, where, and what is promised about it. */
export function renderPlan(plan: Plan): string {
  const { network, k3s, image, nodes, needs } = plan;
  const host = plan.host.kind === "lab" ? "a lab on this machine" : plan.host.uri;
  const budgets = plan.stages.filter((stage) => stage.budget !== undefined);
  return [
    `cluster ${plan.cluster} on ${host}`,
    "",
    table(
      ["node", "role", "address", "mac", "cpus", "memory", "disk"],
      nodes.map((node) => [
        node.name,
        node.role,
        node.address,
        node.mac,
        String(node.cpus),
        `${node.memoryMiB} MiB`,
        `${node.diskGiB} GiB`,
      ]),
    ),
    "",
    `network   ${network.name}: ${network.cidr}, gateway ${network.gateway}, on ${network.interface}; resolvers ${network.dns.join(", ")}`,
    `gate      before k3s is touched, every node resolves ${network.requiredNames.join(", ")}`,
    `image     ${image.name}, made from ${image.source}; pool ${image.pool}; boots ${image.boot === "direct" ? "a kernel handed over by QEMU" : "from its disk"}`,
    `k3s       ${k3s.version} (${k3s.distribution}); pods ${k3s.podCidr}, services ${k3s.serviceCidr}${k3s.disable.length > 0 ? `; without ${k3s.disable.join(", ")}` : ""}`,
    `          ${k3s.binary.url}`,
    `          ${k3s.images.url}`,
    `api       ${k3s.server}`,
    `budgets   ${budgets.map((stage) => `${stage.name} ${formatDuration(stage.budget ?? 0)}`).join(", ")}`,
    `needs     ${(needs.memoryMiB / 1_024).toFixed(1)} GiB memory, ${needs.cpus} cores for the largest node, ${needs.diskGiB} GiB disk (thin)`,
    `digest    ${plan.digest}`,
  ].join("\n");
}

/** Columns as wide as their widest cell, two spaces apart. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** What differs between the running plan and the wanted one, a line each: `nodes.k3s-worker-01.memoryMiB: 1024 -> 1536`. */
export function planChanges(before: Plan, after: Plan): string[] {
  const old = flatten(byNode(before));
  const wanted = flatten(byNode(after));
  const keys = [...new Set([...old.keys(), ...wanted.keys()])].filter(
    (key) => !key.startsWith("digest") && !key.startsWith("stages"),
  );
  return keys
    .filter((key) => old.get(key) !== wanted.get(key))
    .map((key) => `${key}: ${old.get(key) ?? "absent"} -> ${wanted.get(key) ?? "absent"}`);
}

function byNode(plan: Plan): Record<string, unknown> {
  return { ...plan, nodes: Object.fromEntries(plan.nodes.map(({ name, ...node }) => [name, node])) };
}

function flatten(value: unknown, path = "", into = new Map<string, string>()): Map<string, string> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return into.set(path, JSON.stringify(value));
  for (const [key, inner] of Object.entries(value)) flatten(inner, path === "" ? key : `${path}.${key}`, into);
  return into;
}
