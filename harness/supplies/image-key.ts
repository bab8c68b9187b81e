import { join, relative } from "node:path";
import { sha256File, sha256Text } from "./store.ts";

/** All that decides what is in an image. Whether it was built by KVM or by emulation does not. */
export interface ImageInputs {
  /** Of the image, as the spec says. */
  readonly name: string;
  readonly source: { readonly name: string; readonly version: string; readonly sha256: string };
  /** Version of Packer. */
  readonly packer: string;
  /** Digest of each file of the template, by its path in it. */
  readonly template: Readonly<Record<string, string>>;
  /** How the result is stored; a change here makes other files of the same content. */
  readonly form: string;
}

/** The image's identity: 64 hexadecimal digits. Pure. */
export function imageKey(inputs: ImageInputs): string {
  return sha256Text(JSON.stringify(flatten(inputs)));
}

/** What differs between two images' inputs, one line each, for people; empty when nothing does. Pure. */
export function imageChanges(before: ImageInputs, after: ImageInputs): string[] {
  const [old, now] = [new Map(flatten(before)), new Map(flatten(after))];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((name) => {
    const [was, is] = [old.get(name), now.get(name)];
    if (was === is) return [];
    if (was === undefined) return [`${name} is new`];
    return [is === undefined ? `${name} is gone` : `${name} changed from ${short(was)} to ${short(is)}`];
  });
}

/** Digests of those files of a template that decide what is built: not its seed, its output, or another's variables. */
export async function templateFiles(dir: string): Promise<Record<string, string>> {
  const paths = ["*.pkr.hcl", "scripts/*"].flatMap((glob) => [
    ...new Bun.Glob(glob).scanSync({ cwd: dir, absolute: true }),
  ]);
  const entries = paths.sort().map(async (path) => [relative(dir, path), await sha256File(path)] as const);
  if (entries.length === 0) throw new Error(`no template in ${join(dir)}`);
  return Object.fromEntries(await Promise.all(entries));
}

/** Name and value of each input, in a fixed order. */
function flatten({ name, source, packer, template, form }: ImageInputs): [string, string][] {
  const files = Object.entries(template).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    ["name", name],
    ["source", source.name],
    ["source version", source.version],
    ["source sha256", source.sha256],
    ["packer", packer],
    ["form", form],
    ...files.map(([path, digest]): [string, string] => [`template ${path}`, digest]),
  ];
}

const short = (value: string) => (/^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value);
