import { describe, expect, test } from "bun:test";
import { renderError } from "./errors.ts";
import { type Fault, faultsError, formatFault, formatPath, quote, sortFaults } from "./fault.ts";
import { nearest } from "./nearest.ts";
import { formatSize, parseSize } from "./size.ts";

const fault = (file: string, line: number, col: number): Fault => ({
  at: { file, line, col },
  path: ["nodes", "k3s-cp-01", "address"],
  what: "is 7",
  expected: "an address",
});

describe("faults", () => {
  test("are one line each", () => {
    expect(formatFault(fault("a.yaml", 3, 9))).toBe("a.yaml:3:9 nodes.k3s-cp-01.address: is 7, expected an address");
    expect(formatFault({ ...fault("a", 1, 1), what: "is \n\u202e\u0085" })).toContain("is \\u000a\\u202e\\u0085,");
  });

  test("name paths as people write them", () => {
    expect(formatPath([])).toBe("document");
    expect(formatPath(["network", "dns", 1])).toBe("network.dns[1]");
    expect(formatPath(["nodes", "a b\n", "role"])).toBe('nodes["a b\\n"].role');
  });

  test("shorten long values", () => expect(quote("x".repeat(100))).toHaveLength(62));

  test("are sorted by file, line and column", () => {
    const sorted = sortFaults([fault("b", 1, 1), fault("a", 10, 1), fault("a", 2, 9), fault("a", 2, 3)], ["a", "b"]);
    expect(sorted.map(({ at }) => `${at.file}${at.line}:${at.col}`)).toEqual(["a2:3", "a2:9", "a10:1", "b1:1"]);
  });

  test("make one error", () => {
    expect(renderError(faultsError("spec a", [fault("a", 1, 2), fault("a", 2, 2)]))).toBe(
      [
        "spec a has 2 faults",
        "  a:1:2 nodes.k3s-cp-01.address: is 7, expected an address",
        "  a:2:2 nodes.k3s-cp-01.address: is 7, expected an address",
      ].join("\n"),
    );
    expect(faultsError("lock", [fault("a", 1, 2)], "supply")).toMatchObject({
      kind: "supply",
      what: "lock has 1 fault",
    });
  });
});

test("the nearest candidate is a slip away", () => {
  const keys = ["address", "role", "machine", "cpus"];
  const words = ["adress", "addresss", "rloe", "Role", "machines", "cpu", "memory", "", "x"];
  expect(words.map((word) => nearest(word, keys))).toEqual([
    "address",
    "address",
    "role",
    "role",
    "machine",
    "cpus",
    undefined,
    undefined,
    undefined,
  ]);
});

test("sizes have a unit", () => {
  expect(["512MiB", "10GiB", "1TiB", "0GiB"].map(parseSize)).toEqual([512, 10_240, 1_048_576, 0]);
  expect(["10", "10GB", "10 GiB", "1.5GiB", "-1GiB", "", "GiB"].map(parseSize)).toEqual(Array(7).fill(undefined));
  expect([512, 10_240, 1_536, 0].map(formatSize)).toEqual(["512MiB", "10GiB", "1536MiB", "0MiB"]);
});
