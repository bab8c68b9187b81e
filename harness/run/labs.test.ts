import { expect, test } from "bun:test";
import { renderLabs } from "./labs.ts";

test("labs are shown with their clusters, their nodes' states, and whose they are", () => {
  const since = new Date(Date.now() - 61_000).toISOString();
  const shown = renderLabs([
    {
      name: "kpi",
      state: "running",
      cluster: "kpi",
      phase: "ready",
      since,
      users: [12, 13],
      goesWith: 12,
      residentMiB: 2048,
      domains: { a: "running", b: "paused" },
    },
    { name: "old", state: "dead", users: [], residentMiB: 0, domains: {} },
  ]);
  const [head, kpi, old] = shown.split("\n").map((line) => line.trim().split(/ {2,}/));
  expect(head).toEqual(["lab", "state", "cluster", "since", "memory", "nodes", "goes with", "used by"]);
  expect(kpi).toEqual(["kpi", "ready", "kpi", "1m01s ago", "2.0 GiB", "a, b (paused)", "process 12", "12, 13"]);
  expect(old).toEqual(["old", "dead", "-", "-", "0.0 GiB", "-", "-", "-"]);
});
