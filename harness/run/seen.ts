import { join } from "node:path";
import type { Verdict } from "../core/event.ts";
import type { Accelerator } from "../lab/accelerator.ts";
import type { StoredImage } from "../supplies/image.ts";
import type { NodeState } from "../tools/kube-state.ts";
import { readWhole, writeWhole } from "../tools/whole-file.ts";
import type { Seen } from "./stages.ts";

/** A supply as a run found it. */
export interface SupplySeen {
  readonly version: string;
  /** Where it came from, for people. */
  readonly source: string;
  /** sha256 of each of its files, hex. */
  readonly files: Readonly<Record<string, string>>;
}

/** What the stages of a run saw, as far as it can be kept: plain data, no secret. A stage that did not pass is absent. */
export interface RecordedSeen {
  readonly doctor?: Accelerator;
  readonly supplies?: Readonly<Record<string, SupplySeen>>;
  readonly image?: StoredImage;
  readonly boot?: Readonly<Record<string, Verdict>>;
  readonly network?: Readonly<Record<string, Verdict>>;
  readonly install?: Readonly<Record<string, Verdict>>;
  readonly ready?: readonly NodeState[];
}

/** Writes what has been seen so far into the run's directory, whole or not at all. Cheap: after each stage. */
export function recordSeen(runDir: string, seen: Partial<Seen>): void {
  const { apply: _ways, supplies, ...plain } = seen;
  const recorded: RecordedSeen = {
    ...plain,
    ...(supplies === undefined
      ? {}
      : {
          supplies: Object.fromEntries(
            Object.entries(supplies).map(([name, { version, source, files }]) => [
              name,
              {
                version,
                source,
                files: Object.fromEntries(Object.entries(files).map(([file, { sha256 }]) => [file, sha256])),
              },
            ]),
          ),
        }),
  };
  writeWhole(join(runDir, "seen.json"), `${JSON.stringify(recorded, null, 2)}\n`);
}

/** What a run's stages saw; nothing where the run kept no record. */
export function readSeen(runDir: string): RecordedSeen {
  return readWhole(join(runDir, "seen.json")) ?? {};
}
