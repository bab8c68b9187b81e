#!/bin/sh
# fingerprint.sh: what a spec might change on a node and forget, a line an aspect: the boot, the main processes of units, accounts and
# configuration, the network. Nothing that an idle node changes by itself, so no rules of the packet filter, which kube-proxy and flannel
# write anew. Run as root, from standard input. Forks little: an emulated node pays for each process.
export LC_ALL=C
read -r boot < /proc/sys/kernel/random/boot_id
echo "$boot"
# UNIT:PROGRAM; the main process is the one whose name begins so that systemd itself started (k3s calls itself k3s-server or k3s-agent). One
# that was restarted has another number.
for pair in k3s:k3s k3s-agent:k3s ssh:sshd systemd-networkd:systemd-network systemd-resolved:systemd-resolve; do
  unit=${pair%:*} program="(${pair#*:}"
  [ -r "/sys/fs/cgroup/system.slice/$unit.service/cgroup.procs" ] || continue
  while read -r process; do
    read -r _ name _ parent _ 2> /dev/null < "/proc/$process/stat" || continue
    case $parent$name in 1"$program"*) printf '%s:%s ' "$unit" "$process" ;; esac
  done < "/sys/fs/cgroup/system.slice/$unit.service/cgroup.procs"
done
echo
# Inode, size, and the last change, which nobody can set: so files that only root reads are compared, too.
stat -c '%n:%i:%s:%Z' /etc/passwd /etc/shadow /etc/hosts /etc/hostname /etc/ssh/sshd_config.d/* /etc/rancher/k3s/config.yaml 2> /dev/null |
  while read -r file; do printf '%s ' "$file"; done
echo
read -r network < /proc/sys/kernel/hostname
overlay= # apart, because of a machine that was started again it comes a moment after its node is Ready
for file in /etc/resolv.conf /run/systemd/resolve/resolv.conf; do # by what they say: systemd-resolved writes the same anew
  [ -r "$file" ] || continue
  while read -r key value _; do
    if [ "$key" = nameserver ]; then network="$network $file:$value"; fi
  done < "$file"
done
for device in /sys/class/net/*; do # a pod's own, and the bridge that its first one brings, come and go
  read -r mtu < "$device/mtu"
  case ${device##*/} in
    cni* | veth*) ;;
    flannel*) overlay="$overlay ${device##*/}:mtu:$mtu" ;;
    *) network="$network ${device##*/}:mtu:$mtu" ;;
  esac
done
ip -4 -o -batch - << 'END' | {
address show scope global
route show
END
  while read -r line; do
    # shellcheck disable=SC2086 # its words
    set -- $line
    case $line in
      *cni* | *veth* | [0-9]*': flannel'*) ;;
      [0-9]*': '*) network="$network $2:$4" ;;
      *flannel*) IFS=_ && overlay="$overlay $*" && unset IFS ;;
      *) IFS=_ && network="$network $*" && unset IFS ;;
    esac
  done
  echo "$network"
  echo "$overlay"
}
