import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { chooseSpec, pathOf } from "./choice.ts";

const dir = mkdtempSync(join(tmpdir(), "choice-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const paths = { cache: join(dir, "cache"), state: join(dir, "state") };

test("a spec that wants what is not pinned is refused where it says so, before anything is made", async () => {
  const spec = join(dir, "other.yaml");
  writeFileSync(
    spec,
    `extends: ${projectRoot}/specs/lab.yaml\nk3s:\n  version: v1.35.0+lab1\nimage: { source: terraform }\n`,
  );
  const lock = `${projectRoot}/fixtures/supplies.lock.yaml`;
  const refused = await chooseSpec(spec, { kind: "lab" }, paths).catch((error: unknown) => error);
  expect(refused).toMatchObject({
    kind: "spec",
    details: [
      `${spec}:3:12 k3s.version: is "v1.35.0+lab1", another version than ${lock} pins, expected v1.34.3+lab1`,
      `${spec}:4:18 image.source: is "terraform", no guest image of ${lock}, expected ubuntu-24.04 or debian-13-lookalike`,
    ],
  });
});

test("a bare word is a name of specs/, whatever else is called so here; a path or a file name is what it says", () => {
  const cwd = process.cwd();
  process.chdir(projectRoot); // where the program kpi lies
  try {
    expect(pathOf("kpi", ".yaml")).toBe(join(projectRoot, "specs", "kpi.yaml"));
    expect(pathOf("./kpi", ".yaml")).toBe(join(projectRoot, "kpi"));
    expect(pathOf("kpi.yaml", ".yaml")).toBe(join(projectRoot, "kpi.yaml"));
    expect(pathOf("harness", ".spec.ts")).toBe(join(projectRoot, "harness"));
  } finally {
    process.chdir(cwd);
  }
});
