import type { SupplyView } from "./inspect.ts";

/** The table of `kpi supplies` as text, a supply and what there is to say about it a line each. `now`: milliseconds since 1970. Pure. */
export function renderSupplies(views: readonly SupplyView[], now: number): string {
  const heads = ["supply", "version", "state", "source", "sha256", "size", "age"];
  const rows = views.map((view) => [
    view.name,
    view.version,
    view.state,
    view.source ?? "-",
    view.sha256?.slice(0, 12) ?? "-",
    view.size === undefined ? "-" : sizeText(view.size),
    view.madeAt === undefined ? "-" : ageText(now - Date.parse(view.madeAt)),
  ]);
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => {
    // Numbers to the right, words to the left.
    const padded = cells.map((cell, column) =>
      column === 5 || column === 6 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
    );
    return padded.join("  ").trimEnd();
  };
  return [line(heads), ...rows.flatMap((row, index) => [line(row), `  ${views[index]?.detail}`])].join("\n");
}

function sizeText(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `5 min`, `3 h`, `12 d`. */
function ageText(milliseconds: number): string {
  const minutes = Math.max(0, milliseconds) / 60_000;
  if (minutes < 90) return `${Math.round(minutes)} min`;
  if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h`;
  return `${Math.round(minutes / 1_440)} d`;
}
