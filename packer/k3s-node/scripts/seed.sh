#!/usr/bin/env bash
# seed.sh DIR: what the build machine is reached by: an ssh key of its own and the NoCloud documents that let it in as root.
# Thrown away with the machine; nothing of it is in the image (setup.sh removes it, verify.sh proves it).
set -euo pipefail
dir=${1:?usage: seed.sh DIR}
umask 077
mkdir -p "$dir"
rm -f "$dir/ssh_key" "$dir/ssh_key.pub"
ssh-keygen -q -t ed25519 -N '' -C k3s-node-build -f "$dir/ssh_key"
cat > "$dir/user-data" << YAML
#cloud-config
users: []
disable_root: false
ssh_authorized_keys: ["$(cat "$dir/ssh_key.pub")"]
ssh_genkeytypes: [ed25519]
growpart: {mode: "off"}
resize_rootfs: false
YAML
echo 'instance-id: k3s-node-build' > "$dir/meta-data"
