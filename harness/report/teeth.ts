import { survivors, type Teeth } from "../core/teeth.ts";

/** Claims by mutants, an area at a time: `x` where a claim fails for a mutant. */
export function renderTeeth(teeth: Teeth): string {
  const areas = [...new Set(teeth.bites.map(({ area }) => area))];
  const survived = survivors(teeth);
  const toothless = teeth.claims.filter(({ kills }) => kills === 0);
  const killed = teeth.bites.length - survived.length;
  const percent = teeth.bites.length === 0 ? 0 : Math.floor((100 * killed) / teeth.bites.length);
  return [
    ...areas.flatMap((area) => [...renderArea(teeth, area), ""]),
    `${teeth.claims.length} claims, ${teeth.bites.length} mutants: ${killed} killed (${percent} %), ${survived.length} survived`,
    `${teeth.real.breakages} breakages on real machines fail ${teeth.real.claims} of these claims: kpi test specs/breaking.spec.ts`,
    ...survived.map(({ area, what, missing }) => `survivor: ${area}: ${what}: ${missing.join("; ").split("\n")[0]}`),
    ...toothless.map(({ file, title }) => `no mutant for: ${file}: ${title}`),
    ...teeth.unrecorded.map((name) => `not recorded, so its claims are not tried: ${name}`),
    ...teeth.broken.map((claim) => `fails on the recording itself: ${claim}`),
  ].join("\n");
}

function renderArea(teeth: Teeth, area: string): string[] {
  const claims = teeth.claims.filter(({ file }) => file.endsWith(`/${area}.spec.ts`));
  const bites = teeth.bites.filter((bite) => bite.area === area);
  const others = (killedBy: Readonly<Record<string, string>>) =>
    Object.keys(killedBy).filter((title) => !claims.some((claim) => claim.title === title)).length;
  return [
    area,
    ...claims.map(({ title, kills }, index) => `  ${letter(index)}  ${title} (${kills})`),
    `  ${claims.map((_, index) => letter(index)).join(" ")}`,
    ...bites.map(({ what, killedBy, missing }) => {
      const row = claims.map(({ title }) => (killedBy[title] === undefined ? " " : "x")).join(" ");
      const more = others(killedBy);
      return `  ${row}  ${what}${more > 0 ? ` (and ${more} of other areas)` : ""}${missing.length > 0 ? "  SURVIVED" : ""}`;
    }),
  ];
}

const letter = (index: number): string => String.fromCharCode("a".charCodeAt(0) + index);
