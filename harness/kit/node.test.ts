import { expect, test } from "bun:test";
import { endedUnit } from "./node.ts";

/** As `systemctl show` prints it: a property that is not set is left out or empty. */
const shown = (active: string, job = "") => `ActiveState=${active}\nSubState=x\nResult=success\n${job}`;
const none = "-- No entries --";
const stopped = `[  412.103911] k3s-worker-01 systemd[1]: k3s-agent.service: Main process exited, code=killed, status=9/KILL
[  413.001245] k3s-worker-01 systemd[1]: Stopped k3s-agent.service - Lightweight Kubernetes.`;

test.each([
  ["has failed", shown("failed"), none, "has failed"],
  ["was stopped, and forgotten by systemd", shown("inactive"), stopped, "has stopped"],
  ["was stopped, and is being started again", shown("inactive", "Job=412"), stopped, undefined],
  ["never ran: something may start it yet", shown("inactive"), none, undefined],
  ["is being restarted", shown("activating"), stopped, undefined],
])("a unit that %s", (_, state, journal, ended) => {
  expect(endedUnit(state, journal)).toBe(ended as never);
});
