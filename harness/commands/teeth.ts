import { survivors } from "../core/teeth.ts";
import { renderTeeth } from "../report/teeth.ts";
import { interruptible } from "../run/interrupt.ts";
import { runTeeth } from "../run/teeth.ts";
import { type Arguments, type Command, flag, json, show } from "./command.ts";

async function teeth(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const found = await runTeeth(args.positionals[0], signal);
    show(flag(args, "json") ? JSON.stringify(found, null, 2) : renderTeeth(found));
    return survivors(found).length === 0 && found.broken.length === 0 ? 0 : 1;
  });
}

/** The command that tests the tests. */
export const teethCommands: Readonly<Record<string, Command>> = {
  teeth: {
    readOnly: true,
    summary: "claims by mutants: which claim fails when what it guards is broken",
    more: "AREA is a file of specs/ without its ending, such as network. Exit code 1 while a mutant survives.",
    positionals: ["[AREA]"],
    options: { json },
    run: teeth,
  },
};
