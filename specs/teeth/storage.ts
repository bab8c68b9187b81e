import { mutant } from "../../harness/kit/teeth.ts";

const byDefault = "local-path is the one default storage class, bound when a pod comes";
const outlives = "what a pod wrote outlives it: the next one reads it";
const directory = "the volume is a directory of the node on which its pods run";

export const mutants = [
  mutant("ready", "no storage class is the default", { [byDefault]: /default storage classes/ }, (seen) => {
    seen.api.storageClasses[0]!.isDefault = false;
  }),
  mutant("ready", "two storage classes are the default", { [byDefault]: /nfs/ }, (seen) => {
    seen.api.storageClasses.push({ name: "nfs", provisioner: "nfs", isDefault: true, binding: "Immediate" });
  }),
  mutant("ready", "volumes are bound before a pod comes", { [byDefault]: /Immediate/ }, (seen) => {
    seen.api.storageClasses[0]!.binding = "Immediate";
  }),
  mutant(
    "storage",
    "the claim stays unbound",
    { "a claim that names no class is bound by local-path": /Pending/ },
    (seen) => {
      seen.claim.phase = "Pending";
    },
  ),
  mutant(
    "storage",
    "another class took the claim",
    { "a claim that names no class is bound by local-path": /nfs/ },
    (seen) => {
      seen.claim.storageClass = "nfs";
    },
  ),
  mutant("storage", "the data went with the pod", { [outlives]: /what the second pod read/ }, (seen) => {
    seen.read = "";
  }),
  mutant("storage", "the writer failed", { [outlives]: /the writer \(main: Error\)/ }, (seen) => {
    Object.assign(seen.writer, { phase: "Failed", why: "main: Error" });
  }),
  mutant("storage", "the reader failed", { [outlives]: /the reader \(cat: can't open\)/ }, (seen) => {
    Object.assign(seen.reader, { phase: "Failed", why: "cat: can't open" });
  }),
  mutant("storage", "the reader ran elsewhere", { [directory]: /somewhere-else/ }, (seen) => {
    seen.reader.node = "somewhere-else";
  }),
  mutant("storage", "the volume is in a place that goes with the boot", { [directory]: /\/tmp\/volume/ }, (seen) => {
    seen.volume.path = "/tmp/volume";
  }),
  mutant("storage", "the volume stays when its claim goes", { "the volume goes with its claim": /Retain/ }, (seen) => {
    seen.volume.reclaim = "Retain";
  }),
];
