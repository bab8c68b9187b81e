import { appendFileSync, closeSync, type FSWatcher, mkdirSync, openSync, readSync, watch } from "node:fs";
import { basename, join } from "node:path";
import { ticks } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import type { Verdict } from "../core/event.ts";
import type { Libvirt } from "../tools/libvirt.ts";
import { LineReader } from "../tools/lines.ts";

const marker = "KPI-VERDICT ";
// Terminal control sequences (ECMA-48) and the bytes that firmware and kernels leave on a serial line.
const control = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_c]|[\x00-\x08\x0b-\x1f\x7f]/g;

/** A console line as a person can read it, without terminal control. */
export function plainLine(raw: string): string {
  return raw.replaceAll(control, "").trimEnd();
}

/** The verdict that a console line carries, or undefined. A line of that form which does not parse is an ordinary line. */
export function parseVerdict(line: string): Verdict | undefined {
  const at = line.indexOf(marker);
  if (at < 0) return undefined;
  try {
    const { node, step, ok, detail, wall, mono } = JSON.parse(line.slice(at + marker.length)) as Partial<Verdict>;
    if (typeof node !== "string" || typeof step !== "string" || typeof ok !== "boolean") return undefined;
    return { node, step, ok, detail: String(detail ?? ""), wall: Number(wall), mono: Number(mono) };
  } catch {
    return undefined;
  }
}

/** A set of console files that are being followed. */
export interface ConsoleFollower extends Disposable {
  /** Reads what has been written so far; for the moment before a verdict about a failure is drawn. */
  flush(): void;
}

/**
 * Follows `<dir>/<node>.log` of every node by file system events, from the beginning of each file, and hands over every
 * line once. Files may appear later than the follower. What `onLine` throws, or a file that cannot be read, is told to `onError`: file
 * events come from nowhere that could throw it on.
 */
export function followConsoles(
  dir: string,
  nodes: readonly string[],
  onLine: (node: string, line: string) => void,
  onError: (error: unknown) => void,
): ConsoleFollower {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const buffer = new Uint8Array(64 * 1024);
  const positions = new Map(
    nodes.map((node) => [node, { offset: 0, lines: new LineReader((line) => onLine(node, plainLine(line))) }]),
  );
  const read = (node: string) => {
    const position = positions.get(node);
    if (position === undefined) return;
    let file: number;
    try {
      file = openSync(join(dir, `${node}.log`), "r");
    } catch {
      return; // not there yet
    }
    try {
      for (let count; (count = readSync(file, buffer, 0, buffer.length, position.offset)) > 0;) {
        position.offset += count;
        position.lines.push(buffer.subarray(0, count));
      }
    } catch (error) {
      onError(error);
    } finally {
      closeSync(file);
    }
  };
  const flush = () => nodes.forEach(read);
  const watcher: FSWatcher = watch(dir, (_event, name) => {
    if (name !== null) read(basename(String(name), ".log"));
  });
  flush();
  return {
    flush,
    [Symbol.dispose]() {
      watcher.close();
      flush();
    },
  };
}

/**
 * Writes what the nodes show on their serial consoles to `<dir>/<node>.log`, until abort: what libvirt does by itself in a lab. A console that
 * is not there yet, has ended or is somebody else's is asked for again; what it shows meanwhile is lost. A line that cannot be written is told
 * to `onError`: a verdict may be in it, for which somebody waits.
 */
export function recordConsoles(
  libvirt: Pick<Libvirt, "console">,
  dir: string,
  nodes: readonly string[],
  signal: AbortSignal,
  onError: (error: unknown) => void,
): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const node of nodes) {
    const path = join(dir, `${node}.log`);
    const write = (line: string) => {
      try {
        appendFileSync(path, `${line}\n`, { mode: 0o600 });
      } catch (error) {
        onError(error);
      }
    };
    void (async () => {
      for await (const _ of ticks(seconds(1), signal)) await libvirt.console(node, write, signal).catch(() => {});
    })();
  }
}
