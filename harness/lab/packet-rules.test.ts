import { expect, test } from "bun:test";
import { run } from "../tools/exec.ts";
import type { RunningLab } from "./lab.ts";
import { PacketRules } from "./packet-rules.ts";

/** The real programs in a network namespace that ends with the test; only what PacketRules needs of a lab. */
async function withLab(work: (lab: RunningLab) => Promise<void>): Promise<void> {
  const name = `kpi-rules-${process.pid}`;
  await run("ip", ["netns", "add", name]);
  try {
    await run("ip", ["-n", name, "link", "set", "lo", "up"]);
    const enter: RunningLab["enter"] = (command, args, options) =>
      run("ip", ["netns", "exec", name, command, ...args], options);
    await work({ name, enter, runs: true } as RunningLab);
  } finally {
    await run("ip", ["netns", "del", name]);
  }
}

test("rules drop, count what they drop, and go without a trace; a second set stays", async () => {
  await withLab(async (lab) => {
    const rules = new PacketRules(lab, "iptables", [["INPUT", "-s", "127.0.0.1"]], "one");
    const other = new PacketRules(lab, "iptables", [["INPUT"]], "two");
    await other.add([["-p", "udp", "--dport", "53"]]);
    const before = (await lab.enter("iptables-save", ["-t", "mangle"])).stdout;
    await rules.add([["-p", "udp", "--dport", "9999"]]);
    expect(await rules.dropped()).toBe(0);
    const send = "for i in 1 2 3; do echo x > /dev/udp/127.0.0.1/9999; done";
    await lab.enter("bash", ["-c", send]);
    expect(await rules.dropped()).toBe(3);
    await rules.remove();
    await rules.remove();
    const bare = (text: string) => text.replace(/^(#.*|:.*)$/gm, "");
    expect(bare((await lab.enter("iptables-save", ["-t", "mangle"])).stdout)).toBe(bare(before));
    expect(await other.dropped()).toBe(0);
  });
});

test("no rules count as removed because their program fails, unless the lab has ended and taken them along", async () => {
  const failing = (runs: boolean, accepted: number): RunningLab => {
    const enter: RunningLab["enter"] = (_command, args, options) =>
      args.includes("-S") && accepted-- > 0
        ? run("echo", ["-N kpi-one"])
        : run("sh", ["-c", "echo Another app is holding the lock. >&2; exit 4"], options);
    return { name: "lab", enter, runs } as RunningLab;
  };
  const remove = (lab: RunningLab) => new PacketRules(lab, "iptables", [["INPUT"]], "one").remove();
  await expect(remove(failing(true, 0))).rejects.toThrow("ended with exit code 4");
  await expect(remove(failing(true, 1))).rejects.toThrow("ended with exit code 4");
  await expect(remove(failing(true, 2))).rejects.toMatchObject({
    what: "iptables did not remove chain kpi-one",
    details: Array.from({ length: 3 }, () => "Another app is holding the lock."),
  });
  await remove(failing(false, 0));
});

test("frames, too, and a half-made chain is removed", async () => {
  await withLab(async (lab) => {
    const rules = new PacketRules(lab, "ebtables", [["FORWARD"]], "f");
    await rules.add([["-s", "52:54:00:00:00:01", "-d", "52:54:00:00:00:02"]]);
    expect(await rules.dropped()).toBe(0);
    await lab.enter("ebtables", ["-D", "FORWARD", "-j", "kpi-f"]);
    await rules.remove();
    expect((await lab.enter("ebtables", ["-L"])).stdout).not.toContain("kpi-f");
  });
});
