import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { seconds } from "../core/duration.ts";
import { renderError } from "../core/errors.ts";
import { shellQuote } from "../tools/exec.ts";
import { writeWhole } from "../tools/whole-file.ts";
import type { Access } from "./access.ts";

/** What is worth reading on a node that did not come up, each by one command; root, because journals are. */
const nodeCommands: Readonly<Record<string, string>> = {
  "journal.log": "journalctl --boot --no-pager --output=short-monotonic --lines=4000",
  "units.txt": "systemctl --no-pager --failed; systemctl --no-pager status k3s k3s-agent kpi-node cloud-init",
  "network.txt": "ip -details address; ip route; cat /run/systemd/resolve/resolv.conf /etc/resolv.conf; ss -lntup",
  "cloud-init.log": "cat /var/log/cloud-init.log /var/log/cloud-init-output.log",
  "verdict.ndjson": "cat /var/log/kpi/verdict.ndjson",
  "k3s-files.txt": "ls -lR /etc/rancher /usr/local/bin /var/lib/rancher/k3s --ignore=snapshots 2>&1 | head -300",
  "resources.txt": "uptime; free -m; df -h; ps -eo pid,pcpu,pmem,etimes,comm --sort=-pcpu | head -30",
};

/**
 * Gathers all that explains a cluster's state into `dir`, each part as far as it can be had: consoles always, domains when
 * libvirt answers, nodes when ssh does, the API when it is up. What could not be had is said in `missing.txt`. Secrets are
 * taken out. Returns the paths written.
 */
export async function collectEvidence(access: Access, dir: string, signal?: AbortSignal): Promise<string[]> {
  const written: string[] = [];
  const missing: string[] = [];
  const { token } = access.secrets;
  const keep = (name: string, text: string) => {
    const path = join(dir, name);
    writeWhole(path, text.replaceAll(token, "***"));
    written.push(path);
  };
  const attempt = async (what: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      missing.push(`${what}: ${renderError(error)}`);
    }
  };
  const limits = signal === undefined ? {} : { signal };

  const fromConsole = (node: string) => {
    const path = access.consolePath(node);
    if (path !== undefined && existsSync(path)) keep(join(node, "console.log"), readFileSync(path, "utf8"));
  };
  const fromNode = async (node: string) => {
    await using connection = await access.ssh(node, { deadline: seconds(20), ...limits });
    for (const [name, command] of Object.entries(nodeCommands)) {
      await attempt(`${node}: ${name}`, async () => {
        const { stdout, stderr } = await connection.exec(shellQuote(["sudo", "sh", "-c", command]), {
          accept: anyCode,
          timeout: seconds(60),
          ...limits,
        });
        keep(join(node, name), `${stdout}\n${stderr}`);
      });
    }
  };
  const fromLibvirt = async (node: string) => {
    keep(join(node, "domain.xml"), await access.libvirt.dumpXml(node, signal));
  };
  const fromApi = async () => {
    const kube = access.kube();
    for (const path of [
      "/api/v1/nodes",
      "/api/v1/pods",
      "/api/v1/events",
      "/apis/apps/v1/deployments",
      "/readyz?verbose",
    ]) {
      const answer = await kube.request(path, limits);
      keep(join("api", `${path.split("/").at(-1)?.replace(/\?.*/, "")}.json`), answer.text);
    }
  };

  await Promise.all([
    ...access.plan.nodes.flatMap(({ name }) => [
      attempt(`${name}: console`, async () => fromConsole(name)),
      attempt(`${name}: domain`, () => fromLibvirt(name)),
      attempt(`${name}: ssh`, () => fromNode(name)),
    ]),
    attempt("api", fromApi),
  ]);
  if (missing.length > 0) keep("missing.txt", `${missing.join("\n")}\n`);
  return written;
}

const anyCode = Array.from({ length: 256 }, (_, code) => code);
