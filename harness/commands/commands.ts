import { clusterCommands } from "./cluster.ts";
import type { Command } from "./command.ts";
import { faultCommands } from "./fault.ts";
import { machineCommands } from "./machine.ts";
import { measureCommands } from "./measure.ts";
import { nodeCommands } from "./node.ts";
import { teethCommands } from "./teeth.ts";
import { warmCommands } from "./warm.ts";

export type { Command } from "./command.ts";

/** Every command, in the order in which help lists them. */
export const commands: Readonly<Record<string, Command>> = {
  ...clusterCommands,
  ...warmCommands,
  ...nodeCommands,
  ...faultCommands,
  ...measureCommands,
  ...machineCommands,
  ...teethCommands,
};
