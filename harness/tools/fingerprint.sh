#!/bin/sh
# fingerprint.sh: what a spec might change on a node and forget, a line an aspect: the boot, the main processes of units, accounts and
# configuration, addresses. Needs no root and forks twice: it is asked before and after every spec file, of an emulated node.
export LC_ALL=C
read -r boot < /proc/sys/kernel/random/boot_id
echo "$boot"
# UNIT:PROGRAM; the main process is the one of that name that systemd itself started. One that was restarted has another number.
for pair in k3s:k3s k3s-agent:k3s ssh:sshd systemd-networkd:systemd-network systemd-resolved:systemd-resolve; do
  unit=${pair%:*} program="(${pair#*:})"
  [ -r "/sys/fs/cgroup/system.slice/$unit.service/cgroup.procs" ] || continue
  while read -r process; do
    read -r _ name _ parent _ 2> /dev/null < "/proc/$process/stat" || continue
    if [ "$name" = "$program" ] && [ "$parent" = 1 ]; then printf '%s:%s ' "$unit" "$process"; fi
  done < "/sys/fs/cgroup/system.slice/$unit.service/cgroup.procs"
done
echo
# Inode, size, and the last change, which nobody can set: so files that only root reads are compared, too.
stat -c '%n:%i:%s:%Z' /etc/passwd /etc/shadow /etc/ssh/sshd_config.d/* | while read -r file; do printf '%s ' "$file"; done
echo
ip -4 -o address show scope global | while read -r _ name _ address _; do
  case $name in cni* | veth* | flannel*) ;; *) printf '%s %s ' "$name" "$address" ;; esac
done
echo
