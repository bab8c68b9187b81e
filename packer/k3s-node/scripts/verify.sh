#!/usr/bin/env bash
# verify.sh [ROOT]: proves that the image below ROOT (default /) is clean and has every package of KPI_PACKAGES.
# Names every fault, not only the first; exit 1 if there is one.
set -euo pipefail
shopt -s nullglob dotglob
root=${1:-}
root=${root%/}
faults=0 checks=0

fault() { echo "verify: $1: ${2#"$root"}" >&2; faults=$((faults + 1)); }
# none WHAT PATH...: none of the paths (already expanded globs) exists.
none() {
  local what=$1 path
  shift
  checks=$((checks + 1))
  for path; do if [ -e "$path" ] || [ -L "$path" ]; then fault "$what" "$path"; fi; done
}
# no_files WHAT DIRECTORY: no file below it, at any depth, has content.
no_files() {
  local what=$1 path
  checks=$((checks + 1))
  [ -d "$2" ] || return 0
  while IFS= read -r path; do fault "$what" "$path"; done < <(find "$2" -type f -size +0c)
}

none 'netplan file left' "$root"/etc/netplan/*
none 'network file of cloud-init left' "$root"/etc/systemd/network/*cloud-init* "$root"/etc/network/interfaces.d/*cloud-init* \
  "$root"/etc/udev/rules.d/70-persistent-net.rules
none 'ssh host key left' "$root"/etc/ssh/ssh_host_*
none 'ssh key or known host of a user left' "$root"/root/.ssh "$root"/home/*/.ssh
none 'shell history left' "$root"/root/.*_history "$root"/home/*/.*_history
none 'sudo rule of the build left' "$root"/etc/sudoers.d/90-cloud-init-users
none 'cloud-init state left' "$root"/var/lib/cloud/*
none 'cloud-init log left' "$root"/var/log/cloud-init*
none 'cloud-init is disabled' "$root"/etc/cloud/cloud-init.disabled
none 'journal left' "$root"/var/log/journal/*
none 'package list left' "$root"/var/lib/apt/lists/*
none 'k3s state left' "$root"/etc/rancher "$root"/var/lib/rancher
none 'DHCP lease left' "$root"/var/lib/dhcp/* "$root"/var/lib/dhcpcd/*
none 'random seed left' "$root"/var/lib/systemd/random-seed
no_files 'log left' "$root/var/log"

checks=$((checks + 1))
if [ ! -f "$root/etc/machine-id" ]; then
  fault 'machine-id is absent, it must be an empty file' "$root/etc/machine-id"
elif [ -s "$root/etc/machine-id" ]; then
  fault 'machine-id is not empty' "$root/etc/machine-id"
fi
if [ -e "$root/var/lib/dbus/machine-id" ] && [ ! -L "$root/var/lib/dbus/machine-id" ]; then
  fault 'machine-id of D-Bus left' "$root/var/lib/dbus/machine-id"
fi

checks=$((checks + 1))
while IFS=: read -r name _ id _; do
  if [ "$id" -ge 1000 ] && [ "$id" -lt 60000 ]; then fault 'user left' "$name"; fi
done < "$root/etc/passwd"
while IFS=: read -r name hash _; do
  case $hash in '' | '$'*) fault 'password set or empty for user' "$name" ;; esac
done < "$root/etc/shadow"

checks=$((checks + 1))
for file in etc/cloud/cloud.cfg.d/99-k3s-node.cfg etc/ssh/sshd_config.d/05-k3s-node.conf \
  etc/systemd/system/qemu-guest-agent.service.d/05-k3s-node.conf usr/share/k3s-node/manifest.txt; do
  [ -s "$root/$file" ] || fault 'file missing' "/$file"
done

# shellcheck disable=SC2016 # dpkg-query expands it
installed=" $(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Package}/${db:Status-Status} ')"
for package in ${KPI_PACKAGES:?the promised packages}; do
  checks=$((checks + 1))
  [[ $installed == *" $package/installed "* ]] || fault 'package missing' "$package"
done

if [ "$faults" -gt 0 ]; then
  echo "verify: $faults fault(s), the image is not fit for cloning" >&2
  exit 1
fi
echo "verify: clean, $checks checks"
