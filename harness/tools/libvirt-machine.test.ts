import { expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { milliseconds } from "../core/duration.ts";
import { Machines } from "./libvirt-machine.ts";
import { scratch } from "./scratch.ts";

test("a machine that is being saved goes on when that is called off, and is not waited for without end", async () => {
  using made = scratch();
  const [virsh, told] = [join(made.dir, "virsh"), join(made.dir, "told")];
  const held = "echo 'error: Timed out during operation: cannot acquire state change lock' >&2; exit 1";
  const { PATH } = process.env;
  process.env["PATH"] = `${made.dir}:${PATH}`;
  try {
    const machines = new Machines("test:///default");
    // Held until the job is called off.
    writeFileSync(
      virsh,
      `#!/bin/sh\necho "$4" >> '${told}'\n[ "$4" = domjobabort ] || [ -e '${told}.off' ] || { touch '${told}.off'; ${held}; }\n`,
    );
    chmodSync(virsh, 0o755);
    await machines.resume("node");
    expect(readFileSync(told, "utf8").trim().split("\n")).toEqual(["resume", "domjobabort", "resume"]);
    writeFileSync(virsh, `#!/bin/sh\n${held}\n`);
    const error = await machines.resume("node", milliseconds(300)).catch((error: unknown) => error);
    expect(error).toMatchObject({ kind: "deadline", what: "libvirt does not let node go on" });
  } finally {
    process.env["PATH"] = PATH;
  }
});
