import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { chmod, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { notYet, until } from "../core/deadline.ts";
import { type Duration, milliseconds, minutes } from "../core/duration.ts";
import type { OnProgress } from "../core/event.ts";
import { projectRoot } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import { abandoned, entries, hiddenName } from "../tools/directory.ts";
import { tryLock } from "../tools/owner.ts";
import { type PackerBuild, packerBuild, packerInit, packerVersion } from "../tools/packer.ts";
import { mayConfine, run } from "../tools/exec.ts";
import { type ImageInputs, imageChanges, imageKey, templateFiles } from "./image-key.ts";
import { sha256File } from "./store.ts";
import type { ResolvedSupply } from "./supply.ts";

export { type ImageInputs, imageChanges, imageKey } from "./image-key.ts";

/** A finished image: a directory that nobody changes any more. */
export interface StoredImage {
  readonly name: string;
  readonly key: string;
  /** `image.qcow2`, absolute. */
  readonly path: string;
  /** `manifest.txt`: one package and version a line. */
  readonly manifest: string;
  readonly inputs: ImageInputs;
  /** Bytes of the file. */
  readonly size: number;
  readonly sha256: string;
  readonly builtAt: string;
  readonly elapsed: Duration;
  /** Whether it was there already. */
  readonly cached: boolean;
}

/** How guests run where the image is built; as the accelerator probe says. */
export interface BuildMachine {
  readonly accelerator: "kvm" | "tcg";
  readonly cpuModel: string;
}

export interface ImageOptions {
  readonly plan: Pick<Plan, "image" | "host">;
  /** The supply that the plan names as source; its `guest.qcow2` is taken. */
  readonly source: Pick<ResolvedSupply, "name" | "version" | "files">;
  /** The cache's top, `$KPI_CACHE`. */
  readonly cache: string;
  /** Path of Packer's program. */
  readonly packer: string;
  readonly signal?: AbortSignal;
}

export interface BuildImageOptions extends ImageOptions {
  readonly accelerator: BuildMachine;
  /** What Packer says is appended to this file; the build machine's console is put beside it when the build fails. */
  readonly log: string;
  /** Build even when it is there. */
  readonly rebuild?: boolean;
  readonly onProgress?: OnProgress;
}

const template = join(projectRoot, "packer", "k3s-node");
/**
 * How the result is stored. QEMU unpacks a whole compressed cluster for each read of it, in every guest anew: reading 400 MiB
 * in pieces of 16 KiB takes 4.5 s of CPU against 0.4 s, unpacking all once takes 1.5 s. A file that is to be uploaded stays small.
 */
const formFor = ({ kind }: Plan["host"]) => (kind === "lab" ? "qcow2, unpacked" : "qcow2, zstd");

const imagesDir = (cache: string) => join(cache, "images");
const contentDir = (cache: string, name: string, key: string) => join(imagesDir(cache), name, key.slice(0, 16));

/**
 * The image for a plan: from the cache, or built by Packer. Two builds of the same image do not happen at once; the second
 * waits and takes the first one's. A build that fails or is killed leaves nothing that counts as an image. Throws a
 * `command` error with Packer's own errors.
 */
export async function buildImage(options: BuildImageOptions): Promise<StoredImage> {
  const { cache, plan, rebuild = false, signal, onProgress } = options;
  const inputs = await imageInputs(options);
  const { name } = plan.image;
  const key = imageKey(inputs);
  if (!rebuild) {
    const ready = readImage(cache, name, key);
    if (ready !== undefined) return ready;
  }
  const asked = Date.now();
  using _ = await hold(join(imagesDir(cache), name, ".lock"), signal, onProgress);
  for (const dir of staleImages(cache, name)) await rm(dir, { recursive: true, force: true });
  const other = readImage(cache, name, key); // made by whoever held the lock
  if (other !== undefined && (!rebuild || Date.parse(other.builtAt) > asked)) return other;
  const last = latest(cache, name);
  const why = rebuild ? ["as asked"] : last === undefined ? ["there is none yet"] : imageChanges(last.inputs, inputs);
  onProgress?.({ what: `building ${name}: ${why.join(", ")}` });
  return await build(options, inputs, key); // the lock is held until it is done
}

/** The image for a plan if it is there, without building it. */
export async function findImage(options: ImageOptions): Promise<StoredImage | undefined> {
  return readImage(options.cache, options.plan.image.name, imageKey(await imageInputs(options)));
}

/** All finished images in the cache, newest first. */
export function listImages(cache: string): StoredImage[] {
  return entries(imagesDir(cache))
    .flatMap((name) => entries(join(imagesDir(cache), name)).map((key) => readImage(cache, name, key)))
    .filter((image) => image !== undefined)
    .sort((a, b) => b.builtAt.localeCompare(a.builtAt));
}

/** Staging directories, of all images or of one, whose process is dead. Whoever gets them may remove them. */
export function staleImages(cache: string, name?: string): string[] {
  const names = name === undefined ? entries(imagesDir(cache)) : [name];
  return names.flatMap((each) => abandoned(join(imagesDir(cache), each)));
}

async function imageInputs({ plan, source, packer, signal }: ImageOptions): Promise<ImageInputs> {
  const [version, files] = await Promise.all([packerVersion(packer, signal), templateFiles(template)]);
  const { name, version: sourceVersion } = source;
  const { sha256 } = sourceFile(source);
  return {
    name: plan.image.name,
    source: { name, version: sourceVersion, sha256 },
    packer: version,
    template: files,
    form: formFor(plan.host),
  };
}

function sourceFile(source: ImageOptions["source"]) {
  const file = source.files["guest.qcow2"];
  if (file === undefined) throw new Error(`supply ${source.name} has no guest.qcow2`);
  return file;
}

/** Waits for another process that builds the same image. */
async function hold(
  path: string,
  signal: AbortSignal | undefined,
  onProgress: OnProgress | undefined,
): Promise<Disposable> {
  const attempt = () => {
    const lock = tryLock(path);
    if (!("heldBy" in lock)) return lock;
    const who = `process ${lock.heldBy.pid} (kpi ${lock.heldBy.command})`;
    onProgress?.({ what: `waiting for ${who}, which builds the same image` });
    return notYet(who);
  };
  return until("another run's image build", minutes(60), attempt, signal === undefined ? {} : { signal });
}

/** Everything happens in a directory named after this process; the finished part of it is renamed into place. */
async function build(options: BuildImageOptions, inputs: ImageInputs, key: string): Promise<StoredImage> {
  const { cache, plan, signal, log } = options;
  const { name } = plan.image;
  const staging = join(imagesDir(cache), name, hiddenName("staging"));
  const [work, output] = [join(staging, "work"), join(staging, "output")];
  const began = performance.now();
  await mkdir(work, { recursive: true, mode: 0o700 });
  try {
    await pack(options, inputs, work, output).catch((error: unknown) => {
      const console = join(work, "console.log");
      if (existsSync(console)) copyFileSync(console, join(dirname(log), "image-console.log"));
      throw error;
    });
    signal?.throwIfAborted();
    const path = join(output, "image.qcow2");
    const record = {
      name,
      key,
      inputs,
      size: (await stat(path)).size,
      sha256: await sha256File(path),
      builtAt: new Date().toISOString(),
      elapsed: milliseconds(Math.round(performance.now() - began)),
    };
    writeFileSync(join(output, "image.json"), `${JSON.stringify(record, null, 2)}\n`);
    for (const file of ["image.qcow2", "manifest.txt", "image.json"]) await chmod(join(output, file), 0o444);
    const dir = contentDir(cache, name, key);
    if (existsSync(dir)) renameSync(dir, join(staging, "replaced"));
    await rename(output, dir);
    return stored(dir, record, false);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function pack(options: BuildImageOptions, inputs: ImageInputs, work: string, output: string): Promise<void> {
  const { accelerator, source, log, signal, onProgress, packer } = options;
  const stoppable = signal === undefined ? {} : { signal };
  const seed = join(work, "seed");
  await run(join(template, "scripts", "seed.sh"), [seed], { log, ...stoppable });
  const { path, sha256 } = sourceFile(source);
  const job: PackerBuild = {
    command: packer,
    template,
    work,
    log,
    variables: {
      source_image: path,
      source_checksum: `sha256:${sha256}`,
      image_name: "image.qcow2",
      seed_directory: seed,
      output_directory: output,
      console_log: join(work, "console.log"),
      accelerator: accelerator.accelerator,
      cpu_model: accelerator.cpuModel,
      ...(accelerator.accelerator === "tcg" ? { ssh_timeout: "20m" } : {}), // emulated, on a busy machine
    },
    ...stoppable,
    ...(onProgress === undefined ? {} : { onProgress }),
  };
  await packerInit(job, inputs.packer);
  await packerBuild(job);
  if (inputs.form !== "qcow2, unpacked") return;
  const [packed, image] = [join(work, "packed.qcow2"), join(output, "image.qcow2")];
  await rename(image, packed);
  await run("qemu-img", ["convert", "-O", "qcow2", packed, image], {
    log,
    confined: mayConfine,
    tied: true,
    ...stoppable,
  });
}

/** A finished image, or undefined when there is none or one of its files is not as it was. */
function readImage(cache: string, name: string, key: string): StoredImage | undefined {
  const dir = contentDir(cache, name, key);
  try {
    const record = JSON.parse(readFileSync(join(dir, "image.json"), "utf8")) as Omit<
      StoredImage,
      "path" | "manifest" | "cached"
    >;
    const image = stored(dir, record, true);
    return Bun.file(image.path).size === record.size && existsSync(image.manifest) ? image : undefined;
  } catch {
    return undefined;
  }
}

function stored(dir: string, record: Omit<StoredImage, "path" | "manifest" | "cached">, cached: boolean): StoredImage {
  return { ...record, path: join(dir, "image.qcow2"), manifest: join(dir, "manifest.txt"), cached };
}

const latest = (cache: string, name: string) => listImages(cache).find((image) => image.name === name);
