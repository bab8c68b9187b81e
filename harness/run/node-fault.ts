import { notYet, until } from "../core/deadline.ts";
import { milliseconds, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { k3sUnit } from "../core/fault-spec.ts";
import { GuestAgent } from "../tools/guest-agent.ts";
import { shellQuote } from "../tools/exec.ts";
import type { DomainState } from "../tools/libvirt-domain.ts";
import type { Access } from "./access.ts";
import { type Fault, type FaultWay, inflict, type Target } from "./fault.ts";

/** Faults of one node. Each resolves when it is in force, and heals on dispose. */
export interface NodeFaults {
  /** As if the plug were pulled: the guest writes nothing more. Heals by booting; returns when the node is Ready again. */
  powerCut(signal?: AbortSignal): Promise<Fault>;
  /** An orderly reboot; in force when the guest is on its way down. Heals by itself; `heal` returns when the node is Ready again. */
  reboot(signal?: AbortSignal): Promise<Fault>;
  /** Its CPUs stand still. Healing lets them run and steps the clock, which stood still as well. */
  freeze(signal?: AbortSignal): Promise<Fault>;
  /** Not one byte can be written to the file system that holds `path` (`/`), not even by root. */
  fillDisk(path?: string, signal?: AbortSignal): Promise<Fault>;
  /** The clock is wrong by `offset` milliseconds; negative is slow. */
  setClock(offset: number, signal?: AbortSignal): Promise<Fault>;
  /** SIGKILL to the main process of a systemd unit (k3s's own unless said otherwise), which is then kept from restarting. */
  killUnit(unit?: string, signal?: AbortSignal): Promise<Fault>;
}

export function nodeFaults(access: Access, name: string): NodeFaults {
  const { role } = access.node(name);
  return {
    powerCut: (signal) => inflict(powerCut, access, { kind: "power-cut", node: name }, signal),
    reboot: (signal) => inflict(reboot, access, { kind: "reboot", node: name }, signal),
    freeze: (signal) => inflict(freeze, access, { kind: "freeze", node: name }, signal),
    fillDisk: (path = "/", signal) => inflict(fillDisk, access, { kind: "fill-disk", node: name, path }, signal),
    setClock: (offset, signal) => inflict(setClock, access, { kind: "set-clock", node: name, offset }, signal),
    killUnit: (unit = k3sUnit(role), signal) =>
      inflict(killUnit, access, { kind: "kill-unit", node: name, unit }, signal),
  };
}

const agentOf = ({ access }: Target, node: string) => new GuestAgent(access.libvirt, node);
const state = async ({ access }: Target, node: string, signal?: AbortSignal): Promise<DomainState | "absent"> =>
  (await access.libvirt.domain(node, signal))?.state ?? "absent";

/** A node that is off, paused or gone cannot be broken once more. */
const mustRun = async (target: Target, { node }: { node: string }, signal: AbortSignal): Promise<void> => {
  const is = await state(target, node, signal);
  if (is === "running") return;
  throw new KpiError("host", `${node} does not run`, { got: is, hint: "kpi fault --list shows what is in force" });
};

async function awaitState(target: Target, node: string, wanted: DomainState, signal?: AbortSignal): Promise<void> {
  await until(
    `${node} is not ${wanted}`,
    seconds(30),
    async (stop) => {
      const is = await state(target, node, stop);
      if (is !== wanted) notYet(is);
    },
    signal === undefined ? {} : { signal },
  );
}

/**
 * Ready, by the kubelet of this very boot: after a quick boot the API still says Ready of the one before.
 * The limit is a hang guard; in emulation a node needs one to two minutes.
 */
async function awaitBooted({ access, ...rest }: Target, node: string): Promise<void> {
  const boot = await until(
    `${node} does not boot`,
    minutes(10),
    async (stop) => (await agentOf({ access, ...rest }, node).bootId(stop)) ?? notYet("its agent does not answer"),
  );
  await access.kube().waitForNode(
    node,
    (seen) => {
      if (seen.bootId !== boot) return "its kubelet has not reported since the boot";
      return seen.ready ? undefined : `it is not ready: ${seen.why}`;
    },
    { deadline: minutes(15) },
  );
}

export const powerCut: FaultWay<"power-cut"> = {
  check: mustRun,
  async inflict(target, { node }, signal) {
    await target.access.libvirt.powerOff(node, signal);
    await awaitState(target, node, "shut off", signal);
  },
  async undo(target, { node }) {
    if ((await state(target, node)) === "shut off") await target.access.libvirt.start(node);
    await awaitState(target, node, "running");
  },
  settle: (target, { node }) => awaitBooted(target, node),
};

export const reboot: FaultWay<"reboot"> = {
  check: mustRun,
  async inflict(target, { node }, signal) {
    await agentOf(target, node).begin("systemctl --no-block reboot", signal);
    // Not asked by its agent, which may hang when it is told to stop while it answers.
    await until(
      `${node} does not go down`,
      minutes(5),
      async (stop) => {
        if (await target.access.libvirt.agentConnected(node, stop)) notYet("its agent still runs");
      },
      { signal, every: milliseconds(250) },
    );
  },
  async undo() {},
  settle: (target, { node }) => awaitBooted(target, node),
};

export const freeze: FaultWay<"freeze"> = {
  check: mustRun,
  async inflict(target, { node }, signal) {
    await target.access.libvirt.suspend(node, signal);
    await awaitState(target, node, "paused", signal);
  },
  async undo(target, { node }) {
    if ((await state(target, node)) === "paused") await target.access.libvirt.resume(node);
    await awaitState(target, node, "running");
    await agentOf(target, node).setClock(0);
  },
};

export const fillDisk: FaultWay<"fill-disk"> = {
  check: mustRun,
  async inflict(target, { node, path }, signal) {
    const file = shellQuote([fillFile(target, path)]);
    const dir = shellQuote([path]);
    // In one go what is free, root's reserve included, less what ext4 keeps for itself; then to the last block. Repeated,
    // because others write and delete meanwhile.
    const fill = [
      "set -eu",
      `set -- $(stat -f -c '%f %S' ${dir})`,
      `size=$(stat -c %s ${file} 2>/dev/null || echo 0)`,
      `[ "$(($1 * $2))" -le 67108864 ] || fallocate -l $((size + $1 * $2 - 50331648)) ${file} || true`,
      `dd if=/dev/zero of=${file} bs=64k oflag=append conv=notrunc 2>/dev/null || true`,
      `dd if=/dev/zero of=${file} bs=4k oflag=append conv=notrunc,fsync 2>/dev/null || true`,
      `df -P ${dir} | tail -n 1`,
      `if head -c 65536 /dev/zero > ${file}.probe; then rm -f ${file}.probe; echo room; fi`,
      `rm -f ${file}.probe`,
    ].join("\n");
    await until(
      `the disk of ${node} does not fill`,
      minutes(3),
      async (stop) => {
        const { stdout } = await agentOf(target, node).sh(fill, { timeout: minutes(2), signal: stop });
        const used = / (\d+)% /.exec(stdout)?.[1];
        if (used !== "100" || /^room$/m.test(stdout)) notYet(`${used} % used`);
      },
      { signal },
    );
  },
  async undo(target, { node, path }) {
    const file = shellQuote([fillFile(target, path)]);
    // Synced: a power cut soon afterwards would bring the file back, and a node with a full disk does not boot to the end.
    const sync = `sync -f ${shellQuote([path])}`;
    const free = `rm -f ${file} ${file}.probe; ${sync}; head -c 65536 /dev/zero > ${file}.probe && rm -f ${file}.probe`;
    await agentOf(target, node).sh(free, { timeout: minutes(1) });
  },
};

const fillFile = ({ id }: Target, path: string): string => `${path.replace(/\/$/, "")}/.kpi-fault-${id}`;

export const setClock: FaultWay<"set-clock"> = {
  check: mustRun,
  inflict: (target, { node, offset }, signal) => agentOf(target, node).setClock(offset, signal),
  undo: (target, { node }) => agentOf(target, node).setClock(0),
};

/** `systemctl stop` after the kill: it calls off the restart that systemd has planned, and changes no file. */
export const killUnit: FaultWay<"kill-unit"> = {
  async check(target, { node, unit }, signal) {
    await mustRun(target, { node }, signal);
    const is = await unitState(target, node, unit, signal);
    if (is === "active") return;
    throw new KpiError("host", `${unit} on ${node} is not active`, { got: is });
  },
  async inflict(target, { node, unit }, signal) {
    const name = shellQuote([unit]);
    const agent = agentOf(target, node);
    // The agent may run it twice: then there is nothing left to kill.
    const kill = `systemctl kill --kill-whom=main --signal=KILL ${name} || ! systemctl is-active --quiet ${name}`;
    await agent.sh(kill, { signal });
    const down = async (stop: AbortSignal) => {
      const is = await unitState(target, node, unit, stop);
      if (is === "active") notYet(is);
    };
    await until(`${unit} on ${node} survives SIGKILL`, seconds(60), down, { signal });
    await agent.sh(`systemctl stop ${name}`, { timeout: minutes(2), signal });
    await until(
      `${unit} on ${node} does not stay down`,
      seconds(60),
      async (stop) => {
        const is = await unitState(target, node, unit, stop);
        if (is !== "inactive" && is !== "failed") notYet(is);
      },
      { signal },
    );
  },
  async undo(target, { node, unit }) {
    await agentOf(target, node).sh(`systemctl start --no-block ${shellQuote([unit])}`);
  },
  async settle(target, { node, unit }) {
    await until(`${unit} on ${node} does not become active`, minutes(5), async (stop) => {
      const is = await unitState(target, node, unit, stop);
      if (is !== "active") notYet(is);
    });
  },
};

async function unitState(target: Target, node: string, unit: string, signal: AbortSignal): Promise<string> {
  const show = `systemctl show --property=ActiveState --value ${shellQuote([unit])}`;
  return (await agentOf(target, node).sh(show, { signal })).stdout.trim();
}
