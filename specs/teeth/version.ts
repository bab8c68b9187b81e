import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-02";
const artefact = "the k3s on the node is the pinned artefact, byte for byte";
const told = "the node was told the hashes that this machine holds";
const channel = "no channel is named in what the node was given";

export const mutants = [
  mutant(
    "install",
    "another program in k3s's place",
    { [artefact]: /k3s-worker-02: sha256 of \/usr\/local\/bin\/k3s[^]*0{64}/ },
    (seen) => {
      seen.binaries[worker]!.sha256 = "0".repeat(64);
    },
  ),
  mutant(
    "install",
    "k3s is not installed",
    { [artefact]: /sha256[^]*undefined/, "k3s --version is the pinned version": /undefined/ },
    (seen) => {
      seen.binaries[worker] = undefined;
    },
  ),
  mutant("install", "the node was told another hash of the binary", { [told]: /f{64}/ }, (seen) => {
    seen.nodes[worker]!.env["BINARY_SHA256"] = "f".repeat(64);
  }),
  mutant("install", "the node was told another hash of the images", { [told]: /e{64}/ }, (seen) => {
    seen.nodes[worker]!.env["IMAGES_SHA256"] = "e".repeat(64);
  }),
  mutant("install", "the node was told no hash", { [told]: /"BINARY_SHA256": undefined/ }, (seen) => {
    delete seen.nodes[worker]!.env["BINARY_SHA256"];
  }),
  mutant(
    "install",
    "k3s is of another version",
    { "k3s --version is the pinned version": /v1\.34\.4\+k3s1/ },
    (seen) => {
      seen.binaries[worker]!.version = "v1.34.4+k3s1";
    },
  ),
  mutant("install", "a channel in what the node was told", { [channel]: /INSTALL_K3S_CHANNEL=stable/ }, (seen) => {
    seen.nodes[worker]!.env["INSTALL_K3S_CHANNEL"] = "stable";
  }),
  mutant("install", "a channel in k3s's configuration", { [channel]: /update\.k3s\.io/ }, (seen) => {
    seen.nodes[worker]!.config += '\n"channel-url": "https://update.k3s.io/v1-release/channels/stable"';
  }),
  mutant("install", "no version at all for the node", { [channel]: /VERSION[^]*undefined/ }, (seen) => {
    delete seen.nodes[worker]!.env["VERSION"];
  }),
  mutant(
    "ready",
    "the API server is of another version",
    { "the API server is the pinned version": /v1\.33\.0\+lab1/ },
    (seen) => {
      seen.api.version = "v1.33.0+lab1";
    },
  ),
  mutant(
    "ready",
    "one kubelet is of another version",
    { "every kubelet is the pinned version": /"k3s-worker-02": "v1\.33\.0"/ },
    (seen) => {
      seen.api.nodes.find(({ name }) => name === worker)!.kubeletVersion = "v1.33.0";
    },
  ),
];
