#!/bin/sh
# probe.sh over | whole | network: everything that claims ask about one node, in one go, or only who it is and how it is in its network.
# `over`: everything, as soon as the node's own script has ended, which may hear of the node's readiness after everybody else.
# Run as root on the node, from standard input, so nothing is left there. Prints sections: a line "@@ NAME", then the section's text.
# Forks little: an emulated node pays for each process. Prints no secret: no token, no private key, no password hash.
export LC_ALL=C
section() { echo "@@ $1"; }
# text FILE [PREFIX]: its lines, each after the prefix, where the file is there; nothing of a secret token.
text() {
  [ -f "$1" ] || return
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in token:* | '"token":'*) line="${line%%:*}: ***" ;; esac
    printf '%s%s\n' "$2" "$line"
  done < "$1"
}
# show FILE...: each file that is there, as "FILE: LINE" lines.
show() { for file; do text "$file" "$file: "; done; }
# names PATH...: those of the (already expanded) paths that exist.
names() { for path; do if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done; }

section links # and routes: a line each
ip -j -d -batch - << 'END'
address
route
END
section name
show /proc/sys/kernel/hostname /etc/hostname /etc/machine-id /proc/sys/kernel/random/boot_id
section resolv
show /etc/resolv.conf /run/systemd/resolve/resolv.conf
section hostkeys
show /etc/ssh/ssh_host_*_key.pub
section leases
names /run/systemd/netif/leases/* /var/lib/dhcp/* /var/lib/dhcpcd/* /run/dhclient* /var/lib/NetworkManager/*.lease
section networkd
show /run/systemd/network/* /run/systemd/network/*/* /etc/systemd/network/* /etc/systemd/network/*/* /etc/netplan/*
section raw
show /proc/net/packet
section sockets # not by ss, which has the kernel load three modules
cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 - /proc/[0-9]*/comm 2> /dev/null << 'END'
@@ processes
END
if [ "$1" = network ]; then
  section end
  exit
fi
if [ "$1" = over ]; then flock 9 9< /run/kpi/lock; fi # which the script holds for as long as it runs
section passwd
while IFS=: read -r name _ id _ _ home shell; do echo "$name $id $home $shell"; done < /etc/passwd
section passwords
# Only what kind of password there is, never the hash.
while IFS=: read -r name hash _; do
  case $hash in '') echo "$name empty" ;; '!'* | '*'*) echo "$name locked" ;; *) echo "$name set" ;; esac
done < /etc/shadow
section sshd
sshd=$(sshd -T 2> /dev/null)
echo "$sshd"
section keys # of every user, in every file that sshd looks into
while read -r key files; do if [ "$key" = authorizedkeysfile ]; then break; fi; done << END
$sshd
END
shown=' '
while IFS=: read -r name _ _ _ _ home _; do
  for file in $files; do
    case $file in none) continue ;; /* | %h*) ;; *) file=%h/$file ;; esac
    while case $file in *%h*) ;; *) false ;; esac; do file=${file%%%h*}${home%/}${file#*%h}; done
    while case $file in *%u*) ;; *) false ;; esac; do file=${file%%%u*}$name${file#*%u}; done
    case $shown in *" $file "*) continue ;; esac # of several users
    shown="$shown$file "
    show "$file"
  done
done < /etc/passwd
section units
systemctl show k3s k3s-agent -p Id,LoadState,ActiveState,NRestarts,UnitFileState,ExecMainStartTimestampMonotonic
section failed
systemctl list-units --failed --plain --no-legend --no-pager
section cloudinit
text /var/lib/cloud/data/status.json # of the first boot; cloud-init does not run again
section verdicts
text /var/log/kpi/verdict.ndjson
section hardware
show /sys/block/vda/size /sys/devices/system/cpu/online
read -r total < /proc/meminfo
echo "/proc/meminfo: $total"
section filesystem
stat -f -c '%b %S' /
section config
text /etc/rancher/k3s/config.yaml
section files
stat -c '%n %a %U %.W %s %i %Z' /etc/rancher/k3s/k3s.yaml /etc/rancher/k3s/config.yaml /etc/kpi/config.yaml /etc/kpi/node.env \
  /usr/local/bin/k3s /var/lib/rancher/k3s/agent/images/* /var/lib/rancher/k3s/server/token \
  /var/lib/cloud/instances/*/user-data* /var/lib/cloud/instances/*/cloud-config* /var/lib/cloud/instances/*/obj.pkl 2> /dev/null
section env
text /etc/kpi/node.env
section end
