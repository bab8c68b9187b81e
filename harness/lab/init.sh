#!/bin/bash
# A lab's launcher and its PID 1. Called by lab.ts as
#
#   init.sh kpi-lab:DIR BUN ACCELERATOR [ADDRESS...]
#
# The first argument also names the lab in the process list: that is how a lab whose files are half written or gone is
# still found. On the host it opens new mount, network and PID namespaces and calls itself again as their init. As init
# it builds the lab's world, starts its daemons and ends when the first of them does; the kernel then removes the rest:
# guests, bridge, mounts. DIR holds the lab's files; ACCELERATOR is kvm or tcg; ADDRESS... are resolvers which the lab owns
# (in CIDR notation).
set -euo pipefail
umask 077
dir=${1#kpi-lab:}
bun=$2
accelerator=$3
here=$(dirname "$0")

if [[ $$ -ne 1 ]]; then
  cd /
  exec </dev/null >>"$dir/lab.log" 2>&1
  exec 9</proc/self/ns/net # the way back to the host's network, for the gateway's listener only
  # What the host unmounts later goes from here, too: its disks are not held by a lab that never used them.
  exec unshare --mount --propagation slave --net --pid --fork --mount-proc --kill-child=KILL -- "$BASH" "$0" "$@"
fi

# Fixed paths inside, the lab's own directories behind them: a saved domain means the same in every lab.
mount --bind "$dir/etc" /etc/libvirt
mount --bind "$dir/lib" /var/lib/libvirt
mount --bind "$dir/cache" /var/cache/libvirt
mount --bind "$dir/log" /var/log/libvirt
for share in "$dir"/shares/*; do # links to directories of the host, read-only inside under the link's name
  [[ -e $share ]] || continue
  inside=/var/lib/libvirt/shares/$(basename "$share")
  mkdir -p "$inside"
  mount --bind "$(readlink -f "$share")" "$inside"
  mount -o remount,bind,ro "$inside"
done
mount -t tmpfs -o mode=755,size=64m tmpfs /run
mkdir -p /run/libvirt /run/tmp /run/lock # the last for the lock of a console that somebody has open
mount --bind "$dir/run" /run/libvirt
mount -t sysfs sysfs /sys # this network's devices instead of the host's, and no control groups

# Only the devices that guests need. A KVM that boots nothing must not be seen at all: libvirt would ask QEMU about it again
# in every lab, for more than a second, because what it says of the CPU changes with the core that it is asked on.
devices=(null zero full random urandom tty net/tun)
[[ $accelerator != kvm ]] || devices+=(kvm)
mkdir /run/dev
mount -t tmpfs -o mode=755,size=1m,nosuid tmpfs /run/dev
mkdir /run/dev/{net,pts,shm}
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /run/dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /run/dev/shm
ln -s pts/ptmx /run/dev/ptmx
ln -s /proc/self/fd /run/dev/fd
for device in "${devices[@]}"; do
  mknod -m 666 "/run/dev/$device" c $((0x$(stat -c %t "/dev/$device"))) $((0x$(stat -c %T "/dev/$device")))
done
mount --move /run/dev /dev

# A network of its own. It has no uplink, so guests have no way out whatever they are told to route.
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null || true
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null || true
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
for address in "${@:4}"; do
  ip address add "$address" dev lo
done

# Counted from before the first guest on: whatever asks for an address, or gives one. A lab's addresses are all planned (see dhcp.ts).
ebtables -t nat -A PREROUTING -p IPv4 --ip-protocol udp --ip-destination-port 67:68
ebtables -t nat -A PREROUTING -p IPv6 --ip6-protocol udp --ip6-destination-port 546:547

# One line a daemon; descriptor 9 goes to the gateway alone.
declare -A daemons
libvirtd --config /etc/libvirt/libvirtd.conf 9<&- &
daemons[$!]=libvirtd
dnsmasq --keep-in-foreground --conf-file=/var/lib/libvirt/dnsmasq/resolver.conf 9<&- &
daemons[$!]=dnsmasq
"$bun" --smol "$here/gateway.ts" "$dir" 9 &
daemons[$!]=gateway
exec 9<&-

code=0
wait -n -p ended || code=$?
echo "init: ${daemons[$ended]} ended with exit code $code, so the lab ends"
