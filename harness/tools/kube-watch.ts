import { notYet, orAborted, until } from "../core/deadline.ts";
import { type Duration, formatDuration, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { ApiAway, type ApiTransport } from "./kube-http.ts";
import { LineReader } from "./lines.ts";

/** What every Kubernetes object has. */
export interface ApiObject {
  readonly metadata?: { readonly name?: string; readonly namespace?: string; readonly resourceVersion?: string };
}

export interface WatchOptions {
  readonly signal?: AbortSignal;
  /** How long the API may be away before the watch gives up; 5 minutes unless said otherwise. */
  readonly away?: Duration;
  /** How long one list may take before it is asked for again; 30 s unless said otherwise. */
  readonly listLimit?: Duration;
  /** Told when the API goes away and why, once for each reason in a row. */
  readonly onAway?: (why: string) => void;
}

interface ApiList<T> {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly T[];
}
interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T;
}

/** The server ends a watch after this time, so that a connection which died unseen is replaced. */
const watchSeconds = 240;
/** Bookmarks come about once a minute; a stream that is silent for longer has died. */
const silence = seconds(100);

/**
 * Keeps a list of objects current: lists once, then streams changes, and begins anew whenever the stream ends or the API
 * was away. `onChange` gets the whole list each time. Returns when the signal aborts (rejecting with its reason) or
 * the API refuses.
 */
export async function watchList<T extends ApiObject>(
  api: ApiTransport,
  path: string,
  onChange: (items: readonly T[]) => void,
  options: WatchOptions = {},
): Promise<never> {
  const { signal, away = minutes(5), listLimit = seconds(30) } = options;
  let told = "";
  const onAway = (why: string) => {
    if (why !== told) options.onAway?.(why);
    told = why;
  };
  const stoppable = signal === undefined ? {} : { signal };
  let shortLived = 0; // streams that ended at once, in a row: each makes the next list wait one back-off step longer
  for (;;) {
    let wait = shortLived;
    const list = await until(
      `the API at ${api.access.server} does not answer`,
      away,
      async (stop) => {
        if (wait-- > 0) notYet("a watch that ended at once");
        const limit = AbortSignal.timeout(listLimit);
        try {
          return await api.json<ApiList<T>>(path, { signal: AbortSignal.any([stop, limit]) });
        } catch (error) {
          stop.throwIfAborted();
          return again(limit.aborted ? new ApiAway(`no list within ${formatDuration(listLimit)}`) : error, onAway);
        }
      },
      stoppable,
    );
    told = "";
    const items = new Map(list.items.map((item) => [keyOf(item), item]));
    const tell = () => onChange([...items.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)));
    tell();
    const began = performance.now();
    try {
      await follow(api, path, list.metadata.resourceVersion, signal, (event: WatchEvent<T>) => {
        if (event.type === "DELETED") items.delete(keyOf(event.object));
        else items.set(keyOf(event.object), event.object);
        tell();
      });
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof ApiAway)) throw error;
      onAway(error.message);
    }
    shortLived = performance.now() - began < 1_000 ? Math.min(shortLived + 1, 5) : 0;
  }
}

/** Waits until `missing` says nothing any more about the list; it says what is still wanted, for people. */
export async function waitForList<T extends ApiObject>(
  api: ApiTransport,
  path: string,
  what: string,
  missing: (items: readonly T[]) => string | undefined,
  options: WatchOptions & { readonly deadline: Duration },
): Promise<readonly T[]> {
  const { deadline, signal, onAway, ...others } = options;
  const enough = new AbortController();
  const time = AbortSignal.timeout(deadline);
  const stop = AbortSignal.any([enough.signal, time, ...(signal === undefined ? [] : [signal])]);
  let last = "nothing yet";
  let found: readonly T[] | undefined;
  const look = (items: readonly T[]) => {
    const still = missing(items);
    last = still ?? last;
    if (still !== undefined || found !== undefined) return;
    found = items;
    enough.abort();
  };
  const told = (why: string) => {
    last = why;
    onAway?.(why);
  };
  try {
    return await watchList<T>(api, path, look, { ...others, signal: stop, away: deadline, onAway: told });
  } catch (error) {
    if (found !== undefined) return found;
    signal?.throwIfAborted();
    if (!time.aborted) throw error;
    throw new KpiError("deadline", what, { details: [`last saw: ${last}`] });
  }
}

/** Streams one watch until the server ends it. */
async function follow<T extends ApiObject>(
  api: ApiTransport,
  path: string,
  from: string,
  signal: AbortSignal | undefined,
  onEvent: (event: WatchEvent<T>) => void,
): Promise<void> {
  const query = `watch=1&allowWatchBookmarks=true&timeoutSeconds=${watchSeconds}&resourceVersion=${from}`;
  const ended = new AbortController();
  const stop = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal]);
  const full = `${path}${path.includes("?") ? "&" : "?"}${query}`;
  try {
    const speaking = () => AbortSignal.any([stop, AbortSignal.timeout(silence)]);
    const response = await orAborted(speaking(), api.send(full, { signal: stop }));
    if (!response.ok) throw api.refused(response.status, path, await response.text());
    const lines = new LineReader((line) => {
      if (line.trim() === "") return;
      const event = JSON.parse(line) as WatchEvent<T>;
      if (event.type === "ERROR") throw new ApiAway("the watch is too old"); // 410: list again
      if (event.type !== "BOOKMARK") onEvent(event);
    }, false);
    const reader = response.body?.getReader();
    for (;;) {
      const part = await orAborted(speaking(), reader?.read());
      if (part === undefined || part.done) return;
      lines.push(part.value);
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof KpiError || error instanceof ApiAway) throw error;
    throw new ApiAway(`the watch broke off: ${(error as Error).message}`);
  } finally {
    ended.abort(); // frees the connection, also when a line was bad
  }
}

function again(error: unknown, onAway: (why: string) => void): never {
  if (!(error instanceof ApiAway)) throw error;
  onAway(error.message);
  return notYet(error.message);
}

const keyOf = (item: ApiObject): string => `${item.metadata?.namespace ?? ""}/${item.metadata?.name ?? ""}`;
