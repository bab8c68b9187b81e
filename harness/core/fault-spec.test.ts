import { describe, expect, test } from "bun:test";
import { milliseconds } from "./duration.ts";
import { KpiError } from "./errors.ts";
import { type ClusterShape, describeFault, faultKinds, type FaultSpec, faultWords, parseFault } from "./fault-spec.ts";

const shape: ClusterShape = {
  nodes: [
    { name: "cp", role: "server" },
    { name: "w1", role: "agent" },
    { name: "w2", role: "agent" },
  ],
};
const node = "w1";
const all: readonly (readonly [FaultSpec, string])[] = [
  [{ kind: "partition", nodes: ["cp", "w1"] }, "partition between cp and w1"],
  [{ kind: "delay", node, by: milliseconds(200), jitter: milliseconds(20) }, "delay of 200ms ± 20ms on w1"],
  [{ kind: "loss", node, percent: 12.5 }, "loss of 12.5 % on w1"],
  [{ kind: "link-down", node }, "link down on w1"],
  [{ kind: "dns-down" }, "dns down"],
  [{ kind: "power-cut", node }, "power cut of w1"],
  [{ kind: "reboot", node }, "reboot of w1"],
  [{ kind: "freeze", node }, "freeze of w1"],
  [{ kind: "fill-disk", node, path: "/var" }, "full disk at /var on w1"],
  [{ kind: "set-clock", node, offset: -600_000 }, "clock of w1 10m00s slow"],
  [{ kind: "kill-unit", node, unit: "k3s-agent" }, "k3s-agent killed on w1"],
];

test("every kind is written, read back as the same, and has a sentence of its own", () => {
  expect(all.map(([{ kind }]) => kind)).toEqual(faultKinds);
  for (const [fault, words] of all) {
    expect(parseFault(faultWords(fault), shape)).toEqual(fault);
    expect(describeFault(fault)).toBe(words);
  }
});

test("what may be left out: jitter, path, and the unit, which follows from the node's role", () => {
  expect(parseFault(["delay", "w1", "1s"], shape)).toMatchObject({ by: 1_000, jitter: 0 });
  expect(parseFault(["fill-disk", "w1"], shape)).toMatchObject({ path: "/" });
  expect(parseFault(["kill-unit", "w1"], shape)).toMatchObject({ unit: "k3s-agent" });
  expect(parseFault(["kill-unit", "cp"], shape)).toMatchObject({ unit: "k3s" });
  expect(parseFault(["loss", "w1", "30%"], shape)).toMatchObject({ percent: 30 });
  expect(parseFault(["set-clock", "w1", "+1h"], shape)).toMatchObject({ offset: 3_600_000 });
});

describe("bad input is one sentence and exit 2", () => {
  test.each([
    ["powercut w1", 'there is no fault "powercut"', "did you mean power-cut?"],
    ["freeze", "fault freeze: a node is missing", ""],
    ["freeze w3", 'there is no node "w3"', ""],
    ["freeze w1 w2", 'unexpected argument "w2"', ""],
    ["partition cp cp", "cp cannot be parted from itself", ""],
    ["delay w1 soon", 'the delay is "soon"', ""],
    ["delay w1 0s", "a delay of 0ms", ""],
    ["delay w1 100ms 1s", "the jitter is larger", ""],
    ["loss w1 0", '"0" is no percentage', ""],
    ["loss w1 101", '"101" is no percentage', ""],
    ["fill-disk w1 var", '"var" is no absolute path', ""],
    ["set-clock w1 1s", "cannot be told from none", ""],
    ["set-clock w1 -", "the offset is missing", ""],
    ["kill-unit w1 -x", '"-x" is no unit\'s name', ""],
    ["kill-unit w1 qemu-guest-agent", "by the guest agent", ""],
    ["constructor", "there is no fault", ""],
  ])("%s", (line, what, hint) => {
    let error: unknown;
    try {
      parseFault(line.split(" "), shape);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(KpiError);
    expect(error).toMatchObject({ kind: "spec", what: expect.stringContaining(what) });
    if (hint !== "") expect((error as KpiError).hint).toContain(hint);
  });
});
