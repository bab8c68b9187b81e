import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { notYet, until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { run } from "../tools/exec.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type LabOptions, ownedResolvers } from "./config.ts";
import { labLayout, type LabLayout } from "./layout.ts";
import { searchPath } from "./prepare.ts";
import { findInit, isSame, labMarker, type LabIdentity, labProcesses } from "./process.ts";

/** Hang guard; a lab is up in about a second. */
const startLimit = seconds(30);
const script = join(import.meta.dir, "init.sh");

/** Where libvirt's clients find the lab's libvirtd. */
export const labUri = ({ socket }: LabLayout): string =>
  `qemu:///system?socket=${socket.split("/").map(encodeURIComponent).join("/")}`;

/** Starts the init of a prepared lab, waits until libvirtd answers with its network and the gateway listens, and notes its identity. Does not clean up. */
export async function launch(options: LabOptions): Promise<LabIdentity> {
  const layout = labLayout(options.dir);
  const { signal } = options;
  const say = (what: string) => options.onProgress?.({ what: `lab: ${what}` });
  say("opening namespaces");
  // What it says before its output goes to the log.
  const { stderr } = await run(
    "setsid",
    [
      "--fork",
      "env",
      "-i",
      ...environment(layout),
      script,
      labMarker(options.dir),
      process.execPath,
      options.accelerator,
      ...ownedResolvers(options.network),
    ],
    {
      ...(signal === undefined ? {} : { signal }),
      timeout: startLimit,
    },
  );
  const waiting = { every: milliseconds(25), evidence: [layout.log], ...(signal === undefined ? {} : { signal }) };
  const identity = await until("the lab's init did not start", startLimit, initLook(options, layout, stderr), waiting);
  say("starting libvirtd");
  await until("the lab did not come up", startLimit, (stop) => answer(layout, identity, options, stop), waiting);
  writeWhole(layout.running, JSON.stringify(identity));
  say("up");
  return identity;
}

/** Nothing of the user's environment goes in: no secrets, no proxies, no locale. */
function environment(layout: LabLayout): string[] {
  const drivers = join(layout.dir, "drivers");
  return [
    `PATH=${searchPath}`,
    "HOME=/run/tmp",
    "TMPDIR=/run/tmp",
    "LANG=C.UTF-8",
    "BUN_RUNTIME_TRANSPILER_CACHE_PATH=0",
    ...(existsSync(drivers) ? [`LIBVIRT_DRIVER_DIR=${drivers}`] : []),
  ];
}

/**
 * Looks for the init. A launcher that is gone without one has failed; its words are `said` and in the log. One that is just becoming another
 * program has no command line for a moment (a long one on a busy machine), so it is gone only when it is missing for a second.
 */
function initLook({ name, dir }: LabOptions, layout: LabLayout, said: string): () => LabIdentity {
  let seen = performance.now();
  return () => {
    if (labProcesses().some((found) => found.dir === dir)) seen = performance.now();
    const identity = findInit(dir);
    if (identity !== undefined) return identity;
    if (performance.now() - seen < seconds(1)) notYet("the launcher still runs");
    throw new KpiError("host", `lab ${name} did not start`, {
      details: `${said}\n${lastLines(layout.log, 8)}`.split("\n").filter((line) => line !== ""),
      hint: "a lab needs root that may unshare and mount: not a restricted container",
    });
  };
}

/** One look at everything that must answer. A dead init ends the wait at once, with what it said last. */
async function answer(
  layout: LabLayout,
  identity: LabIdentity,
  { name, network }: LabOptions,
  signal: AbortSignal,
): Promise<void> {
  if (!isSame(identity)) {
    throw new KpiError("host", `lab ${name} ended while it started`, {
      details: [...lastLines(layout.log, 8).split("\n"), ...lastLines(layout.libvirtLog, 4).split("\n")].filter(
        (line) => line !== "",
      ),
    });
  }
  if (!existsSync(layout.gateway)) notYet("gateway not listening");
  if (!existsSync(layout.socket)) notYet("libvirtd not listening");
  const asked = { signal, timeout: seconds(20), accept: [0, 1] };
  const { code, stdout, stderr } = await run("virsh", ["--quiet", "-c", labUri(layout), "net-list", "--name"], asked);
  if (code !== 0) notYet(stderr.split("\n").at(-1) ?? "libvirtd does not answer");
  if (stdout.split("\n").some((line) => line.trim() === network.name)) return;
  throw new KpiError("host", `lab ${name}: libvirt did not start network ${network.name}`, {
    details: lastLines(layout.libvirtLog, 8).split("\n"),
  });
}

function lastLines(path: string, count: number): string {
  try {
    return readFileSync(path, "utf8").trim().split("\n").slice(-count).join("\n");
  } catch {
    return "";
  }
}
