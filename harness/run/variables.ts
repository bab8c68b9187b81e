import { readFileSync } from "node:fs";
import { KpiError } from "../core/errors.ts";
import type { ArtefactPlan } from "../core/plan.ts";
import type { Accelerator } from "../lab/accelerator.ts";
import type { ResolvedSupply } from "../supplies/supplies.ts";
import type { Access } from "./access.ts";

/** What Terraform's variables are made of: the plan, and what the stages before have found. */
export interface VariableSources {
  readonly access: Access;
  /** Path of the node image. */
  readonly image: string;
  readonly accelerator: Accelerator;
  readonly supplies: Readonly<Record<string, ResolvedSupply>>;
}

/** The content of `terraform.tfvars.json`, as terraform-libvirt/variables.tf declares it. Holds secrets: token and host keys. */
export function terraformVariables({ access, image, accelerator, supplies }: VariableSources): Record<string, unknown> {
  const { plan, lab, secrets } = access;
  const { network, k3s } = plan;
  const sha256 = (artefact: ArtefactPlan) => supplyFile(supplies, artefact.supply, artefact.file).sha256;
  return {
    libvirt_uri: access.uri,
    cluster: plan.cluster,
    network: {
      name: network.name,
      cidr: network.cidr,
      gateway: network.gateway,
      dns: network.dns,
      interface: network.interface,
      required_names: network.requiredNames,
    },
    // A lab's pool is made with it; a host's own pool exists, and outlives the cluster.
    pool:
      lab === undefined
        ? { name: plan.image.pool }
        : { name: plan.image.pool, path: `${lab.poolDir.inside}/${plan.image.pool}` },
    image: { path: image },
    boot: plan.image.boot === "direct" ? directBoot(supplies, plan.image.source, accelerator) : null,
    domain: {
      type: accelerator.accelerator === "kvm" ? "kvm" : "qemu",
      cpu_model: accelerator.accelerator === "kvm" ? null : accelerator.cpuModel,
      // A lab is thrown away; a host's disks are not.
      disk_cache: lab === undefined ? "none" : "unsafe",
      console_log_dir: lab?.consoleDir.inside ?? null,
      autostart: lab === undefined,
    },
    nodes: Object.fromEntries(
      plan.nodes.map(({ name, role, address, mac, cpus, memoryMiB, diskGiB }) => [
        name,
        { role, address, mac, cpus, memory_mib: memoryMiB, disk_gib: diskGiB },
      ]),
    ),
    k3s: {
      version: k3s.version,
      distribution: k3s.distribution,
      binary_url: k3s.binary.url,
      binary_sha256: sha256(k3s.binary),
      images_url: k3s.images.url,
      images_sha256: sha256(k3s.images),
      pod_cidr: k3s.podCidr,
      service_cidr: k3s.serviceCidr,
      disable: k3s.disable,
    },
    user: plan.user,
    authorized_keys: [secrets.user.publicKey],
    token: secrets.token,
    host_keys: Object.fromEntries(
      Object.entries(secrets.hosts).map(([name, key]) => [name, { private: key.privateKey, public: key.publicKey }]),
    ),
  };
}

/** Kernel, initrd and command line of a source image that knows how to be booted directly. */
function directBoot(
  supplies: Readonly<Record<string, ResolvedSupply>>,
  source: string,
  { tscKhz }: Pick<Accelerator, "tscKhz">,
) {
  const cmdline = readFileSync(supplyFile(supplies, source, "cmdline").path, "utf8").trim();
  const counter = tscKhz === undefined ? [] : [`tsc_early_khz=${tscKhz}`];
  return {
    kernel: supplyFile(supplies, source, "vmlinux").path,
    initrd: supplyFile(supplies, source, "initrd.img").path,
    // QEMU 10.0 aborts now and then ("iotlb_to_section") when device memory is remapped while a second emulated CPU runs;
    // node.sh wakes the others when the drivers have settled.
    cmdline: ["root=/dev/vda1 console=ttyS0 maxcpus=1", ...counter, cmdline].join(" "),
  };
}

/** A file of a resolved supply; a supply without it breaks its contract. */
export function supplyFile(supplies: Readonly<Record<string, ResolvedSupply>>, name: string, file: string) {
  const found = supplies[name]?.files[file];
  if (found !== undefined) return found;
  throw new KpiError("contract", `supply ${name} has no file ${file}`, {
    hint: "kpi supplies shows what each supply holds",
  });
}
