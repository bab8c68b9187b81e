import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProbeText } from "./probe-text.ts";
import { mayConfine, run } from "../tools/exec.ts";

const script = readFileSync(join(import.meta.dir, "..", "tools", "probe.sh"), "utf8");

test.skipIf(!mayConfine)("keys are read from every file that sshd looks into, each once", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kpi-probe-"));
  const file = (path: string, text: string) => {
    mkdirSync(join(dir, path, ".."), { recursive: true });
    writeFileSync(join(dir, path), text, { mode: 0o755 });
    return join(dir, path);
  };
  const users = ["u", "v"].map((name, id) => `${name}:x:${id}:${id}::${dir}/home/${name}:/bin/sh\n`).join("");
  const files = `.ssh/authorized_keys .ssh/authorized_keys2 %h/%u.keys ${dir}/keys/%u ${dir}/all none`;
  try {
    file("bin/sshd", `#!/bin/sh\necho 'port 22\nauthorizedkeysfile ${files}\npermitrootlogin no'\n`);
    const named = [
      file("home/u/.ssh/authorized_keys", "ssh-ed25519 AAAA u\n"),
      file("home/u/.ssh/authorized_keys2", "ssh-ed25519 BBBB u"),
      file("home/u/u.keys", "ssh-ed25519 CCCC"),
      file("keys/u", "ssh-ed25519 DDDD"),
      file("all", "ssh-ed25519 EEEE"),
      file("home/v/.ssh/authorized_keys2", "ssh-ed25519 FFFF"),
    ];
    file("home/v/u.keys", "ssh-ed25519 never");
    const input = `mount --bind ${file("passwd", users)} /etc/passwd\nPATH=${dir}/bin:$PATH\n${script}`;
    const { stdout } = await run("unshare", ["--mount", "sh", "-s", "whole"], { input });
    const probe = new ProbeText(stdout);
    expect(probe.keys("keys")).toEqual(
      named.map((path, index) => ({ file: path, key: `ssh-ed25519 ${"ABCDEF"[index]?.repeat(4)}` })),
    );
    expect(probe.lines("sshd")).toContain("permitrootlogin no");
  } finally {
    rmSync(dir, { recursive: true });
  }
});
