import { readFileSync } from "node:fs";
import { formatDuration } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import { table } from "../report/plan.ts";
import { buildImage, type StoredImage } from "../supplies/image.ts";
import { loadLock, resolveSupplies } from "../supplies/supplies.ts";
import { makeReady } from "./doctor.ts";
import { runId } from "./log.ts";
import { supplyFile } from "./variables.ts";

/** Builds the image of a plan outside of a run, after what it needs; `say` hears each step. */
export async function makeImage(options: {
  plan: Plan;
  paths: KpiPaths;
  rebuild: boolean;
  signal: AbortSignal;
  say: (line: string) => void;
}): Promise<StoredImage> {
  const { plan, paths, rebuild, signal, say } = options;
  const accelerator = await makeReady({ plan, paths, signal, note: say });
  const supplies = await resolveSupplies([plan.image.source, "packer"], {
    lock: await loadLock(),
    cache: paths.cache,
    signal,
    onProgress: (name, { what }) => say(`${name}: ${what}`),
  });
  const source = supplies[plan.image.source];
  if (source === undefined) throw new KpiError("contract", `supply ${plan.image.source} was not resolved`);
  const log = `${paths.state}/runs/${runId("image", new Date())}/packer.log`;
  return buildImage({
    plan,
    source,
    cache: paths.cache,
    accelerator,
    packer: supplyFile(supplies, "packer", "packer").path,
    log,
    rebuild,
    signal,
    onProgress: ({ what }) => say(what),
  });
}

/** The images in the cache for a person: size, digest, build time, and the packages of the newest. */
export function renderImages(images: readonly StoredImage[]): string {
  const [newest] = images;
  if (newest === undefined) return "no image yet: kpi up builds one, kpi image --rebuild too";
  const rows = images.map(({ name, key, size, sha256, builtAt, elapsed }) => [
    name,
    key.slice(0, 12),
    `${(size / 1_000_000).toFixed(0)} MB`,
    sha256.slice(0, 12),
    builtAt.slice(0, 16).replace("T", " "),
    formatDuration(elapsed),
  ]);
  return [table(["image", "key", "size", "sha256", "built", "took"], rows), "", newest.path, "", packages(newest)].join(
    "\n",
  );
}

/** The same for a program: every image with its package manifest. */
export function imagesJson(images: readonly StoredImage[]): unknown {
  return images.map((image) => ({ ...image, packages: packages(image).split("\n") }));
}

function packages({ manifest }: StoredImage): string {
  return readFileSync(manifest, "utf8").trim();
}
