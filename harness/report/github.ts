import type { ClaimResult } from "../core/claim.ts";
import { errorMessage, errorText } from "./junit.ts";

/**
 * Annotations as GitHub's runner reads them from standard output: an error for a failed claim at its own line; a warning for a blocked
 * one, because it is only the consequence of another failure. Passed and skipped claims say nothing.
 */
export function githubAnnotations(claims: readonly ClaimResult[]): string[] {
  return claims.flatMap((claim) => {
    const { file, line, title, outcome, error, why = "" } = claim;
    const place = `file=${property(file)},line=${line},title=${property(title)}`;
    if (outcome === "failed") return [`::error ${place}::${data(errorText(error, `${file}:${line}`))}`];
    // The error of a blocked claim says by what, and why.
    const blocked = error === undefined ? `blocked ${why}` : errorMessage(error);
    if (outcome === "blocked") return [`::warning ${place}::${data(blocked)}`];
    return [];
  });
}

/** What the runner takes apart must not stand in a value: its own escapes are percent codes. */
const data = (text: string) => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const property = (text: string) => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
