import type { Round } from "../../harness/kit/breakage.ts";
import { clusterRounds } from "./cluster.ts";
import { doorRounds } from "./doors.ts";
import { nodeRounds } from "./node.ts";
import { trafficRounds } from "./traffic.ts";

/** All that is broken on real machines, in this order. */
export const rounds: readonly Round[] = [...nodeRounds, ...doorRounds, ...clusterRounds, ...trafficRounds];
