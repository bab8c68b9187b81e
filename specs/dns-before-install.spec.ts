import { expect, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");
const gate = ["interface", "address", "route", "dns"];

cluster.eachNode("install", "the gate's steps all passed, in their order", ({ seen }) => {
  const steps = seen.verdicts
    .filter(({ step }) => gate.includes(step))
    .map(({ step, ok }) => `${step} ${ok ? "ok" : "refused"}`);
  expect(steps, "steps of the gate").toEqual(gate.map((step) => `${step} ok`));
});

cluster.eachNode("install", "the planned resolvers answered for every required name", ({ seen, plan }) => {
  const dns = seen.verdicts.find(({ step }) => step === "dns");
  expect(dns?.detail, "the node's word on DNS").toStartWith(`resolver ${plan.network.dns.join(" ")} answered:`);
  for (const name of plan.network.requiredNames)
    expect(dns?.detail).toMatch(new RegExp(` ${name} is \\d+\\.\\d+\\.\\d+\\.\\d+`));
});

cluster.eachNode(
  "install",
  "by the guest's clock, DNS answered before the artefacts came and k3s was installed and started",
  ({ seen }) => {
    const at = (step: string) =>
      seen.verdicts.find((verdict) => verdict.step === step && verdict.ok)?.mono ?? Number.NaN;
    const order = ["dns", "artefact", "install", "service"];
    for (const [index, step] of order.slice(1).entries())
      expect(at(step), `seconds since boot: ${step} after ${order[index]}`).toBeGreaterThan(at(order[index] ?? ""));
  },
);

cluster.eachNode("install", "the file system agrees: nothing of k3s is older than the answer of DNS", ({ seen }) => {
  const dns = seen.verdicts.find(({ step, ok }) => step === "dns" && ok)?.wall ?? Number.NaN;
  const files = seen.files.filter(({ path }) => /rancher|\/bin\/k3s$/.test(path));
  expect(files.length, "files of k3s").toBeGreaterThan(2);
  const older = files
    .filter(({ born }) => !(born > dns))
    .map(({ path, born }) => `${path} by ${(dns - born).toFixed(1)} s`);
  expect(older, "older than the answer of DNS").toEqual([]);
});

cluster.eachNode(
  "install",
  "systemd agrees: k3s was started after DNS had answered, by monotonic time",
  ({ seen, node }) => {
    const unit = seen.units[node.role === "server" ? "k3s" : "k3s-agent"];
    const dns = seen.verdicts.find(({ step, ok }) => step === "dns" && ok)?.mono ?? Number.NaN;
    expect(unit?.startedAt, "seconds since boot when k3s was started").toBeGreaterThan(dns);
  },
);
