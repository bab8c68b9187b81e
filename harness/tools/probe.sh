#!/bin/sh
# probe.sh: everything that claims ask about one node, in one go. Run as root on the node, from standard input, so nothing is
# left there. Prints sections: a line "@@ NAME", then the section's text. Forks little: an emulated node pays for each process.
# Prints no secret: no token, no private key, no password hash.
export LC_ALL=C
section() { echo "@@ $1"; }
# show FILE...: each file that is there, as "FILE: LINE" lines.
show() {
  for file; do
    [ -f "$file" ] || continue
    while IFS= read -r line || [ -n "$line" ]; do printf '%s: %s\n' "$file" "$line"; done < "$file"
  done
}
# names PATH...: those of the (already expanded) paths that exist.
names() { for path; do if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done; }

section addresses
ip -j -d address
section routes
ip -j -4 route
section name
show /proc/sys/kernel/hostname /etc/hostname /etc/machine-id /proc/sys/kernel/random/boot_id /proc/sys/kernel/osrelease /proc/uptime
section os
show /etc/os-release
section resolv
show /etc/resolv.conf /run/systemd/resolve/resolv.conf
section hostkeys
show /etc/ssh/ssh_host_*_key.pub
section leases
names /run/systemd/netif/leases/* /var/lib/dhcp/* /var/lib/dhcpcd/* /run/dhclient* /var/lib/NetworkManager/*.lease
section networkd
show /run/systemd/network/* /run/systemd/network/*/* /etc/systemd/network/* /etc/systemd/network/*/* /etc/netplan/*
section sockets
ss -Hlntu
section raw
show /proc/net/packet
section processes
cat /proc/[0-9]*/comm 2> /dev/null
section passwd
while IFS=: read -r name _ id _ _ home shell; do echo "$name $id $home $shell"; done < /etc/passwd
section passwords
# Only what kind of password there is, never the hash.
while IFS=: read -r name hash _; do
  case $hash in '') echo "$name empty" ;; '!'* | '*'*) echo "$name locked" ;; *) echo "$name set" ;; esac
done < /etc/shadow
section keys
show /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys
section sshd
sshd -T 2> /dev/null
section units
systemctl show k3s k3s-agent kpi-node ssh cloud-init-main systemd-networkd systemd-resolved \
  -p Id,LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic
section failed
systemctl list-units --failed --plain --no-legend --no-pager
section cloudinit
show /run/cloud-init/status.json /run/cloud-init/result.json
section verdicts
cat /var/log/kpi/verdict.ndjson
section packages
# shellcheck disable=SC2016 # dpkg-query expands it
dpkg-query -W -f '${Package} ${db:Status-Status}\n'
section hardware
show /sys/block/vda/size /proc/meminfo /sys/devices/system/cpu/online
section filesystem
df -P -B1 / | tail -n 1
section config
[ ! -r /etc/rancher/k3s/config.yaml ] || sed 's/^\("\{0,1\}token"\{0,1\}: \).*/\1***/' /etc/rancher/k3s/config.yaml
section files
stat -c '%n %a %U %.W %s %i %Z' /etc/rancher/k3s/k3s.yaml /etc/rancher/k3s/config.yaml /etc/kpi/config.yaml /etc/kpi/node.env \
  /usr/local/bin/k3s /var/lib/rancher/k3s/agent/images/* /var/lib/rancher/k3s/server/token 2> /dev/null
section env
[ ! -r /etc/kpi/node.env ] || cat /etc/kpi/node.env
section end
