import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-02";
const steps = "the gate's steps all passed, in their order";
const answered = "the planned resolvers answered for every required name";
const guest = "by the guest's clock, DNS answered before the artefacts came and k3s was installed and started";
const files = "the file system agrees: nothing of k3s is older than the answer of DNS";
const systemd = "systemd agrees: k3s was started after DNS had answered, by monotonic time";

type Seen = Parameters<Parameters<typeof mutant<"install">>[3]>[0];
const verdict = (seen: Seen, step: string) => seen.nodes[worker]!.verdicts.find((each) => each.step === step)!;

export const mutants = [
  mutant(
    "install",
    "the gate never asked for DNS",
    { [steps]: /-\s+"dns ok"/, [guest]: /NaN|artefact after dns/ },
    (seen) => {
      seen.nodes[worker]!.verdicts = seen.nodes[worker]!.verdicts.filter(({ step }) => step !== "dns");
    },
  ),
  mutant("install", "DNS was refused, and the node went on", { [steps]: /dns refused/ }, (seen) => {
    verdict(seen, "dns").ok = false;
  }),
  mutant("install", "the gate's steps came in another order", { [steps]: /steps of the gate/ }, (seen) => {
    seen.nodes[worker]!.verdicts.reverse();
  }),
  mutant("install", "another resolver answered", { [answered]: /resolver 9\.9\.9\.9/ }, (seen) => {
    verdict(seen, "dns").detail = "resolver 9.9.9.9 answered: artifacts.kpi.test is 192.168.122.1";
  }),
  mutant("install", "a required name was not asked for", { [answered]: /artifacts/ }, (seen) => {
    verdict(seen, "dns").detail = "resolver 192.168.122.1 answered: example.test is 192.168.122.1";
  }),
  mutant("install", "the artefacts came before DNS had answered", { [guest]: /artefact after dns/ }, (seen) => {
    verdict(seen, "artefact").mono = verdict(seen, "dns").mono - 1;
  }),
  mutant("install", "k3s ran before it was installed", { [guest]: /service after install/ }, (seen) => {
    verdict(seen, "service").mono = 1;
  }),
  mutant(
    "install",
    "k3s's program is older than the answer of DNS",
    { [files]: /older than[^]*\/usr\/local\/bin\/k3s by 5\.0 s/ },
    (seen) => {
      seen.nodes[worker]!.files.find(({ path }) => path === "/usr/local/bin/k3s")!.born = verdict(seen, "dns").wall - 5;
    },
  ),
  mutant(
    "install",
    "k3s was configured before DNS had answered",
    { [files]: /older than[^]*\/etc\/rancher\/k3s\/config\.yaml/ },
    (seen) => {
      seen.nodes[worker]!.files.find(({ path }) => path === "/etc/rancher/k3s/config.yaml")!.born = 0;
    },
  ),
  mutant("install", "the files of k3s are elsewhere", { [files]: /files of k3s/ }, (seen) => {
    seen.nodes[worker]!.files = [];
  }),
  mutant("install", "systemd started k3s before the gate", { [systemd]: /seconds since boot/ }, (seen) => {
    seen.nodes[worker]!.units["k3s-agent"]!.startedAt = 3;
  }),
  mutant("install", "k3s never started", { [systemd]: /seconds since boot/ }, (seen) => {
    seen.nodes[worker]!.units["k3s-agent"]!.startedAt = 0;
  }),
];
