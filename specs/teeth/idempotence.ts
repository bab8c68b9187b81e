import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-01";
const nothing = "a second plan of the same variables changes nothing";
const really = "every planned domain really runs, and there is no other";
const again = "kpi up once more leaves it as it is, and says so";

export const mutants = [
  mutant("idempotent", "a second plan would replace a node", { [nothing]: /replace libvirt_domain\.node/ }, (seen) => {
    seen.changes.push('replace libvirt_domain.node["k3s-worker-01"]');
  }),
  mutant(
    "idempotent",
    "a domain has crashed, which no plan notices",
    { [really]: /k3s-worker-01": "crashed"/ },
    (seen) => {
      seen.domains[worker]!.state = "crashed";
    },
  ),
  mutant("idempotent", "a domain is off", { [really]: /shut off/ }, (seen) => {
    seen.domains[worker]!.state = "shut off";
  }),
  mutant("idempotent", "a domain is gone", { [really]: /k3s-worker-01/ }, (seen) => {
    delete seen.domains[worker];
  }),
  mutant("idempotent", "an old domain is left over", { [really]: /leftover/ }, (seen) => {
    seen.domains["leftover"] = { state: "running", reason: "other" };
  }),
  mutant("idempotent", "kpi up makes it anew", { [again]: /made anew/ }, (seen) => {
    seen.up.said = "cluster kpi is made anew";
  }),
  mutant("idempotent", "kpi up fails", { [again]: /boom/ }, (seen) => {
    Object.assign(seen.up, { code: 1, said: "boom" });
  }),
  mutant(
    "idempotent",
    "kpi up takes its time",
    { "kpi up once more is quick": /expected 42\.0s to be within 5\.0s/ },
    (seen) => {
      Object.assign(seen.up, { elapsed: 42_000 });
    },
  ),
];
