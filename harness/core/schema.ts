import { Ajv, type AnySchemaObject, type ErrorObject } from "ajv";
import { type DocumentPath, type Fault, quote } from "./fault.ts";
import { nearest } from "./nearest.ts";
import { keyPosition, nodeAt, plain, type YamlNode } from "./yaml.ts";

const options = {
  allErrors: true,
  verbose: true,
  strict: true,
  // A subschema that only adds `required` to what is stated elsewhere is fine, and so is "a mapping or nothing".
  strictTypes: false,
  strictRequired: false,
  discriminator: true,
} as const;

/** Compiling the schema of schemas takes longer than ours; a test checks with it instead (see `schemaProblem`). */
const quick = { meta: false, validateSchema: false, code: { optimize: false } } as const;

/** A compiled JSON schema. */
export interface Schema {
  /** Every fault of the document, each once, with its position. */
  readonly check: (root: YamlNode) => Fault[];
}

/**
 * Compiles a JSON schema (draft-07). A subschema may say in `errorMessage` what is expected ("an exact release such as
 * ..."): editors and our messages both show it. `oneOf` with `discriminator` reports only the branch that was meant.
 */
export function compileSchema(schema: AnySchemaObject): Schema {
  const ajv = new Ajv({ ...options, ...quick });
  ajv.addVocabulary(annotations);
  const validate = ajv.compile(schema);
  return {
    check(root) {
      if (validate(plain(root))) return [];
      return faultsOf(validate.errors ?? [], root, schema);
    },
  };
}

/** What is wrong with a schema as such, or undefined. Slow: for tests. */
export function schemaProblem(schema: AnySchemaObject): string | undefined {
  const ajv = new Ajv(options);
  ajv.addVocabulary(annotations);
  return ajv.validateSchema(schema) === true ? undefined : ajv.errorsText(ajv.errors);
}

const annotations = ["errorMessage"];

function faultsOf(errors: readonly ErrorObject[], root: YamlNode, schema: AnySchemaObject): Fault[] {
  const seen = new Set<string>();
  const slips = new Set<string>();
  const faults: Fault[] = [];
  // Unknown keys first: a required key that is only misspelt is not missing as well.
  const unknownFirst = errors.toSorted((a, b) => order(a) - order(b));
  for (const error of unknownFirst) {
    if (error.keyword === "if" || error.keyword === "propertyNames") continue;
    // A merge key, which the parser has refused, was to bring what is missing.
    if (error.keyword === "required" && Object.hasOwn(error.data as object, "<<")) continue;
    const fault = faultOf(error, root, schema, slips);
    const key = JSON.stringify(fault.path);
    if (seen.has(key) || (error.keyword === "required" && slips.has(key))) continue;
    seen.add(key);
    faults.push(fault);
  }
  return faults;
}

function order(error: ErrorObject): number {
  if (error.keyword === "additionalProperties") return 0;
  // The sum-up of a choice goes before the faults of each of its branches, which it stands for.
  return error.keyword === "oneOf" || error.keyword === "anyOf" ? 1 : 2;
}

function faultOf(error: ErrorObject, root: YamlNode, schema: AnySchemaObject, slips: Set<string>): Fault {
  const path = pathOf(error.instancePath, root);
  if (error.propertyName !== undefined) return badName(error, error.propertyName, path, root);
  if (error.keyword === "additionalProperties") return unknownKey(error, path, root, slips);
  if (error.keyword === "required") return missingKey(error, path, root, schema);
  if (error.keyword === "uniqueItems") return repeated(error, path, root);
  const node = nodeAt(root, path);
  const expected = messageOf(error.parentSchema) ?? messageOf(subschema(schema, path)) ?? standard(error);
  return { at: node?.at ?? root.at, path, what: `is ${shown(node)}`, expected };
}

function badName(error: ErrorObject, name: string, parent: DocumentPath, root: YamlNode): Fault {
  const path = [...parent, name];
  const expected = messageOf(error.parentSchema) ?? `a key that ${error.message}`;
  return { at: keyPosition(root, path), path, what: "is no valid name", expected };
}

function unknownKey(error: ErrorObject, parent: DocumentPath, root: YamlNode, slips: Set<string>): Fault {
  const key = String(error.params["additionalProperty"]);
  const known = Object.keys((error.parentSchema as AnySchemaObject)["properties"] ?? {});
  const meant = nearest(key, known);
  if (meant !== undefined) slips.add(JSON.stringify([...parent, meant]));
  const path = [...parent, key];
  const expected = meant === undefined ? `one of ${known.join(", ")}` : `${meant} (did you mean that?)`;
  return { at: keyPosition(root, path), path, what: "is an unknown key", expected };
}

