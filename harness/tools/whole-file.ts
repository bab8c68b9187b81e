import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { KpiError } from "../core/errors.ts";

/**
 * Writes a file whole or not at all, and its directory where there is none; for its owner only, unless `mode` says otherwise, whatever the
 * umask. Whoever reads it meanwhile sees what was there before.
 */
export function writeWhole(path: string, text: string, mode = 0o600): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const part = `${path}.${process.pid}.part`; // two processes may write the same one
  try {
    writeFileSync(part, text, { mode });
    chmodSync(part, mode & 0o777);
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  }
}

/**
 * What `writeWhole` wrote there as JSON, taken to be what the caller wrote; undefined where there is nothing. Throws a `host` error for
 * what somebody else has spoilt.
 */
export function readWhole<T>(path: string): T | undefined {
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, "utf8");
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new KpiError("host", `${path} cannot be read`, { got: `${text.length} characters that are no JSON`, cause });
  }
}

/** As `readWhole`, for what may have gone meanwhile or been spoilt by somebody else: that is as if it were not there, and so is a null. */
export function readSound<T>(path: string): T | undefined {
  try {
    return readWhole<T | null>(path) ?? undefined;
  } catch {
    return undefined;
  }
}
