/** One event of the Chrome trace-event format (JSON object format). `ts` and `dur` are microseconds. */
export interface TraceEvent {
  readonly ph: "M" | "X" | "i";
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  /** Scope of an instant: its thread. */
  readonly s?: "t";
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Something that took time, in milliseconds since 1970 by the host's clock. */
export interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Something that happened at one instant. */
export type Instant = Omit<Span, "to" | "from"> & { readonly at: number };

/** Where spans and instants go: a row of a process. */
export interface TraceRows {
  span(process: string, row: string, span: Span): void;
  instant(process: string, row: string, instant: Instant): void;
}

/**
 * Gathers spans and instants by process and row, and lays them out: a viewer nests what overlaps in one thread, so what runs side
 * by side gets threads of its own (`commands`, `commands 2`, ...).
 */
export class TraceLayout implements TraceRows {
  private readonly rows = new Map<string, Map<string, { spans: Span[]; instants: Instant[] }>>();

  span(process: string, row: string, span: Span): void {
    this.row(process, row).spans.push({ ...span, to: Math.max(span.from, span.to) });
  }

  instant(process: string, row: string, instant: Instant): void {
    this.row(process, row).instants.push(instant);
  }

  /** Processes of their own for one run of several: nodes of different clusters have the same names. */
  of(run: string): TraceRows {
    return {
      span: (process, row, span) => this.span(`${process} (${run})`, row, span),
      instant: (process, row, instant) => this.instant(`${process} (${run})`, row, instant),
    };
  }

  /** The earliest instant of all, to the millisecond; 0 when there is nothing. */
  get zero(): number {
    const rows = [...this.rows.values()].flatMap((process) => [...process.values()]);
    const times = rows.flatMap(({ spans, instants }) => [
      ...spans.map(({ from }) => from),
      ...instants.map(({ at }) => at),
    ]);
    return Math.floor(times.reduce((least, at) => Math.min(least, at), times[0] ?? 0));
  }

  /** All events, metadata first, then by time. Processes are listed in the order in which they were first mentioned. */
  events(): TraceEvent[] {
    const { zero } = this;
    const micros = (at: number) => Math.round(1_000 * (at - zero));
    const meta: TraceEvent[] = [];
    const rest: TraceEvent[] = [];
    [...this.rows].forEach(([process, rows], index) => {
      const pid = index + 1;
      meta.push(
        named("process_name", pid, 0, { name: process }),
        named("process_sort_index", pid, 0, { sort_index: pid }),
      );
      let tid = 0;
      for (const [row, { spans, instants }] of rows) {
        const lanes = intoLanes(spans);
        Array.from({ length: Math.max(1, lanes.length) }, (_, lane) => {
          tid += 1;
          const name = lane === 0 ? row : `${row} ${lane + 1}`;
          meta.push(
            named("thread_name", pid, tid, { name }),
            named("thread_sort_index", pid, tid, { sort_index: tid }),
          );
          for (const { name, from, to, args } of lanes[lane] ?? [])
            rest.push({
              ph: "X",
              cat: process,
              name,
              pid,
              tid,
              ts: micros(from),
              dur: micros(to) - micros(from),
              ...(args === undefined ? {} : { args }),
            });
          for (const { name, at, args } of lane === 0 ? instants : [])
            rest.push({
              ph: "i",
              s: "t",
              cat: process,
              name,
              pid,
              tid,
              ts: micros(at),
              ...(args === undefined ? {} : { args }),
            });
        });
      }
    });
    return [...meta, ...rest.sort((a, b) => a.ts - b.ts)];
  }

  private row(process: string, row: string) {
    const rows = this.rows.get(process) ?? new Map<string, { spans: Span[]; instants: Instant[] }>();
    this.rows.set(process, rows);
    const found = rows.get(row) ?? { spans: [], instants: [] };
    rows.set(row, found);
    return found;
  }
}

const named = (name: string, pid: number, tid: number, args: Record<string, unknown>): TraceEvent => ({
  ph: "M",
  name,
  pid,
  tid,
  ts: 0,
  args,
});

/** Each span into the first lane in which it fits behind the last one, or wholly inside of it. */
function intoLanes(spans: readonly Span[]): Span[][] {
  const lanes: { spans: Span[]; open: Span[] }[] = [];
  for (const span of spans.toSorted((a, b) => a.from - b.from || b.to - a.to)) {
    const fits = ({ open }: { open: Span[] }) => {
      while (open.length > 0 && (open.at(-1)?.to ?? 0) <= span.from) open.pop();
      return span.to <= (open.at(-1)?.to ?? Number.POSITIVE_INFINITY);
    };
    let lane = lanes.find(fits);
    if (lane === undefined) lanes.push((lane = { spans: [], open: [] }));
    lane.spans.push(span);
    lane.open.push(span);
  }
  return lanes.map(({ spans: placed }) => placed);
}
