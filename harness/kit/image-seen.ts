import { readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { kpiPaths, projectRoot } from "../core/paths.ts";
import type { Access } from "../run/access.ts";
import type { ClusterState } from "../run/cluster.ts";
import type { RecordedSeen } from "../run/seen.ts";
import { listImages, type StoredImage } from "../supplies/image.ts";
import { sha256File } from "../supplies/store.ts";
import { hiddenName } from "../tools/directory.ts";
import { run } from "../tools/exec.ts";
import { type ImageFile, listImageFiles } from "../tools/image-files.ts";
import { readSound, writeWhole } from "../tools/whole-file.ts";

/** A node's disk, as qemu-img sees it. Bytes. */
export interface DiskSeen {
  readonly format: string;
  /**
   * The disks below, from the next one to the last, as the hypervisor calls them; none for a disk that stands alone. In a cluster
   * from a checkpoint the first is what was frozen.
   */
  readonly below: readonly string[];
  readonly virtualSize: number;
  readonly actualSize: number;
}

export interface ImageSeen {
  readonly name: string;
  /** As recorded when it was built. */
  readonly sha256: string;
  /** Of the file as it is now. */
  readonly sha256Now: string;
  readonly bytes: number;
  /** Names of the packages that its manifest lists. */
  readonly packages: readonly string[];
  /** Packages that packer/k3s-node promises. */
  readonly promised: readonly string[];
  /** What lies in the directories that must be clean; undefined for one that is not there. */
  readonly directories: Readonly<Record<string, readonly ImageFile[] | undefined>>;
  readonly disks: Readonly<Record<string, DiskSeen>>;
  /** The common base of all disks on the hypervisor. */
  readonly base: { readonly path: string; readonly sha256: string };
}

/** Where a first boot, a login or an installation would have left something. */
const telltale = [
  "/etc",
  "/etc/ssh",
  "/etc/netplan",
  "/etc/systemd/network",
  "/var/lib/cloud",
  "/var/log",
  "/var/log/journal",
  "/home",
  "/root",
  "/etc/rancher",
  "/var/lib/rancher",
  "/var/lib/dhcp",
  "/var/lib/systemd",
  "/var/lib/apt/lists",
];

/** Looks at the image that the cluster's disks are clones of, and at the disks. */
export async function seeImage(access: Access, recorded: RecordedSeen, state: ClusterState): Promise<ImageSeen> {
  const image = recorded.image ?? listImages(kpiPaths().cache).find(({ key }) => key === state.image);
  if (image === undefined)
    throw new KpiError("host", "the image of this cluster is in no cache any more", {
      got: state.image,
      hint: "kpi image",
    });
  const pool = access.lab === undefined ? undefined : join(access.lab.poolDir.host, access.plan.image.pool);
  if (pool === undefined) throw new KpiError("host", "disks are looked at in a lab only");
  const { cluster, nodes } = access.plan;
  const base = join(pool, `${cluster}-base`);
  const [inside, sha256Now, baseHash, disks] = await Promise.all([
    insideOf(image),
    sha256Once(image.path, seenOf(image, "hash")),
    // A cluster and what goes on from its checkpoints have one base; those of another name have another.
    sha256Once(base, seenOf(image, `${cluster}-base`)),
    Promise.all(nodes.map(async ({ name }) => [name, await seeDisk(join(pool, `${cluster}-${name}`))] as const)),
  ]);
  return {
    name: image.name,
    sha256: image.sha256,
    sha256Now,
    bytes: image.size,
    packages: readFileSync(image.manifest, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[0] ?? ""),
    promised: promisedPackages(),
    directories: inside,
    disks: Object.fromEntries(disks),
    base: { path: basename(base), sha256: baseHash },
  };
}

/** Looked into once an image, which is read-only: one that was built anew from the same inputs has another content, and is another. */
async function insideOf(image: StoredImage): Promise<ImageSeen["directories"]> {
  const keptAt = seenOf(image, "inside");
  const known = readSound<ImageSeen["directories"]>(keptAt);
  if (known !== undefined) return known;
  // Beside the images of its name, where reap looks for what a killed process has left.
  const staging = join(dirname(dirname(image.path)), hiddenName("staging"));
  const found = await listImageFiles(image.path, telltale, staging);
  // Everything in /etc would be a long list, of which one file is asked for.
  const seen = { ...found, "/etc": found["/etc"]?.filter(({ name }) => name === "machine-id" || name === "hostname") };
  writeWhole(keptAt, JSON.stringify(seen));
  return seen;
}

/** Where what was seen of an image is kept, for as long as it is true: by its content, as its key only tells what it was made from. */
export const seenOf = ({ key, sha256 }: Pick<StoredImage, "key" | "sha256">, what: string): string =>
  join(kpiPaths().state, "images-seen", `${key}.${sha256.slice(0, 16)}.${what}.json`);

/**
 * Hash of a file, read once for as long as it is the same one and nobody has written to it. Half a gigabyte takes a second. The inode's
 * own time would tell even of somebody who sets the other one back, but each lab changes it, by a link to its checkpoint's base.
 */
export async function sha256Once(path: string, keptAt: string): Promise<string> {
  const { dev, ino, mtimeNs, size } = statSync(path, { bigint: true });
  const stamp = [dev, ino, mtimeNs, size].join(" ");
  const known = readSound<KeptHash>(keptAt);
  if (known?.stamp === stamp) return known.sha256;
  const sha256 = await sha256File(path);
  writeWhole(keptAt, JSON.stringify({ stamp, sha256 } satisfies KeptHash));
  return sha256;
}

interface KeptHash {
  readonly stamp: string;
  readonly sha256: string;
}

async function seeDisk(path: string): Promise<DiskSeen> {
  const { backing, ...disk } = await diskInfo(path);
  const below: string[] = [];
  for (let next = backing; next !== undefined; next = (await diskInfo(join(path, "..", basename(next)))).backing)
    below.push(next);
  return { ...disk, below };
}

async function diskInfo(path: string) {
  const { stdout } = await run("qemu-img", ["info", "--force-share", "--output=json", path], { timeout: seconds(30) });
  const info = JSON.parse(stdout) as {
    format: string;
    "virtual-size": number;
    "actual-size": number;
    "backing-filename"?: string;
  };
  return {
    format: info.format,
    backing: info["backing-filename"],
    virtualSize: info["virtual-size"],
    actualSize: info["actual-size"],
  };
}

/** The default of Packer's variable `packages`: what the image's README promises. */
function promisedPackages(): string[] {
  const text = readFileSync(join(projectRoot, "packer", "k3s-node", "variables.pkr.hcl"), "utf8");
  const list = /variable "packages" \{[^}]*?default = \[([^\]]*)\]/.exec(text)?.[1] ?? "";
  const names = [...list.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? "");
  if (names.length === 0) throw new KpiError("contract", "variables.pkr.hcl promises no packages");
  return names;
}
