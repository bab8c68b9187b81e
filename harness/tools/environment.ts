import { contains, parseNetwork } from "../core/address.ts";
import type { Environment } from "../core/paths.ts";

const proxyNames = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"].flatMap((name) => [name, name.toUpperCase()]);

/**
 * What the user says about proxies. It is taken out of this process's own environment when this file is loaded: Bun's `fetch` goes by it even
 * where it is told another proxy (a lab's), or where what it asks is on this machine.
 */
const proxies: Environment = Object.fromEntries(proxyNames.map((name) => [name, process.env[name]]));
for (const name of proxyNames) delete process.env[name];

// Where both are set, each process that loads a library which asks for colours warns of it. kpi has none where NO_COLOR is set.
if (process.env["NO_COLOR"] !== undefined) delete process.env["FORCE_COLOR"];

// Where system programs are, and Go as its makers install it: the PATH of a root that somebody became by `su` or `sudo` lacks them.
const places = [
  ...(process.env["PATH"] ?? "").split(":"),
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin",
  "/usr/local/go/bin",
];
process.env["PATH"] = [...new Set(places)].filter((place) => place !== "").join(":");

/** Where a program is, by the PATH above; Bun by itself looks where the one that this process was started with says. */
export const findProgram = (name: string, env: Environment = process.env): string | undefined =>
  Bun.which(name, { PATH: env["PATH"] ?? "" }) ?? undefined;

/** The environment of a program that a person talks to: the user's own. */
export const personsEnvironment = (): Environment => ({ ...proxies, ...process.env });

/**
 * The environment of a program whose output is read by us: the user's, but in a language that we read, without colours, and without what
 * people set for other work of theirs with the same programs. `TF_LOG_PROVIDER` for one would have secrets logged; where a coding agent says
 * that it is one (`AGENT`, `CLAUDECODE`, `REPL_ID`), `bun test` names no test that passed.
 */
export function programEnvironment(): Environment {
  const foreign = /^(LANGUAGE$|LC_|FORCE_COLOR$|CLICOLOR_FORCE$|TF_|PKR_VAR_|PACKER_|(?:AGENT|CLAUDECODE|REPL_ID)$)/;
  const kept = Object.entries(personsEnvironment()).filter(([name]) => !foreign.test(name));
  return { ...Object.fromEntries(kept), LC_ALL: "C.UTF-8" };
}

/**
 * The proxy through which an address is to be asked, undefined for none, by the variables that curl and Go's programs read (`http_proxy`,
 * `https_proxy`, `all_proxy`, `no_proxy`, each also in capitals). As for Go, this machine itself is never behind one, and `no_proxy` names
 * domains (with all below them), addresses, networks, each with a port or without, or `*`.
 */
export function proxyFor(url: URL, env: Environment = proxies): string | undefined {
  const read = (name: string) => env[name] || env[name.toUpperCase()] || "";
  const proxy = read(`${url.protocol.slice(0, -1)}_proxy`) || read("all_proxy");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (proxy === "" || host === "localhost" || host === "::1" || /^127\.[0-9.]+$/.test(host)) return undefined;
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const direct = read("no_proxy").split(/[\s,]+/);
  if (direct.some((entry) => isBeyond(entry, host, port))) return undefined;
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}

function isBeyond(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  const [, name = entry, only = port] = /^([^:]+):(\d+)$/.exec(entry) ?? [];
  if (only !== port || name === "") return false;
  if (name.includes("/")) {
    const network = parseNetwork(name);
    return network !== undefined && contains(network, host);
  }
  const domain = name.replace(/^\*?\./, "").toLowerCase();
  return host === domain || host.endsWith(`.${domain}`);
}
