import { expect, test } from "bun:test";
import { endedUnit } from "./node.ts";

/** As `systemctl show` prints it: a property that is not set is left out or empty. */
const shown = (active: string, since: number, job = "") =>
  `ActiveState=${active}\nSubState=x\nResult=success\nInactiveEnterTimestampMonotonic=${since}${job}`;

test.each([
  ["has failed", shown("failed", 0), "has failed"],
  ["was stopped", shown("inactive", 81_230_111), "has stopped"],
  ["was stopped, and is being started again", shown("inactive", 81_230_111, "\nJob=412"), undefined],
  ["never ran: something may start it yet", shown("inactive", 0), undefined],
  ["is being restarted", shown("activating", 81_230_111), undefined],
])("a unit that %s", (_, state, ended) => {
  expect(endedUnit(state)).toBe(ended as never);
});
