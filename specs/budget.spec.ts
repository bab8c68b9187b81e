import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Judgement,
  judgeBudget,
  milliseconds,
  minutes,
  notYet,
  openLab,
  renderJudgement,
  run,
  testKpi,
  until,
} from "../harness/kit.ts";
import { singleNodeSpec } from "./single-node.ts";

setDefaultTimeout(minutes(15));
const dir = mkdtempSync(join(tmpdir(), "kpi-budget-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Boots one node of a spec, standing still for `pause` on the way, and gives the boot held against its budget on this machine. */
async function boot(spec: string, pause = 0): Promise<Judgement> {
  await using kpi = testKpi();
  const { stages } = JSON.parse((await kpi.succeed(["plan", spec, "--json"])).stdout);
  const { budget } = stages.find(({ name }: { name: string }) => name === "boot");
  const ended = Promise.withResolvers<number>();
  const started = Promise.withResolvers<void>();
  let factor = Number.NaN;
  const onLine = (line: string, from: "stdout" | "stderr") => {
    if (from !== "stdout") return;
    const event = JSON.parse(line);
    if (event.type === "calibrated") factor = event.factor;
    if (event.type === "node" && event.state === "started") started.resolve();
    if (event.type === "stage-ended" && event.stage === "boot") ended.resolve(event.elapsed);
  };
  const up = await kpi.start(["up", spec, "--json"], { onLine, grace: minutes(2) });
  const early = up.done.then(({ stderr }) => {
    throw new Error(`kpi up ended before its boot did: ${stderr}`);
  });
  early.catch(() => {}); // it ends by our own stop, too
  await Promise.race([started.promise, early]);
  if (pause > 0) await standStill(kpi.state, pause);
  const took = await Promise.race([ended.promise, early]);
  await up.stop();
  return judgeBudget(milliseconds(took), milliseconds(budget), factor);
}

async function standStill(state: string, pause: number): Promise<void> {
  const lab = await openLab(join(state, "labs", "pace"));
  const virsh = (verb: string) => run("virsh", ["--quiet", "-c", lab?.uri ?? "", verb, "k3s-cp-01"]);
  await virsh("suspend");
  const from = performance.now();
  await until("the pause is over", minutes(5), () =>
    performance.now() - from < pause ? notYet("not yet") : undefined,
  );
  await virsh("resume");
}

test("a boot keeps a budget that leaves a quarter of room, and one that is made 1.5 times slower breaks it", async () => {
  const usual = await boot(singleNodeSpec(dir, "pace"));
  // As who writes a spec does, in terms of the reference hypervisor: what was measured on a quiet machine, and some room.
  const budget = Math.round((1.25 * usual.took) / usual.factor);
  const spec = singleNodeSpec(dir, "pace", { more: `budgets: { boot: ${budget}ms }\n` });
  expect(renderJudgement(await boot(spec))).toEndWith("within");
  const slowed = await boot(spec, 0.5 * usual.took);
  expect(renderJudgement(slowed)).toContain("over by");
});
