/** The nodes of specs/lab.yaml. */
export const server = "k3s-cp-01";
export const worker = "k3s-worker-01";
export const worker2 = "k3s-worker-02";

/** k3s's unit on a node. */
export const unit = (node: string): string => (node === server ? "k3s" : "k3s-agent");

/** Something else in the place of a file, printed by a command: mounted over it, so that healing brings back the very same one. */
export function instead(path: string, print: string): { readonly how: string; readonly heal: string } {
  const other = `/var/tmp/kpi-broken${path.replaceAll("/", "-")}`;
  const like = `chmod --reference=${path} ${other}; chown --reference=${path} ${other}`;
  return {
    how: `{ ${print}; } > ${other}; ${like}; mount --bind ${other} ${path}`,
    heal: `umount ${path}; rm ${other}`,
  };
}

/** Starts a program that outlives the command, to be ended by `kill`. */
export const background = (name: string, program: string): string =>
  `${program} < /dev/null > /dev/null 2>&1 & echo $! > /run/kpi-broken-${name}.pid`;

export const kill = (name: string): string =>
  `kill "$(cat /run/kpi-broken-${name}.pid)"; rm /run/kpi-broken-${name}.pid`;