function missingKey(error: ErrorObject, parent: DocumentPath, root: YamlNode, schema: AnySchemaObject): Fault {
  const key = String(error.params["missingProperty"]);
  const path = [...parent, key];
  const map = nodeAt(root, parent);
  const removed = map?.kind === "map" ? map.removed?.get(key) : undefined;
  const what = removed === undefined ? "is missing" : "is removed here, but needed";
  return { at: removed ?? keyPosition(root, parent), path, what, expected: expectation(schema, path) ?? "a value" };
}

function repeated(error: ErrorObject, list: DocumentPath, root: YamlNode): Fault {
  const [first, later] = [Number(error.params["i"]), Number(error.params["j"])].sort((a, b) => a - b);
  const path = [...list, later ?? 0];
  return { at: keyPosition(root, path), path, what: `repeats item ${(first ?? 0) + 1}`, expected: "each item once" };
}

/** What stands there, in words: `10`, `"abc"`, `a list`, `empty`. */
export function shown(node: YamlNode | undefined): string {
  if (node === undefined) return "absent";
  if (node.kind === "list") return node.items.length === 0 ? "an empty list" : "a list";
  if (node.kind === "map") return node.entries.size === 0 ? "an empty mapping" : "a mapping";
  if (typeof node.value === "string") return quote(node.value);
  return node.source === "" ? "empty" : node.source;
}

function standard(error: ErrorObject): string {
  const params = error.params as Record<string, unknown>;
  const limit = Number(params["limit"]);
  switch (error.keyword) {
    case "type":
      return typeText(params["type"]);
    case "enum":
      return choice(params["allowedValues"] as readonly unknown[]);
    case "const":
      return String(params["allowedValue"]);
    case "minimum":
      return `at least ${limit}`;
    case "maximum":
      return `at most ${limit}`;
    case "minItems":
      return `at least ${limit} ${limit === 1 ? "item" : "items"}`;
    case "maxItems":
      return `at most ${limit} ${limit === 1 ? "item" : "items"}`;
    case "minProperties":
      return `at least ${limit} ${limit === 1 ? "entry" : "entries"}`;
    case "pattern":
      return `text matching ${String(params["pattern"])}`;
    default:
      return `a value that ${error.message ?? "is valid"}`;
  }
}

function choice(values: readonly unknown[]): string {
  return values.length > 2 ? `one of ${values.join(", ")}` : values.join(" or ");
}

function typeText(types: unknown): string {
  return [types]
    .flat()
    .map((type) => typeWords[String(type)] ?? String(type))
    .join(" or ");
}

const typeWords: Record<string, string> = {
  string: "text",
  object: "a mapping",
  array: "a list",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  null: "nothing",
};

/** A JSON pointer as a path; list indexes become numbers. */
function pathOf(pointer: string, root: YamlNode): DocumentPath {
  const path: (string | number)[] = [];
  for (const part of pointer.split("/").slice(1)) {
    const step = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path.push(nodeAt(root, path)?.kind === "list" ? Number(step) : step);
  }
  return path;
}

/** What the subschema that describes `path` expects: its `errorMessage`, else its choices or its type. */
function expectation(root: AnySchemaObject, path: DocumentPath): string | undefined {
  const schema = subschema(root, path);
  if (Array.isArray(schema?.["enum"])) return messageOf(schema) ?? choice(schema["enum"]);
  return messageOf(schema) ?? (schema?.["type"] === undefined ? undefined : typeText(schema["type"]));
}

function messageOf(schema: unknown): string | undefined {
  const told: unknown = (schema as AnySchemaObject | undefined)?.["errorMessage"];
  return typeof told === "string" ? told : undefined;
}

/** The subschema that describes `path`, through `properties`, `additionalProperties`, `items` and `$ref`. */
function subschema(root: AnySchemaObject, path: DocumentPath): AnySchemaObject | undefined {
  let schema: AnySchemaObject | undefined = resolved(root, root);
  for (const step of path) {
    const properties = schema["properties"] as Record<string, AnySchemaObject> | undefined;
    const next: unknown =
      typeof step === "number"
        ? schema["items"]
        : properties !== undefined && Object.hasOwn(properties, step)
          ? properties[step]
          : schema["additionalProperties"];
    if (typeof next !== "object" || next === null) return undefined;
    schema = resolved(next as AnySchemaObject, root);
  }
  return schema;
}

/** Follows `$ref`s inside the same file (`#/$defs/name`); what stands beside a `$ref` goes first. */
function resolved(schema: AnySchemaObject, root: AnySchemaObject): AnySchemaObject {
  const ref: unknown = schema["$ref"];
  if (typeof ref !== "string" || !ref.startsWith("#/")) return schema;
  let target: unknown = root;
  for (const part of ref.slice(2).split("/")) target = (target as Record<string, unknown> | undefined)?.[part];
  const { $ref: _, ...beside } = schema;
  return { ...resolved(target as AnySchemaObject, root), ...beside };
}
