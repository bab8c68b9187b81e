import { describe, expect, test } from "bun:test";
import { GuestAgent } from "./guest-agent.ts";
import { agentSilence, type Libvirt } from "./libvirt.ts";
import { parseDomains } from "./libvirt-domain.ts";
import { parseEvent } from "./libvirt-event.ts";

// recorded from virsh 11.3.0
const stats = `Domain: 'k3s-cp-01'
  state.state=1
  state.reason=1
  balloon.current=524288
  balloon.maximum=524288
  balloon.rss=282228
  block.count=1
  block.0.name=vda
  block.0.path=/var/lib/libvirt/images/d.qcow2
  block.0.backingIndex=1
  block.0.allocation=524288
  block.0.capacity=3221225472
  block.0.physical=462848

Domain: 'k3s-worker-01'
  state.state=3
  state.reason=5

Domain: 'k3s-worker-02'
  state.state=5
  state.reason=2

`;

describe("domains", () => {
  test("have state, memory and disks", () => {
    expect(parseDomains(stats)[0]).toEqual({
      name: "k3s-cp-01",
      state: "running",
      reason: "other",
      residentMiB: 276,
      memoryMiB: 512,
      disks: [{ target: "vda", path: "/var/lib/libvirt/images/d.qcow2", capacity: 3_221_225_472, allocation: 462_848 }],
    });
  });

  test("that cannot go on say why", () => {
    const [, paused, off] = parseDomains(stats);
    expect(paused).toMatchObject({ state: "paused", reason: "ioerror", lost: "paused by an I/O error of its disk" });
    expect(off).toMatchObject({ state: "shut off", reason: "destroyed", lost: "it is switched off" });
  });

  test("none is none", () => {
    expect(parseDomains("\n")).toEqual([]);
  });
});

describe("events", () => {
  const event = (text: string) => parseEvent(`2026-11-23 05:24:52.078+0000: event ${text}`);

  test("a full disk is named", () => {
    const full = event("'io-error' for domain 'k3s-cp-01': /pool/d.qcow2 (virtio-disk0) pause due to enospc");
    expect(full).toMatchObject({ at: "2026-11-23T05:24:52.078Z", domain: "k3s-cp-01", kind: "io-error" });
    expect(full?.lost).toContain("no space left on the host for its disk /pool/d.qcow2");
    expect(full?.hint).toContain("virsh resume");
  });

  test.each([
    ["'lifecycle' for domain 'a': Started Booted", undefined],
    ["'lifecycle' for domain 'a': Suspended Paused", undefined],
    ["'io-error' for domain 'a': /pool/d.qcow2 (virtio-disk0) pause", undefined],
    ["'reboot' for domain 'a'", undefined],
    ["'lifecycle' for domain 'a': Suspended I/O Error", "paused by an I/O error of its disk"],
    ["'lifecycle' for domain 'a': Crashed Panicked", "its guest crashed"],
    ["'lifecycle' for domain 'a': Stopped Destroyed", "its domain ended (destroyed)"],
  ])("%s", (text, lost) => {
    expect(event(text)?.lost).toBe(lost as string);
  });

  test("other lines are none", () => {
    expect(parseEvent("events received: 4")).toBeUndefined();
  });
});

describe("a guest's agent that does not answer", () => {
  const silent = "error: Guest agent is not responding: ";

  test.each([
    ["error: Guest agent is not responding: QEMU guest agent is not connected", "untold"],
    [`${silent}guest agent didn't respond to synchronization within '5' seconds`, "untold"],
    ["error: Requested operation is not valid: domain is not running", "untold"],
    [`${silent}guest agent didn't respond to command within '10' seconds`, "unanswered"],
    [`${silent}Guest agent disappeared while executing command`, "unanswered"],
    [
      "error: internal error: unable to execute QEMU agent command 'guest-exec': Guest agent command was not found",
      undefined,
    ],
  ])("%s: %p", (stderr, silence) => {
    expect(agentSilence(stderr)).toBe(silence as ReturnType<typeof agentSilence>);
  });

  test("is not told to reboot a second time because it was gone before it could answer", async () => {
    const asked: (string | undefined)[] = [undefined, "unanswered"];
    const agent: Libvirt["agent"] = async (_domain, _command, _signal, unanswered) =>
      asked.shift() === "unanswered" ? unanswered : undefined;
    await new GuestAgent({ agent } as Libvirt, "node").begin("reboot");
    expect(asked).toEqual([]);
  });
});
