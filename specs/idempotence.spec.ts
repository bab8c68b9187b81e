import { expect, seconds, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");

cluster.expects("idempotent", "a second plan of the same variables changes nothing", ({ seen }) => {
  expect(seen.changes, "what Terraform would change").toEqual([]);
});

cluster.expects("idempotent", "every planned domain really runs, and there is no other", ({ seen, plan }) => {
  const states = Object.fromEntries(Object.entries(seen.domains).map(([name, { state }]) => [name, state]));
  expect(states, "domains").toEqual(Object.fromEntries(plan.nodes.map(({ name }) => [name, "running"])));
});

cluster.expects("idempotent", "kpi up once more leaves it as it is, and says so", ({ seen, plan }) => {
  expect(seen.up.code, seen.up.said).toBe(0);
  expect(seen.up.said).toContain(`cluster ${plan.cluster} is running and unchanged`);
});

cluster.expects("idempotent", "kpi up once more is quick", ({ seen }) => {
  expect(seen.up.elapsed).toBeWithin(seconds(5));
});
