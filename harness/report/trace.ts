import type { ClaimResult, WorkResult } from "../core/claim.ts";
import { agree, type ClockOffset, offsetOfArrivals } from "../core/clock.ts";
import type { RunEvent } from "../core/event.ts";
import { type Instant, type Span, TraceLayout, type TraceRows } from "./trace-events.ts";

/** What a guest wrote down by its own clock; times in milliseconds since 1970. */
export interface GuestTrace {
  readonly node: string;
  readonly offset?: ClockOffset;
  readonly spans: readonly Span[];
  readonly journal: readonly Instant[];
}

/** An event of the Kubernetes API. `node`: by whose clock it is stamped, where that is known. */
export interface KubeEventTrace extends Instant {
  readonly node?: string;
}

/** Everything that one run left. Terraform's times are the host's. */
export interface TraceSource {
  readonly events: readonly RunEvent[];
  readonly terraform: readonly (Span & { readonly failed?: boolean })[];
  readonly guests: readonly GuestTrace[];
  readonly kubernetes: readonly KubeEventTrace[];
}

/** What a suite adds to its runs. */
export interface SuiteTrace {
  readonly claims?: readonly ClaimResult[];
  readonly work?: readonly WorkResult[];
}

/**
 * One trace of several runs, of the claims judged meanwhile and of what was done for them, in Chrome's trace-event format: chrome://tracing
 * and Perfetto open it. Of several runs each has processes of its own, named by it. All on the host's clock: what guests stamped is
 * shifted by their measured offset, which stands in `otherData` with its uncertainty. A guest whose clock was not read is placed by its
 * console lines; without any, its own clock is taken as it is.
 */
export function renderTrace(sources: readonly TraceSource[], { claims = [], work = [] }: SuiteTrace = {}): string {
  const layout = new TraceLayout();
  const clocks = sources.flatMap((source) => {
    const run = runOf(source);
    return addRun(sources.length > 1 ? layout.of(run) : layout, run, source);
  });
  for (const { at, elapsed, cluster, name, outcome } of work) {
    const from = Date.parse(at);
    layout.span("suite", cluster, { name, from, to: from + elapsed, args: { outcome } });
  }
  for (const { at, elapsed, area, title, outcome, file, line, why } of claims) {
    const from = Date.parse(at);
    const args = { outcome, at: `${file}:${line}`, ...(why === undefined ? {} : { why }) };
    layout.span("claims", area, { name: title, from, to: from + elapsed, args });
  }
  const document = {
    displayTimeUnit: "ms",
    otherData: { clock: "the host's", startedAt: new Date(layout.zero).toISOString(), guests: clocks },
    traceEvents: layout.events(),
  };
  return `${JSON.stringify(document)}\n`;
}

/** A guest's clock as the trace reads it. `steady`: what the console lines say agrees, so the clock was not set in between. */
interface GuestClock {
  readonly run: string;
  readonly node: string;
  readonly offsetMs: number;
  readonly uncertaintyMs: number | null;
  readonly how: string;
  readonly steady: boolean | null;
}

const runOf = ({ events }: TraceSource): string => events.find((event) => event.type === "run-started")?.run ?? "";

function addRun(layout: TraceRows, run: string, source: TraceSource): GuestClock[] {
  const first = source.events[0];
  if (first === undefined) return [];
  // Every event's time by the monotonic clock, so that a step of the host's clock in the middle cannot tear the run apart.
  const zero = Date.parse(first.at) - first.t;
  const arrivals = Map.groupBy(
    source.events.flatMap((event) =>
      event.type === "verdict"
        ? [{ node: event.verdict.node, guest: 1_000 * event.verdict.wall, arrived: zero + event.t }]
        : [],
    ),
    ({ node }) => node,
  );
  const nodes = new Set([...arrivals.keys(), ...source.guests.map(({ node }) => node)]);
  const clocks = new Map<string, ClockOffset | undefined>();
  const told = [...nodes].map((node): GuestClock => {
    const measured = source.guests.find((guest) => guest.node === node)?.offset;
    const paired = offsetOfArrivals(arrivals.get(node) ?? []);
    const offset = measured ?? paired;
    clocks.set(node, offset);
    return {
      run,
      node,
      offsetMs: offset?.ms ?? 0,
      uncertaintyMs: offset?.uncertainty ?? null,
      how: offset?.how ?? "taken as it is",
      steady: measured === undefined || paired === undefined ? null : agree(measured, paired),
    };
  });
  const onHost = (node: string | undefined, at: number) => at + (node === undefined ? 0 : (clocks.get(node)?.ms ?? 0));

  addEvents(layout, source.events, zero, onHost);
  for (const { failed, ...span } of source.terraform)
    layout.span("terraform", "resources", failed === true ? { ...span, name: `${span.name} FAILED` } : span);
  for (const { node, spans, journal } of source.guests) {
    for (const span of spans) {
      const row = span.name.startsWith("stage ") ? "cloud-init" : "cloud-init modules";
      layout.span(`node ${node}`, row, { ...span, from: onHost(node, span.from), to: onHost(node, span.to) });
    }
    for (const line of journal) layout.instant(`node ${node}`, "k3s journal", { ...line, at: onHost(node, line.at) });
  }
  for (const { node, ...event } of source.kubernetes)
    layout.instant("kubernetes", node ?? "cluster", { ...event, at: onHost(node, event.at) });
  return told;
}

function addEvents(
  layout: TraceRows,
  events: readonly RunEvent[],
  zero: number,
  onHost: (node: string, at: number) => number,
): void {
  // A verdict ends a step of the node's script: it began where the one before it ended.
  const steps = new Map<string, number>();
  for (const event of events) {
    const at = zero + event.t;
    switch (event.type) {
      case "run-started":
        layout.instant("harness", "run", { name: `run ${event.run} started`, at, args: { why: event.why } });
        break;
      case "run-ended":
        layout.span("harness", "run", { name: `run ${event.outcome}`, from: at - event.elapsed, to: at });
        break;
      case "stage-ended": {
        const args = { outcome: event.outcome, ...(event.why === undefined ? {} : { why: event.why }) };
        layout.span("harness", `stage ${event.stage}`, { name: event.stage, from: at - event.elapsed, to: at, args });
        break;
      }
      case "command": {
        const name = shortCommand(event.command);
        const args = { command: event.command, ...(event.code === undefined ? {} : { code: event.code }) };
        layout.span("harness", "commands", { name, from: at - event.elapsed, to: at, args });
        break;
      }
      case "note":
        layout.instant("harness", "notes", { name: event.text, at });
        break;
      case "domain":
        layout.instant("libvirt", event.domain, { name: `${event.kind}: ${event.detail}`, at: Date.parse(event.when) });
        break;
      case "console":
        layout.instant(`node ${event.node}`, "console", { name: event.line, at });
        break;
      case "node":
        layout.instant(`node ${event.node}`, "state", { name: event.state, at, args: { detail: event.detail ?? "" } });
        break;
      case "verdict": {
        const { node, step, ok, detail, wall } = event.verdict;
        const to = onHost(node, 1_000 * wall);
        const name = ok ? step : `${step} FAILED`;
        layout.span(`node ${node}`, "first boot", { name, from: steps.get(node) ?? to, to, args: { detail } });
        steps.set(node, to);
        break;
      }
      default:
    }
  }
}

/** A command as it fits into a bar: without directories, and not all of it; the whole stands in its arguments. */
function shortCommand(command: string): string {
  const bare = command.replaceAll(/(?:\/[\w@%+=:,.-]+)+\//g, "");
  return bare.length > 60 ? `${bare.slice(0, 57)}...` : bare;
}
