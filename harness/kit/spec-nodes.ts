import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { loadSpec } from "../core/spec.ts";

/** Node names of a spec, or why it cannot be read. */
const known = new Map<string, readonly string[] | Error>();

/** Reads every spec in specs/ once: tests have names when their file is loaded, and a spec is read asynchronously. */
export async function readSpecs(): Promise<void> {
  const files = [...new Bun.Glob("specs/*.yaml").scanSync(projectRoot)];
  await Promise.all(
    files.map(async (file) => {
      const names = await loadSpec(join(projectRoot, file)).then(
        ({ nodes }) => nodes.map(({ name }) => name),
        (error: Error) => error, // told to whoever uses it
      );
      known.set(file, names);
    }),
  );
}

/** The names of a spec's nodes, in the spec's order. */
export function specNodes(spec: string): readonly string[] {
  const names = known.get(spec);
  if (names instanceof Error) throw names;
  if (names === undefined) throw new Error(`there is no ${spec}`);
  return names;
}
