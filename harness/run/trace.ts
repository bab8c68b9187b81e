import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type ClockSample, offsetOfSamples } from "../core/clock.ts";
import { seconds } from "../core/duration.ts";
import { renderError } from "../core/errors.ts";
import type { GuestTrace, KubeEventTrace, TraceSource } from "../report/trace.ts";
import { cloudInitSpans, cloudInitStages } from "../tools/cloud-init-log.ts";
import { shellQuote } from "../tools/exec.ts";
import type { NodeConnection } from "../tools/ssh.ts";
import { terraformSpans } from "../tools/terraform-log.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type Access, openAccess } from "./access.ts";
import { ClusterDir } from "./cluster.ts";
import { readEvents, readPlan } from "./run-files.ts";
import { keepForSuite } from "./suite-record.ts";

/** What was fetched from a run's guests and its API, kept beside its events, because the guests go and the run stays. */
interface Collected {
  readonly guests: readonly GuestTrace[];
  readonly kubernetes: readonly KubeEventTrace[];
}

const clockReadings = 5;
const journalLines = 2_000;
const mark = "@@kpi ";

/** All from one round trip: an emulated guest pays for every process. */
const guestScript = [
  `echo '${mark}status'; cat /run/cloud-init/status.json; echo`,
  `echo '${mark}log'; grep -aE 'handlers.py.*(start|finish): ' /var/log/cloud-init.log`,
  `echo '${mark}journal'; journalctl --boot --no-pager --output=short-unix --unit=k3s --unit=k3s-agent --lines=${journalLines}`,
  `echo '${mark}clock'; date +%s.%N; cat /proc/uptime`,
].join("\n");

/**
 * Fetches what only the guests and the API of a running cluster know and keeps it in the run's directory. Each part as far as it can be
 * had: gives a line for whatever could not. Some seconds in emulation, so only when a trace is asked for.
 */
export async function collectGuests(access: Access, dir: string, signal?: AbortSignal): Promise<string[]> {
  const missing: string[] = [];
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T[]> => {
    try {
      return [await work()];
    } catch (error) {
      signal?.throwIfAborted();
      missing.push(`${what}: ${renderError(error).split("\n")[0]}`);
      return [];
    }
  };
  const [guests, kubernetes] = await Promise.all([
    Promise.all(access.plan.nodes.map(({ name }) => attempt(name, () => guestTrace(access, name, signal)))),
    attempt("kubernetes events", () => kubeEvents(access, signal)),
  ]);
  const collected: Collected = { guests: guests.flat(), kubernetes: kubernetes.flat() };
  writeWhole(join(dir, "guests.json"), `${JSON.stringify(collected).replaceAll(access.secrets.token, "***")}\n`);
  return missing;
}

async function guestTrace(access: Access, node: string, signal?: AbortSignal): Promise<GuestTrace> {
  const limits = signal === undefined ? {} : { signal };
  await using connection = await access.ssh(node, { deadline: seconds(20), ...limits });
  const samples: ClockSample[] = [];
  for (let reading = 0; reading < clockReadings; reading += 1) samples.push(await readClock(connection, signal));
  const { stdout } = await connection.exec(shellQuote(["sudo", "-n", "sh", "-c", guestScript]), {
    timeout: seconds(60),
    ...limits,
  });
  const offset = offsetOfSamples(samples);
  return { node, ...(offset === undefined ? {} : { offset }), ...parseGuest(stdout) };
}

async function readClock(connection: NodeConnection, signal?: AbortSignal): Promise<ClockSample> {
  const now = () => performance.timeOrigin + performance.now();
  const before = now();
  const options = { timeout: seconds(20), ...(signal === undefined ? {} : { signal }) };
  const { stdout } = await connection.exec("date +%s.%N", options);
  return { before, guest: 1_000 * Number(stdout), after: now() };
}

/** Takes apart what the script in the guest printed. */
export function parseGuest(printed: string): Pick<GuestTrace, "spans" | "journal"> {
  const parts = new Map(
    printed.split(`${mark}`).map((part) => [part.slice(0, part.indexOf("\n")), part.slice(part.indexOf("\n") + 1)]),
  );
  const [wall = 0, up = 0] = (parts.get("clock") ?? "").split("\n").map((line) => Number(line.split(" ")[0]));
  const journal = (parts.get("journal") ?? "").split("\n").flatMap((line) => {
    const [, at, text = ""] = /^(\d+\.\d+) \S+ (.*)$/.exec(line) ?? [];
    return at === undefined ? [] : [{ name: text, at: 1_000 * Number(at) }];
  });
  return {
    spans: [
      ...cloudInitStages(parts.get("status") ?? "", 1_000 * (wall - up)),
      ...cloudInitSpans(parts.get("log") ?? ""),
    ],
    journal,
  };
}

interface ApiEvent {
  readonly eventTime?: string | null;
  readonly firstTimestamp?: string | null;
  readonly metadata?: { readonly creationTimestamp?: string };
  readonly involvedObject?: { readonly kind?: string; readonly name?: string };
  readonly reason?: string;
  readonly message?: string;
  readonly type?: string;
  readonly source?: { readonly host?: string };
}

async function kubeEvents(access: Access, signal?: AbortSignal): Promise<KubeEventTrace[]> {
  const answer = await access.kube().request("/api/v1/events", signal === undefined ? {} : { signal });
  return parseKubeEvents(answer.text, access.server.name);
}

/** Events as the API lists them. The stamp is by the clock of the node that reported it, else by the server's. */
export function parseKubeEvents(list: string, server: string): KubeEventTrace[] {
  const { items = [] } = JSON.parse(list) as { items?: readonly ApiEvent[] };
  return items.flatMap((event) => {
    const { eventTime, firstTimestamp, metadata, involvedObject, reason, message, type, source } = event;
    const at = Date.parse(eventTime ?? firstTimestamp ?? metadata?.creationTimestamp ?? "");
    if (Number.isNaN(at)) return [];
    const object = `${involvedObject?.kind ?? ""}/${involvedObject?.name ?? ""}`;
    const args = { object, message: message ?? "", type: type ?? "" };
    return [{ name: `${reason ?? "event"} ${object}`, at, node: source?.host || server, args }];
  });
}

/** What a run left in its directory, ready to be drawn. */
export function readTraceSource(dir: string): TraceSource {
  const collected = optional(join(dir, "guests.json"), (text) => JSON.parse(text) as Collected);
  const spans = optional(join(dir, "terraform.log"), terraformSpans) ?? [];
  return {
    events: readEvents(dir),
    terraform: spans.map(({ address, action, from, to, failed }) => ({
      name: `${action} ${address}`,
      from,
      to,
      failed,
    })),
    guests: collected?.guests ?? [],
    kubernetes: collected?.kubernetes ?? [],
  };
}

function optional<T>(path: string, read: (text: string) => T): T | undefined {
  return existsSync(path) ? read(readFileSync(path, "utf8")) : undefined;
}

/** Collects from the guests if the run's cluster is still the one that it made; gives what could not be had, or why nothing could. */
export async function collectIfRunning(state: string, dir: string, signal?: AbortSignal): Promise<string[]> {
  const plan = readPlan(dir);
  const cluster = plan === undefined ? undefined : new ClusterDir(state, plan.cluster);
  if (cluster?.exists() !== true) return [];
  try {
    const opened = await openAccess(cluster);
    if (opened.state.run !== basename(dir)) return [];
    const missing = await collectGuests(opened.access, dir, signal);
    keepForSuite(dir);
    return missing;
  } catch (error) {
    signal?.throwIfAborted();
    return [renderError(error).split("\n")[0] ?? ""];
  }
}
