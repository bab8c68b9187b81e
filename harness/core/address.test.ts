import { describe, expect, test } from "bun:test";
import { addressNumber, addressText, contains, isUnusable, overlap, parseNetwork, reservedIn } from "./address.ts";

const network = (text: string) => parseNetwork(text) ?? expect.unreachable(text);

describe("addresses", () => {
  test("go to numbers and back", () => {
    for (const text of ["0.0.0.0", "10.42.0.1", "192.168.122.255", "255.255.255.255"]) {
      expect(addressText(addressNumber(text) ?? -1)).toBe(text);
    }
    expect(addressNumber("255.255.255.255")).toBe(2 ** 32 - 1);
  });

  test.each(["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "a.b.c.d", "::1", " 1.2.3.4", "1.2.3.4\n"])(
    "%j is none",
    (text) => expect(addressNumber(text)).toBeUndefined(),
  );

  test("some can be nobody's", () => {
    const odd = ["0.0.0.0", "127.0.0.53", "169.254.1.1", "224.0.0.1", "255.255.255.255"];
    expect(odd.map(isUnusable)).toEqual(odd.map(() => true));
    expect(["1.1.1.1", "10.0.0.1", "192.168.122.1"].map(isUnusable)).toEqual([false, false, false]);
  });
});

describe("networks", () => {
  test("have a first and a last address", () => {
    expect(network("192.168.122.0/24")).toEqual({
      cidr: "192.168.122.0/24",
      first: 0xc0a87a00,
      last: 0xc0a87aff,
      prefix: 24,
    });
    expect(network("0.0.0.0/0")).toMatchObject({ first: 0, last: 2 ** 32 - 1 });
    expect(network("255.255.255.255/32")).toMatchObject({ first: 2 ** 32 - 1, last: 2 ** 32 - 1 });
  });

  test("lose host bits", () => expect(network("192.168.122.7/24").cidr).toBe("192.168.122.0/24"));

  test.each(["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0/8", "fd00::/8", "/8"])(
    "%j is none",
    (text) => expect(parseNetwork(text)).toBeUndefined(),
  );

  test("contain addresses, two of them reserved", () => {
    const lan = network("192.168.122.0/24");
    expect(
      ["192.168.121.255", "192.168.122.0", "192.168.122.255", "192.168.123.0"].map((a) => contains(lan, a)),
    ).toEqual([false, true, true, false]);
    expect(["192.168.122.0", "192.168.122.1", "192.168.122.255"].map((a) => reservedIn(lan, a))).toEqual([
      "network",
      undefined,
      "broadcast",
    ]);
  });

  test("overlap when one holds the other, and only then", () => {
    const pairs: [string, string, boolean][] = [
      ["10.42.0.0/16", "10.43.0.0/16", false],
      ["10.42.0.0/15", "10.43.0.0/16", true],
      ["10.43.128.0/17", "10.43.0.0/16", true],
      ["10.0.0.0/32", "10.0.0.1/32", false],
    ];
    for (const [a, b, expected] of pairs) {
      expect(overlap(network(a), network(b))).toBe(expected);
      expect(overlap(network(b), network(a))).toBe(expected);
    }
  });
});
