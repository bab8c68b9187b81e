import { expect, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");
/** Names of k3s's channels; an exact version is never one of them. */
const channel = /\b(stable|latest|testing|INSTALL_K3S_CHANNEL|update\.k3s\.io|get\.k3s\.io)\b/;

cluster.eachNode("install", "the k3s on the node is the pinned artefact, byte for byte", ({ node, all, plan }) => {
  expect(all.binaries[node.name]?.sha256, "sha256 of /usr/local/bin/k3s").toBe(all.artefacts[plan.k3s.binary.file]);
});

cluster.eachNode("install", "the node was told the hashes that this machine holds", ({ seen, all, plan }) => {
  const { BINARY_SHA256, IMAGES_SHA256 } = seen.env;
  expect({ BINARY_SHA256, IMAGES_SHA256 }).toEqual({
    BINARY_SHA256: all.artefacts[plan.k3s.binary.file],
    IMAGES_SHA256: all.artefacts[plan.k3s.images.file],
  });
});

cluster.eachNode("install", "k3s --version is the pinned version", ({ node, all, plan }) => {
  expect(all.binaries[node.name]?.version, "k3s --version").toBe(plan.k3s.version);
});

cluster.eachNode("install", "no channel is named in what the node was given", ({ seen, plan }) => {
  const documents = [...Object.entries(seen.env).map(([key, value]) => `${key}=${value}`), ...seen.config.split("\n")];
  expect(
    documents.filter((line) => channel.test(line)),
    "lines that name a channel",
  ).toEqual([]);
  expect(seen.env["VERSION"], "VERSION").toBe(plan.k3s.version);
});

cluster.expects("ready", "the API server is the pinned version", ({ seen, plan }) => {
  expect(seen.api.version, "version of the API server").toBe(plan.k3s.version);
});

cluster.expects("ready", "every kubelet is the pinned version", ({ seen, plan }) => {
  expect(Object.fromEntries(seen.api.nodes.map(({ name, kubeletVersion }) => [name, kubeletVersion]))).toEqual(
    Object.fromEntries(plan.nodes.map(({ name }) => [name, plan.k3s.version])),
  );
});
