#!/usr/bin/env bash
# setup.sh: runs as root in the build machine. Installs what is missing of KPI_PACKAGES, configures, and cleans up so that
# every clone has a first boot of its own.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
step() { echo "setup: $*"; }

# The build machine's own first boot must be over before its traces are removed. Exit 2: done, with recoverable errors.
step "waiting for cloud-init"
timeout 300 cloud-init status --wait > /dev/null || [ "$?" = 2 ]

step "packages"
missing=()
# shellcheck disable=SC2016 # dpkg-query expands it
installed=" $(dpkg-query -W -f '${Package}/${db:Status-Status} ')"
for package in $KPI_PACKAGES; do
  [[ $installed == *" $package/installed "* ]] || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  step "installing ${missing[*]}"
  apt-get -q -o DPkg::Lock::Timeout=300 update
  apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
fi

step "configuration"
# Later than the 90_dpkg.cfg of cloud images, which lists every cloud.
cat > /etc/cloud/cloud.cfg.d/99-k3s-node.cfg << 'YAML'
# Seeds come by CD; nothing else is searched for. RSA host keys cost seconds and nobody needs them.
datasource_list: [NoCloud, None]
ssh_genkeytypes: [ed25519, ecdsa]
ssh_deletekeys: true
disable_root: true
ssh_pwauth: false
YAML
# Before sshd's own defaults and cloud images' drop-ins: the first value that sshd reads counts.
cat > /etc/ssh/sshd_config.d/05-k3s-node.conf << 'CONF'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
CONF
# The agent's handler of SIGTERM takes a lock: one that is told to stop while it answers may wait for itself, and a reboot for
# systemd's 90 s.
mkdir -p /etc/systemd/system/qemu-guest-agent.service.d
printf '[Service]\nTimeoutStopSec=5s\n' > /etc/systemd/system/qemu-guest-agent.service.d/05-k3s-node.conf

step "manifest"
mkdir -p /usr/share/k3s-node
# shellcheck disable=SC2016 # dpkg-query expands it
dpkg-query -W -f '${Package} ${Version}\n' | LC_ALL=C sort > /usr/share/k3s-node/manifest.txt

step "clean"
# Whoever would write again what is removed below, at the next message or when the machine is switched off.
for unit in rsyslog.service syslog.socket systemd-random-seed.service; do systemctl stop "$unit" 2> /dev/null || true; done
journalctl --relinquish-var 2> /dev/null || true
cloud-init clean --logs --seed
rm -rf /etc/netplan/* /etc/systemd/network/*cloud-init* /etc/network/interfaces.d/*cloud-init* \
  /etc/udev/rules.d/70-persistent-net.rules /etc/sudoers.d/90-cloud-init-users /etc/ssh/sshd_config.d/50-cloud-init.conf \
  /etc/ssh/ssh_host_* /root/.ssh /home/*/.ssh /root/.bash_history /home/*/.bash_history /root/.cache /root/.wget-hsts \
  /etc/rancher /var/lib/rancher /var/lib/dhcp/* /var/lib/dhcpcd/* /var/lib/systemd/random-seed /var/lib/systemd/timesync \
  /var/log/journal/* /var/log/apt /var/log/unattended-upgrades/* /var/log/*.gz /var/log/*.[0-9] /var/tmp/*
apt-get clean
rm -rf /var/lib/apt/lists/* # after apt-get, which makes it anew
find /var/log -type f -exec truncate -s 0 {} +
# Empty, not absent: systemd fills in an empty one at boot, and treats an absent one as a boot without /etc.
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id
ln -s /etc/machine-id /var/lib/dbus/machine-id
echo localhost > /etc/hostname
fstrim / || step "fstrim is not possible here, the image is only larger"
