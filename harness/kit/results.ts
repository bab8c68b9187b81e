import type { ClaimResult } from "../core/claim.ts";
import { kpiPaths } from "../core/paths.ts";
import { openSuiteRecord, suiteDir as chooseDir, type SuiteRecord } from "../run/suite-record.ts";

let record: SuiteRecord | undefined;

const open = (): SuiteRecord => (record ??= openSuiteRecord(chooseDir(kpiPaths().state)));

/** The directory of this suite: what `kpi test` chose and told us, else one of our own, named by the time it began. */
export const suiteDir = (): string => open().dir;

/** Notes how a claim ended. */
export const noteClaim = (result: ClaimResult): void => open().append(result);
