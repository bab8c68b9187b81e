import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KpiError } from "../core/errors.ts";
import { tryLock } from "../tools/owner.ts";
import { buildImage, findImage, type ImageInputs, imageChanges, imageKey, listImages, staleImages } from "./image.ts";
import type { ResolvedSupply } from "./supply.ts";

const top = mkdtempSync(join(tmpdir(), "kpi-image-test-"));
let cache = "";
let count = 0;
beforeEach(() => {
  cache = join(top, String(count++));
  mkdirSync(cache);
});
afterAll(() => rmSync(top, { recursive: true }));

/** Stands in for Packer: writes what a build writes and counts its calls. */
function packer(body = 'echo image > "$out/image.qcow2"; echo "bash 5.2" > "$out/manifest.txt"'): string {
  const path = join(cache, "packer");
  const find =
    "for word; do case $word in output_directory=*) out=${word#*=};; console_log=*) log=${word#*=};; esac; done";
  const script = `#!/bin/sh\n[ "$1" = version ] && { echo 'Packer v1.6.6'; exit; }\necho x >> "${cache}/calls"\n${find}\necho console > "$log"; mkdir "$out"\n${body}\n`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}
const calls = () => (existsSync(join(cache, "calls")) ? readFileSync(join(cache, "calls"), "utf8").length / 2 : 0);
const source = (sha256 = "a".repeat(64)): ResolvedSupply => ({
  name: "debian-13-lookalike",
  version: "13",
  source: "build",
  detail: "",
  dir: cache,
  files: { "guest.qcow2": { path: join(cache, "guest.qcow2"), sha256, size: 1 } },
  age: new Date(),
});
const options = (command = packer()) => ({
  plan: {
    image: { name: "k3s-node", source: "debian-13-lookalike", pool: "p", boot: "disk" as const },
    host: { kind: "libvirt" as const, uri: "qemu:///system" },
  },
  source: source(),
  cache,
  packer: command,
  accelerator: { accelerator: "tcg" as const, cpuModel: "qemu64" },
  log: join(cache, "run", "packer.log"),
});
const left = () => readdirSync(join(cache, "images", "k3s-node")).filter((name) => !/^[0-9a-f]{16}$/.test(name));

test("the same inputs build once unless asked; another source builds again and says why", async () => {
  const first = await buildImage(options());
  expect(first).toMatchObject({ name: "k3s-node", cached: false, size: 6 });
  expect(readFileSync(first.manifest, "utf8")).toBe("bash 5.2\n");
  expect(await buildImage(options())).toEqual({ ...first, cached: true });
  expect(await findImage(options())).toMatchObject({ key: first.key });
  expect(calls()).toBe(1);
  const again = await buildImage({ ...options(), rebuild: true });
  expect([again.key, again.cached, calls()]).toEqual([first.key, false, 2]);
  expect(listImages(cache)).toHaveLength(1);

  const said: string[] = [];
  const changed = {
    ...options(),
    source: source("b".repeat(64)),
    onProgress: ({ what }: { what: string }) => void said.push(what),
  };
  expect(await findImage(changed)).toBeUndefined();
  expect((await buildImage(changed)).key).not.toBe(first.key);
  expect(said[0]).toBe("building k3s-node: source sha256 changed from aaaaaaaaaaaa to bbbbbbbbbbbb");
  expect(listImages(cache)).toHaveLength(2);
  expect(left()).toEqual([]);
});

test("a failed build leaves no image, only its log and console", async () => {
  const failing = options(
    packer("echo '1,,ui,error,==> qemu.node: no space'; echo half > \"$out/image.qcow2\"; exit 1"),
  );
  const error = (await buildImage(failing).catch((error: unknown) => error)) as KpiError;
  expect([error.what, error.details]).toEqual(["packer could not build the image", ["no space"]]);
  expect(listImages(cache)).toEqual([]);
  expect(left()).toEqual([]);
  expect(readdirSync(join(cache, "run")).sort()).toEqual(["image-console.log", "packer.log"]);
});

test("an interrupted build leaves nothing", async () => {
  const stop = new AbortController();
  const hanging = options(packer('trap "exit 1" TERM; echo half > "$out/image.qcow2"; sleep 60 & wait'));
  const building = buildImage({ ...hanging, signal: stop.signal }).catch((error: unknown) => error);
  const begun = () => new Bun.Glob("images/*/.staging-*/output/image.qcow2").scanSync({ cwd: cache, dot: true }).next();
  while (begun().done === true) await new Promise((resolve) => setImmediate(resolve));
  stop.abort(new Error("enough"));
  expect(await building).toMatchObject({ message: "enough" });
  expect(left()).toEqual([]);
});

test("two builds at once make one image", async () => {
  const command = packer();
  const waits: string[] = [];
  const lock = tryLock(join(cache, "images", "k3s-node", ".lock"));
  const onProgress = ({ what }: { what: string }) => {
    waits.push(what);
    if (waits.length === 1 && "release" in lock) lock.release();
  };
  const both = await Promise.all([1, 2].map(() => buildImage({ ...options(command), onProgress })));
  expect(waits[0]).toMatch(/^waiting for process \d+ .*which builds the same image$/);
  expect(both.map(({ key }) => key)).toEqual([both[0]?.key ?? "", both[0]?.key ?? ""]);
  expect(calls()).toBe(1);
});

test("what a dead process left is found; a damaged image does not count", async () => {
  mkdirSync(join(cache, "images", "k3s-node", ".staging-1-1"), { recursive: true });
  expect(staleImages(cache)).toEqual([join(cache, "images", "k3s-node", ".staging-1-1")]);
  const image = await buildImage(options());
  expect(left()).toEqual([]);
  chmodSync(image.path, 0o644);
  writeFileSync(image.path, "cut");
  expect(listImages(cache)).toEqual([]);
  expect((await buildImage(options())).cached).toBe(false);
});

test("every input is part of the key", () => {
  const inputs: ImageInputs = {
    name: "n",
    source: { name: "s", version: "1", sha256: "a".repeat(64) },
    packer: "1.6.6",
    template: { "scripts/setup.sh": "c".repeat(64) },
    form: "qcow2",
  };
  const changes: [Partial<ImageInputs>, string][] = [
    [{ name: "m" }, "name changed from n to m"],
    [{ packer: "1.7.0" }, "packer changed from 1.6.6 to 1.7.0"],
    [{ form: "raw" }, "form changed from qcow2 to raw"],
    [{ source: { ...inputs.source, version: "2" } }, "source version changed from 1 to 2"],
    [
      { template: { "scripts/setup.sh": "d".repeat(64) } },
      "template scripts/setup.sh changed from cccccccccccc to dddddddddddd",
    ],
    [{ template: { ...inputs.template, "x.hcl": "e" } }, "template x.hcl is new"],
    [{ template: {} }, "template scripts/setup.sh is gone"],
  ];
  for (const [change, said] of changes) {
    const after = { ...inputs, ...change };
    expect(imageKey(after)).not.toBe(imageKey(inputs));
    expect(imageChanges(inputs, after)).toEqual([said]);
  }
  expect(imageChanges(inputs, { ...inputs })).toEqual([]);
});
