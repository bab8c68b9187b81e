import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type KpiPaths, projectRoot } from "../core/paths.ts";
import { digest, type Plan } from "../core/plan.ts";
import { probeAccelerator } from "../lab/accelerator.ts";
import { checkpointFormat } from "../lab/checkpoint.ts";
import { findImage } from "../supplies/image.ts";
import { inspectSupplies, loadLock, type SupplyView } from "../supplies/supplies.ts";
import { findProgram } from "../tools/environment.ts";
import { run } from "../tools/exec.ts";

/** All that decides what is in a checkpoint and whether this machine can go on from it: name to value. */
export type CheckpointInputs = Readonly<Record<string, string>>;

/** The checkpoint's identity: 64 hexadecimal digits. Pure. */
export const checkpointKey = (inputs: CheckpointInputs): string => digest(inputs);

/** What differs between two checkpoints' inputs, one line each, for people; empty when nothing does. Pure. */
export function inputChanges(before: CheckpointInputs, now: CheckpointInputs): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
  return names.flatMap((name) => {
    const [was, is] = [before[name], now[name]];
    if (was === is) return [];
    if (was === undefined) return [`${name} is new`];
    return [is === undefined ? `${name} is gone` : `${name} was ${short(was)}, is ${short(is)}`];
  });
}

const short = (value: string) => (/^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value);

/** The code that decides what is saved and what the saved guests find around them: other code makes other checkpoints. */
const code = [
  "harness/lab/checkpoint-save.ts",
  "harness/lab/checkpoint-digest.ts",
  "harness/lab/config.ts",
  "harness/lab/init.sh",
  "harness/lab/layout.ts",
  "harness/run/checkpoint.ts",
  "harness/run/lease-moment.ts",
  "harness/run/variables.ts",
];
/** What machines and their first boot are made of. */
const templates = ["cloud-init/*.{tf,tftpl,sh}", "terraform-libvirt/*.{tf,tftpl}"];

/** The moment of a checkpoint that `up` makes: the cluster has just become Ready, and nobody has used it. */
export const justReady = "just Ready";

/** The inputs as they are now, for a plan and a moment of its cluster. What cannot be told (no image, say) is an input of its own, which equals nothing. */
export async function currentInputs(
  plan: Plan,
  moment: string,
  paths: KpiPaths,
  signal: AbortSignal,
): Promise<CheckpointInputs> {
  const options = { signal };
  const { cache } = paths;
  const packer = findProgram("packer") === undefined ? ["packer"] : []; // looking at a program of this machine means hashing it
  const names = [plan.image.source, plan.k3s.distribution, "terraform-provider-libvirt", ...packer];
  const [accelerator, qemu, libvirt, supplies] = await Promise.all([
    probeAccelerator({ cache, signal }),
    run("qemu-system-x86_64", ["--version"], options),
    run("libvirtd", ["--version"], options),
    loadLock().then((lock) => inspectSupplies({ lock, cache, names, signal })),
  ]);
  return {
    moment,
    plan: plan.digest,
    image: await imageKeyOf(plan, paths, supplies, signal),
    ...Object.fromEntries(
      supplies.filter(({ name }) => name !== "packer").map((view) => [`supply ${view.name}`, contentOf(view)]),
    ),
    qemu: firstLine(qemu.stdout),
    libvirt: firstLine(libvirt.stdout),
    accelerator: accelerator.accelerator,
    "cpu model": accelerator.cpuModel,
    format: String(checkpointFormat),
    code: digestOf(code),
    templates: digestOf(templates.flatMap((glob) => [...new Bun.Glob(glob).scanSync({ cwd: projectRoot })]).sort()),
  };
}

const firstLine = (text: string) => text.split("\n")[0] ?? "";

function contentOf({ version, state, files }: SupplyView): string {
  const hashes = Object.entries(files).map(([name, file]) => [name, file.sha256]);
  return hashes.length === 0 ? `${version}, ${state}` : `${version} ${digest(hashes).slice(0, 12)}`;
}

async function imageKeyOf(plan: Plan, { cache }: KpiPaths, supplies: readonly SupplyView[], signal: AbortSignal) {
  const source = supplies.find(({ name }) => name === plan.image.source);
  const guest = source?.files["guest.qcow2"];
  if (source === undefined || guest === undefined) return "its source is not there";
  const packer = findProgram("packer") ?? supplies.find(({ name }) => name === "packer")?.files["packer"]?.path;
  if (packer === undefined) return "packer is not there";
  const image = await findImage({
    plan,
    cache,
    signal,
    source: { name: source.name, version: source.version, files: { "guest.qcow2": guest } },
    packer,
  });
  return image?.key ?? "there is none";
}

/** Of files of the checkout; TypeScript without its comments, types and layout, which decide nothing. */
function digestOf(paths: readonly string[]): string {
  const transpiler = new Bun.Transpiler({ loader: "ts", minifyWhitespace: true });
  return digest(
    paths.map((path) => {
      const text = readFileSync(join(projectRoot, path), "utf8");
      return [path, path.endsWith(".ts") ? transpiler.transformSync(text) : text];
    }),
  );
}
