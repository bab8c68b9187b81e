import { describe, expect, test } from "bun:test";
import { dnsmasqConf, type LabNetwork, networkXml, ownedResolvers } from "./config.ts";

const network: LabNetwork = {
  name: "default",
  cidr: "192.168.122.0/24",
  gateway: "192.168.122.1",
  dns: ["8.8.8.8", "1.1.1.1"],
};

describe("the lab's network", () => {
  test("is the planned one, with no DHCP and no resolver of libvirt's own", () => {
    const xml = networkXml(network);
    expect(xml).toContain("<name>default</name>");
    expect(xml).toContain('<forward mode="nat"/>');
    expect(xml).toContain('<bridge name="virbr0" stp="off" delay="0"/>');
    expect(xml).toContain('<dns enable="no"/>');
    expect(xml).toContain('<ip address="192.168.122.1" netmask="255.255.255.0"/>');
    expect(xml).not.toContain("dhcp");
  });

  test("has the same identity in every lab, so that a saved domain fits", () => {
    expect(networkXml(network)).toBe(networkXml({ ...network, dns: [] }));
    expect(networkXml({ ...network, name: "other" })).not.toContain(
      /<uuid>(.*)<\/uuid>/.exec(networkXml(network))?.[1] ?? "?",
    );
    expect(networkXml(network)).toMatch(/<uuid>[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}<\/uuid>/);
  });

  test("other prefixes have their netmask", () => {
    expect(networkXml({ ...network, cidr: "10.0.0.0/9" })).toContain('netmask="255.128.0.0"');
    expect(() => networkXml({ ...network, cidr: "10.0.0.0" })).toThrow("cidr is malformed");
  });
});

test("resolvers outside its bridge are its own, each once", () => {
  expect(ownedResolvers({ ...network, dns: ["8.8.8.8", "192.168.122.1", "8.8.8.8"] })).toEqual(["8.8.8.8/32"]);
});

test("the resolver knows the names given and denies all others", () => {
  const lines = dnsmasqConf({ name: "x", network, names: { "artifacts.kpi.test": "192.168.122.1" } }).split("\n");
  expect(lines).toContain("host-record=artifacts.kpi.test,192.168.122.1");
  expect(lines).toContain("address=/#/");
  expect(lines).toContain("no-resolv");
});
