import { chmodSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { Environment } from "../core/paths.ts";
import { openAccess } from "../run/access.ts";
import { attach, shellQuote } from "../tools/exec.ts";
import { openLab } from "../lab/lab.ts";
import { type Proxy, proxyUrl, pumpStdio } from "../tools/tunnel.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type Arguments, type Command, cluster, flag, lab, pickCluster, required, show, text } from "./command.ts";

async function inNode(args: Arguments): Promise<number> {
  const { access } = await openAccess(pickCluster(args));
  const node = access.node(required(args, 0, "NODE"));
  return attach("ssh", ["-F", access.sshConfigPath, node.name, ...args.rest]);
}

async function nodeLogs(args: Arguments): Promise<number> {
  const { access } = await openAccess(pickCluster(args));
  const node = access.node(required(args, 0, "NODE"));
  if (flag(args, "console")) {
    const path = access.consolePath(node.name);
    if (path === undefined)
      throw new KpiError("host", "consoles are kept in labs only", { hint: `kpi console ${node.name}` });
    return show(readFileSync(path, "utf8"));
  }
  const unit = text(args, "unit") ?? (node.role === "server" ? "k3s" : "k3s-agent");
  const follow = flag(args, "follow") ? ["--follow"] : [];
  return attach("ssh", [
    "-F",
    access.sshConfigPath,
    node.name,
    "sudo",
    "journalctl",
    "--no-pager",
    "--boot",
    "--unit",
    unit,
    ...follow,
  ]);
}

async function useKubectl(args: Arguments): Promise<number> {
  const [option = "", name, ...rest] = args.rest;
  const [which, value = name] = option.split("=", 2); // ours when it comes first; everything else is kubectl's
  const named = (which === "--lab" || which === "--cluster") && value !== undefined;
  const theirs = !named ? args.rest : option.includes("=") ? args.rest.slice(1) : rest;
  const { access } = await openAccess(pickCluster({ ...args, values: named ? { [which.slice(2)]: value } : {} }));
  return attach("kubectl", [...theirs], { KUBECONFIG: access.kubeconfigPath, ...proxyVariables(access.jump) });
}

/** What kubectl reads about proxies, whatever its user says of others: through this one goes all that it asks. */
function proxyVariables(jump: Proxy | undefined): Environment {
  if (jump === undefined) return {};
  const url = proxyUrl(jump);
  return { HTTPS_PROXY: url, https_proxy: url, NO_PROXY: "none.invalid", no_proxy: "none.invalid" };
}

async function giveKubeconfig(args: Arguments): Promise<number> {
  const { access } = await openAccess(pickCluster(args));
  const out = text(args, "out");
  if (out === undefined) return show(readFileSync(access.kubeconfigPath, "utf8"));
  writeWhole(resolve(out), readFileSync(access.kubeconfigPath, "utf8"));
  chmodSync(resolve(out), 0o600);
  return show(shellQuote(["kubectl", "--kubeconfig", resolve(out), "get", "nodes"]));
}

/** Commands that use a cluster which runs. */
export const nodeCommands: Readonly<Record<string, Command>> = {
  ssh: {
    summary: "log in to a node, or run a command there",
    positionals: ["NODE"],
    options: { lab, cluster },
    tail: "[-- COMMAND]",
    run: inNode,
  },

  console: {
    summary: "the serial console of a node (leave with Ctrl-])",
    positionals: ["NODE"],
    options: { lab, cluster },
    async run(args) {
      const { access } = await openAccess(pickCluster(args));
      return attach("virsh", ["-c", access.uri, "console", access.node(required(args, 0, "NODE")).name]);
    },
  },

  logs: {
    summary: "the journal of k3s on a node",
    positionals: ["NODE"],
    options: {
      lab,
      cluster,
      unit: { type: "string", value: "UNIT", help: "another unit, such as kpi-node or cloud-init" },
      follow: { type: "boolean", help: "go on as it grows" },
      console: { type: "boolean", help: "what the node wrote to its serial console, also when ssh is down" },
    },
    run: nodeLogs,
  },

  kubeconfig: {
    summary: "print the kubeconfig, or write it 0600",
    options: { lab, cluster, out: { type: "string", value: "FILE", help: "write it there" } },
    run: giveKubeconfig,
  },

  kubectl: {
    summary: "kubectl on the cluster",
    more: "--lab LAB or --cluster NAME as the first argument says which one; all others are kubectl's.",
    options: {},
    tail: "[--lab LAB] ARGS",
    passThrough: true,
    run: useKubectl,
  },
  proxy: {
    summary: "what ssh_config's ProxyCommand calls: a lab's guest on standard input and output",
    hidden: true,
    readOnly: true,
    positionals: ["LAB_DIR", "HOST", "PORT"],
    options: {},
    async run(args) {
      const lab = await openLab(required(args, 0, "LAB_DIR"));
      if (lab === undefined) throw new KpiError("host", "the lab does not run any more", { hint: "kpi status" });
      await pumpStdio(lab.proxy, required(args, 1, "HOST"), Number(required(args, 2, "PORT")));
      return 0;
    },
  },
};
