import { expect, test } from "bun:test";
import { remoteMachine } from "./libvirt-uri.ts";

const always = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"];

test.each([
  ["qemu:///system", undefined],
  ["qemu:///system?socket=/a b/sock", undefined],
  ["qemu+ssh://hypervisor/system", { name: "hypervisor", typed: "hypervisor", ssh: [...always, "hypervisor"] }],
  ["qemu+ssh://ops@10.0.0.1/system", { name: "ops@10.0.0.1", typed: "ops@10.0.0.1", ssh: [...always, "ops@10.0.0.1"] }],
  [
    "qemu+ssh://ops@hypervisor:2222/system?keyfile=/home/me/.ssh/ops&no_verify=1",
    {
      name: "ops@hypervisor",
      typed: "-p 2222 -i /home/me/.ssh/ops ops@hypervisor",
      ssh: [...always, "-p", "2222", "-i", "/home/me/.ssh/ops", "ops@hypervisor"],
    },
  ],
])("the machine behind %s", (uri, machine) => {
  expect(remoteMachine(uri)).toEqual(machine);
});
