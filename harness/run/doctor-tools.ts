import type { Check } from "./doctor-check.ts";
import type { Facts } from "./doctor-facts.ts";
import { type Place, type Tool, tools } from "./doctor-programs.ts";
import { distribution, installCommand } from "./doctor-packages.ts";

export interface ToolFact {
  readonly path: string;
  /** Empty when the tool tells none. */
  readonly version: string;
}

/** One check for each tool that is needed at one of these places. */
export function checkTools(facts: Facts, places: readonly Place[]): Check[] {
  return tools
    .filter(({ where }) => where.some((place) => places.includes(place)))
    .map((tool) => {
      const found = facts.tools[tool.id];
      const { id, why, atLeast, otherwise } = tool;
      const old = found !== undefined && isOlder(found.version, atLeast);
      const outcome = found === undefined ? "missing" : old ? "wrong" : "ok";
      const seen =
        found === undefined
          ? `${tool.programs.join(" or ") || tool.files?.[0]} not found`
          : old
            ? `${found.version}, older than ${atLeast}`
            : found.version || (tool.files === undefined ? found.path : "installed");
      const fix = outcome === "ok" ? undefined : fixFor(tool, facts);
      const reason = otherwise === undefined ? why : `${why}; ${otherwise}`;
      const needed = otherwise === undefined;
      return { id, title: id, outcome, seen, why: reason, needed, ...(fix === undefined ? {} : { fix }) };
    });
}

function fixFor({ id, programs, packages, otherwise }: Tool, facts: Facts): Check["fix"] {
  const known = distribution(facts.os);
  if (packages.length > 0 && known !== undefined) {
    return { command: installCommand(known, packages), automatic: facts.root, packages };
  }
  if (otherwise !== undefined) return undefined;
  const what = programs[0] ?? id;
  return { command: `# install ${what} yourself: kpi knows no packages of ${facts.os.pretty}`, automatic: false };
}

/** Whether some tool is missing or old, wherever it may be needed: only then packages matter. */
export function anyLacking(found: Facts["tools"]): boolean {
  return tools.some(({ id, atLeast }) => found[id] === undefined || isOlder(found[id].version, atLeast));
}

/** By number, part by part; a version that nobody tells is taken for new enough. */
function isOlder(version: string, atLeast: string | undefined): boolean {
  if (version === "" || atLeast === undefined) return false;
  const [have, want] = [version, atLeast].map((text) => text.split(".").map(Number)) as [number[], number[]];
  const index = want.findIndex((part, at) => (have[at] ?? 0) !== part);
  return index >= 0 && (have[index] ?? 0) < (want[index] ?? 0);
}

/** How this machine gets a libvirtd that it runs itself; undefined when it has one that only does not answer. */
export function libvirtPackages(facts: Facts): Check["fix"] {
  const known = distribution(facts.os);
  if (known === undefined || facts.tools["libvirtd"] !== undefined) return undefined;
  const packages = ["libvirt-daemon-system", "libvirt-daemon-config-network"];
  return { command: installCommand(known, packages), automatic: facts.root, packages };
}
