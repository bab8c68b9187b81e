import { expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./environment.ts";
import { run } from "./exec.ts";
import { listImageFiles } from "./image-files.ts";
import { scratch } from "./scratch.ts";

const programs = ["qemu-img", "sfdisk", "mke2fs", "debugfs", "truncate"];

test.skipIf(programs.some((program) => findProgram(program) === undefined))(
  "an image is looked into where it is told to, not in /tmp, and nothing stays",
  async () => {
    using made = scratch();
    const at = (name: string) => join(made.dir, name);
    mkdirSync(join(at("root"), "etc"), { recursive: true });
    writeFileSync(join(at("root"), "etc", "hostname"), "node\n", { mode: 0o644 });
    await run("truncate", ["-s", "8M", at("disk")]);
    await run("sfdisk", ["--quiet", at("disk")], { input: "start=2048, type=83\n" });
    await run("mke2fs", ["-q", "-t", "ext4", "-d", at("root"), "-E", "offset=1048576", at("disk"), "7M"]);
    await run("qemu-img", ["convert", "-O", "qcow2", at("disk"), at("image.qcow2")]);
    const { TMPDIR: before } = process.env;
    process.env["TMPDIR"] = at("no room here");
    try {
      expect(await listImageFiles(at("image.qcow2"), ["/etc"], at("staging"))).toEqual({
        "/etc": [{ name: "hostname", mode: "100644", size: 5 }],
      });
    } finally {
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
    }
    expect(existsSync(at("staging"))).toBe(false);
  },
);
