import { describe, expect, test } from "bun:test";
import { formatFault } from "./fault.ts";
import { compileSchema, schemaProblem } from "./schema.ts";
import { parseYaml } from "./yaml.ts";

function check(schema: object, text: string): string[] {
  const { root } = parseYaml(text, "f");
  if (root === undefined) throw new Error("no root");
  return compileSchema({ type: "object", ...schema })
    .check(root)
    .map(formatFault);
}

describe("a schema's faults", () => {
  test("none when all is well", () => expect(check({ properties: { a: { type: "string" } } }, "a: x")).toEqual([]));

  test("say what is expected in the schema's own words, else in plain ones", () => {
    const properties = {
      told: { type: "string", errorMessage: "a colour" },
      type: { type: ["object", "null"] },
      choice: { enum: ["x", "y", "z"] },
      least: { type: "integer", minimum: 3 },
      many: { type: "array", minItems: 2 },
      pattern: { type: "string", pattern: "^a+$" },
      length: { type: "string", maxLength: 1 },
    };
    expect(check({ properties }, "told: 1\ntype: 1\nchoice: a\nleast: 2\nmany: [1]\npattern: b\nlength: ab")).toEqual([
      "f:1:7 told: is 1, expected a colour",
      "f:2:7 type: is 1, expected a mapping or nothing",
      'f:3:9 choice: is "a", expected one of x, y, z',
      "f:4:8 least: is 2, expected at least 3",
      "f:5:7 many: is a list, expected at least 2 items",
      'f:6:10 pattern: is "b", expected text matching ^a+$',
      'f:7:9 length: is "ab", expected a value that must NOT have more than 1 characters',
    ]);
  });

  test("a misspelt key is one fault, not a missing one as well", () => {
    const schema = { properties: { address: { type: "string" } }, required: ["address"], additionalProperties: false };
    expect(check(schema, "adress: x")).toEqual([
      "f:1:1 adress: is an unknown key, expected address (did you mean that?)",
    ]);
    expect(check(schema, "colour: x")).toEqual([
      "f:1:1 colour: is an unknown key, expected one of address",
      "f:1:1 address: is missing, expected text",
    ]);
  });

  test("a value that breaks several rules is one fault", () => {
    const schema = { properties: { a: { type: "string", minLength: 3, pattern: "^[0-9]+$" } } };
    expect(check(schema, "a: x")).toHaveLength(1);
  });

  test("a choice tells the faults of the branch that was meant", () => {
    const branch = (kind: string, key: string) => ({
      properties: { kind: { const: kind }, [key]: { type: "string" } },
      required: ["kind", key],
    });
    const item = { type: "object", discriminator: { propertyName: "kind" }, required: ["kind"] };
    const choice = { ...item, oneOf: [branch("file", "path"), branch("web", "url")] };
    const schema = { properties: { list: { type: "array", items: choice } } };
    expect(check(schema, "list:\n  - { kind: file, path: a }\n  - { kind: web, path: a }")).toEqual([
      "f:3:5 list[1].url: is missing, expected a value",
    ]);
  });

  test("names of keys, and keys with unusual names", () => {
    const properties = { m: { propertyNames: { pattern: "^[a-z]+$", errorMessage: "lower case" } } };
    expect(check({ properties, additionalProperties: false }, 'm: { A: 1 }\n"a/b~c\\n": 1')).toEqual([
      'f:2:1 ["a/b~c\\n"]: is an unknown key, expected one of m',
      "f:1:6 m.A: is no valid name, expected lower case",
    ]);
  });
});

test("a schema is checked against the schema of schemas", () => {
  expect(schemaProblem({ type: "object" })).toBeUndefined();
  expect(schemaProblem({ type: "objekt" })).toContain("type");
  expect(() => compileSchema({ type: "object", propertees: {} })).toThrow("propertees");
});
