import { expect, test } from "bun:test";
import { parseBinary } from "./binary.ts";

// As k3s-binary.sh printed it on a node of the lab.
const printed = `stamp 8259 1796036780
9b1d6e16e3dbf9d9e82c24eab0a9e244246443991ba84cec3b72307b32232ddd  /usr/local/bin/k3s
k3s version v1.34.3+lab1 (76845622)
go version go1.26.8
`;

test("a k3s is known by its file's stamp, its hash and its version", () => {
  expect(parseBinary(printed)).toEqual({
    stamp: "8259 1796036780",
    sha256: "9b1d6e16e3dbf9d9e82c24eab0a9e244246443991ba84cec3b72307b32232ddd",
    version: "v1.34.3+lab1",
  });
});

test("one that does not run has a hash and no version; none at all has nothing", () => {
  const lines = printed.split("\n");
  expect(parseBinary(lines.slice(0, 2).join("\n"))).toMatchObject({ sha256: lines[1]?.slice(0, 64), version: "" });
  expect(parseBinary("")).toEqual({ stamp: "", sha256: "", version: "" });
});
