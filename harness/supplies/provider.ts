import { join } from "node:path";
import type { ResolvedSupply } from "./supply.ts";

/**
 * The Terraform CLI configuration that takes the libvirt provider from the supply and nothing from anywhere else: to be written
 * to a file, its path in `TF_CLI_CONFIG_FILE`. Pure.
 */
export function terraformCliConfig(provider: ResolvedSupply): string {
  const mirror = join(provider.dir, "mirror");
  return `disable_checkpoint = true
provider_installation {
  filesystem_mirror {
    path = ${JSON.stringify(mirror)}
  }
}
`;
}
