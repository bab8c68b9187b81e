import { expect, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");

cluster.expects("ready", "local-path is the one default storage class, bound when a pod comes", ({ seen }) => {
  const defaults = seen.api.storageClasses.filter(({ isDefault }) => isDefault);
  expect(defaults, "default storage classes").toEqual([
    { name: "local-path", provisioner: "rancher.io/local-path", isDefault: true, binding: "WaitForFirstConsumer" },
  ]);
});

cluster.expects("storage", "a claim that names no class is bound by local-path", ({ seen }) => {
  expect({ phase: seen.claim.phase, storageClass: seen.claim.storageClass }).toEqual({
    phase: "Bound",
    storageClass: "local-path",
  });
});

cluster.expects("storage", "what a pod wrote outlives it: the next one reads it", ({ seen }) => {
  expect(seen.writer.phase, `the writer (${seen.writer.why})`).toBe("Running");
  expect(seen.reader.phase, `the reader (${seen.reader.why})`).toBe("Running");
  expect(seen.read, "what the second pod read").toBe(seen.written);
});

cluster.expects("storage", "the volume is a directory of the node on which its pods run", ({ seen }) => {
  expect(seen.volume.path, "path of the volume").toStartWith("/var/lib/rancher/k3s/storage/");
  expect([seen.writer.node, seen.reader.node], "nodes of the pods").toEqual([seen.volume.node, seen.volume.node]);
});

cluster.expects("storage", "the volume goes with its claim", ({ seen }) => {
  expect(seen.volume.reclaim, "reclaim policy").toBe("Delete");
});
