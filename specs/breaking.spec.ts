import { afterAll, setDefaultTimeout, test } from "bun:test";
import { BreakingFork, unasked, unnoticed } from "../harness/kit/breakage.ts";
import { claimsOf, readAreas } from "../harness/kit/spec-claims.ts";
import { expect, minutes, useCluster } from "../harness/kit.ts";
import { rounds } from "./breakages/rounds.ts";

setDefaultTimeout(minutes(15));
const cluster = useCluster("specs/lab.yaml");

/** This claim is about the run that made the checkpoint, whatever is broken since. */
const ofTheRun = "every stage kept its budget, as it is stretched for this machine";
const claims = (await claimsOf(Object.keys(await readAreas()), "breaking")).filter(({ title }) => title !== ofTheRun);

/** One fork for all of it: that a breakage was healed shows in the next round, where nothing of it may be left. */
const fork = new BreakingFork(cluster.fork, claims, console.log);
afterAll(() => fork[Symbol.asyncDispose](), minutes(5));

for (const round of rounds) {
  const { looks, breakages } = round;
  for (const breakage of breakages)
    test(`noticed: ${breakage.what} (${breakage.on})`, async () => {
      expect(unnoticed(breakage, await fork.failures(round))).toEqual([]);
    });
  const whats = breakages.map(({ what }) => what).join("; ");
  const title = whats === "" ? "unbroken, every claim holds" : `nothing else fails for: ${whats}`;
  test(`${title} (${looks.join(", ")})`, async () => {
    expect(unasked(round, await fork.failures(round))).toEqual([]);
  });
}
