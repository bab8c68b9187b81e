import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KpiError } from "../core/errors.ts";
import { launch } from "./launch.ts";

test("a launcher that fails before it has its log says so", async () => {
  const parent = mkdtempSync(join(tmpdir(), "kpi-launch-"));
  const dir = join(parent, "labs", "nowhere"); // not made, so that there is no room for a log
  const network = { name: "default", cidr: "192.168.122.0/24", gateway: "192.168.122.1", dns: [] };
  try {
    const options = { dir, name: "nowhere", network, names: {}, files: {}, accelerator: "tcg" } as const;
    const error = (await launch(options).catch((error: unknown) => error)) as KpiError;
    expect(error.what).toBe("lab nowhere did not start");
    expect(error.details.join()).toContain(`${dir}/lab.log: No such file or directory`);
  } finally {
    rmSync(parent, { recursive: true });
  }
});
