import { describe, expect, test } from "bun:test";
import { formatFault } from "./fault.ts";
import { keyPosition, nodeAt, parseYaml, plain, type YamlNode } from "./yaml.ts";

const rootOf = (text: string): YamlNode => {
  const { root, faults } = parseYaml(text, "f");
  expect(faults).toEqual([]);
  if (root === undefined) throw new Error("no root");
  return root;
};

describe("parseYaml", () => {
  test("keeps values, order and positions", () => {
    const root = rootOf("b: [1, two]\n# comment\na:\n  c: 'x y'\n");
    expect(plain(root)).toEqual({ b: [1, "two"], a: { c: "x y" } });
    expect(Object.keys(plain(root) as object)).toEqual(["b", "a"]);
    expect(nodeAt(root, ["b", 1])).toMatchObject({ value: "two", at: { file: "f", line: 1, col: 8 } });
    expect(nodeAt(root, ["a", "c"])).toMatchObject({ value: "x y", source: "'x y'", at: { line: 4, col: 6 } });
    expect(keyPosition(root, ["a", "c"])).toEqual({ file: "f", line: 4, col: 3 });
    expect(keyPosition(root, ["b", 0])).toEqual({ file: "f", line: 1, col: 5 });
    expect(nodeAt(root, ["a", "none"])).toBeUndefined();
    expect(nodeAt(root, ["b", "c", "d"])).toBeUndefined();
  });

  test("reads YAML 1.2, JSON, CRLF and a byte order mark", () => {
    expect(plain(rootOf("%YAML 1.2\n---\na: 1\n"))).toEqual({ a: 1 });
    expect(plain(rootOf('{"a": [true, null, 1.5]}'))).toEqual({ a: [true, null, 1.5] });
    const root = rootOf("\uFEFFa: 1\r\nb: 2\r\n");
    expect(plain(root)).toEqual({ a: 1, b: 2 });
    expect(nodeAt(root, ["a"])?.at).toEqual({ file: "f", line: 1, col: 4 });
    expect(nodeAt(root, ["b"])?.at).toEqual({ file: "f", line: 2, col: 4 });
  });

  test("quotes make text of what would be something else", () => {
    expect(plain(rootOf("a: 'no'\nb: \"010\"\n'12': x\nc: '52:54:00:12:34:56'"))).toEqual({
      12: "x",
      a: "no",
      b: "010",
      c: "52:54:00:12:34:56",
    });
  });

  test("dangerous keys stay ordinary ones", () => {
    const value = plain(rootOf("__proto__: { polluted: true }\nconstructor: 1")) as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(["__proto__", "constructor"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test("tells several faults of one file", () => {
    const { root, faults } = parseYaml("a: no\na: 1\n7: x\n", "f");
    expect(root).toBeDefined();
    expect(faults.map(formatFault)).toEqual([
      "f:1:4 a: is no, which YAML 1.1 takes for a boolean, expected quotes around it, or true or false",
      "f:2:1 a: stands here again, first at 1:1, expected each key once",
      "f:3:1 7: is a key that is a number, expected a key in quotes",
    ]);
  });

  test("is quick with hostile input", () => {
    // Processor time: the machine may be busy with something else.
    const started = process.cpuUsage();
    parseYaml(`a: [${"*a,".repeat(2_000)}]`, "f");
    parseYaml("a: 1\n".repeat(2_000), "f");
    parseYaml(`a: ${"1:".repeat(30_000)}x`, "f");
    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000);
  });
});
