import { expect, test } from "bun:test";
import { dirname, join, relative } from "node:path";

/** Lower layers know nothing of higher ones; files at the top of harness/ (cli, kit, ...) are the highest. */
const rank: Record<string, number> = {
  core: 0,
  tools: 1,
  lab: 2,
  supplies: 2,
  report: 3,
  run: 4,
  commands: 5,
  kit: 5,
  "": 6,
};
const owners: Record<string, string> = {
  execa: "tools/exec.ts",
  ssh2: "tools/ssh.ts",
  yaml: "core/yaml.ts",
  ajv: "core/schema.ts",
  "@kubernetes/client-node": "tools/kube.ts",
};
const spawners = /\b(node:child_process|Bun\.spawn|Bun\.\$)/;
const sleepers = /\b(setTimeout|setInterval|Bun\.sleep|node:timers)/;

const root = import.meta.dir;
const files = [...new Bun.Glob("**/*.ts").scanSync(root)].filter((file) => !file.endsWith(".test.ts")).sort();
const layerOf = (file: string) => (file.includes("/") ? (file.split("/")[0] ?? "") : "");
const sources = await Promise.all(
  files.map(async (file) => {
    const text = await Bun.file(join(root, file)).text();
    const imports = new Bun.Transpiler({ loader: "ts" }).scanImports(text).map((found) => found.path);
    const typeImports = [...text.matchAll(/^import type .*? from "([^"]+)"/gms)].map((match) => match[1] ?? "");
    return { file, text, imports: [...imports, ...typeImports] };
  }),
);

test("imports point down only", () => {
  const wrong = sources.flatMap(({ file, imports }) =>
    imports
      .filter((path) => path.startsWith(".") && !join(dirname(file), path).startsWith(".."))
      .map((path) => relative(root, join(root, dirname(file), path)))
      .filter((target) => {
        const [from, to] = [layerOf(file), layerOf(target)];
        return from !== to && (rank[to] ?? 9) >= (rank[from] ?? -1);
      })
      .map((target) => `${file} imports ${target}`),
  );
  expect(wrong).toEqual([]);
});

test("each npm package is imported by one file", () => {
  const wrong = sources.flatMap(({ file, imports }) =>
    Object.entries(owners)
      .filter(([name, owner]) => file !== owner && imports.some((path) => path === name || path.startsWith(`${name}/`)))
      .map(([name]) => `${file} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});

test("only tools/exec.ts spawns", () => {
  expect(
    sources.filter(({ file, text }) => file !== "tools/exec.ts" && spawners.test(text)).map(({ file }) => file),
  ).toEqual([]);
});

test("only core/deadline.ts waits", () => {
  expect(
    sources.filter(({ file, text }) => file !== "core/deadline.ts" && sleepers.test(text)).map(({ file }) => file),
  ).toEqual([]);
});
