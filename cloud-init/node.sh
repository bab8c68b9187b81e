#!/usr/bin/env bash
# node.sh [--wait]: turns a freshly booted machine into a k3s node, or says why not.
#
# Order is the point: the network must be as planned and the resolver must answer before anything of k3s is fetched,
# because certificates and the API server bind to what they find then. Every step ends in one line of JSON, the verdict,
# in /var/log/kpi/verdict.ndjson and on the serial console. By hand: `sudo bash /etc/kpi/node.sh`, as often as you like.
#
# Reads /etc/kpi/{node.env,config.yaml,unit}. KPI_ROOT is a prefix for every path (tests). Forks little: an emulated
# machine pays for each process.
set -euo pipefail
export LC_ALL=C
umask 077

root=${KPI_ROOT-}
etc=$root/etc/kpi
run=$root/run/kpi
verdicts=$root/var/log/kpi/verdict.ndjson
done_mark=$root/var/lib/kpi/done
console=${KPI_CONSOLE-/dev/ttyS0}
config=$root/etc/rancher/k3s/config.yaml
binary=$root/usr/local/bin/k3s
images_dir=$root/var/lib/rancher/k3s/agent/images
step=start

# ---- saying what happened ----------------------------------------------------------------------------------------------

# json TEXT: sets `quoted` to the text as a JSON string, in one line.
json() {
  local text=${1//[$'\001'-$'\037']/ }
  text=${text//\\/\\\\}
  quoted=\"${text//\"/\\\"}\"
}

# verdict true|false DETAIL, for the current step. Times are the guest's own: wall clock and seconds since boot.
verdict() {
  local quoted mono _ line
  json "$2"
  read -r mono _ < /proc/uptime
  line="{\"kpi\":1,\"node\":\"$NODE\",\"step\":\"$step\",\"ok\":$1,\"detail\":$quoted,\"wall\":$EPOCHREALTIME,\"mono\":$mono}"
  # The console first: a full disk takes no file. The leading newline parts it from what the kernel or a login prompt left on the line.
  if [[ -n $console && -w $console ]]; then printf '\nKPI-VERDICT %s\n' "$line" >> "$console" || true; fi
  printf '%s\n' "$line" >> "$verdicts" || true
}

pass() { verdict true "$1"; }

fail() {
  verdict false "$1"
  printf 'node.sh: %s: %s\n' "$step" "$1" >&2
  exit 1
}

# A pause that forks nothing: reading from a pipe that nobody writes to.
exec {never}<> <(:)
pause() { read -rt "$1" -u "$never" || true; }

# ---- the gate ----------------------------------------------------------------------------------------------------------
# Each check sets `why` and fails, or sets `seen`. `hold` repeats one until it holds or the gate's time is over.

hold() {
  local wait=0.1
  until "$1"; do
    ((SECONDS < GATE_SECONDS)) || fail "$why"
    pause "$wait"
    wait=0.5
  done
  pass "$seen"
}

check_interface() {
  local mac state device
  if ! read -r mac < "/sys/class/net/$INTERFACE/address"; then
    why="no interface $INTERFACE; there are:"
    for device in /sys/class/net/*; do
      read -r mac < "$device/address" || continue
      why+=" ${device##*/} ($mac)"
    done
    return 1
  fi 2>/dev/null
  why="$INTERFACE has MAC address $mac, planned $MAC"
  [[ $mac == "$MAC" ]] || return 1
  read -r state < "/sys/class/net/$INTERFACE/operstate"
  why="$INTERFACE is $state, not up"
  [[ $state == up ]] || return 1
  seen="$INTERFACE up, $mac"
}

# The planned address and no other: a second one, from DHCP or an image, is what k3s might bind to. Its own, of the pods' network, are there
# when it has run before.
check_address() {
  local device family cidr _ found=()
  while read -r _ device family cidr _; do
    if [[ $family == inet && $device != flannel.* && $device != cni0 ]]; then found+=("$cidr on ${device%:}"); fi
  done < <(ip -4 -oneline address show scope global)
  why="planned $ADDRESS on $INTERFACE only, found ${found[*]-no global IPv4 address}"
  [[ ${#found[@]} == 1 && ${found[0]} == "$ADDRESS on $INTERFACE" ]] || return 1
  seen=${found[0]}
}

check_route() {
  local routes
  mapfile -t routes < <(ip -4 route show default)
  why="planned a default route via $GATEWAY on $INTERFACE, found ${routes[*]-none}"
  [[ ${#routes[@]} == 1 && "${routes[0]} " == "default via $GATEWAY dev $INTERFACE "* ]] || return 1
  seen=${routes[0]% }
}

# Every required name, through the configured resolver: `getent -s dns` does not read /etc/hosts.
check_dns() {
  local name line
  seen="resolver $RESOLVERS answered:"
  for name in $NAMES; do
    if ! line=$(RES_OPTIONS='timeout:2 attempts:1' getent -s dns ahostsv4 "$name"); then
      why="resolver $RESOLVERS did not answer for $name within $GATE_SECONDS s"
      ((SECONDS < GATE_SECONDS)) || explain_dns "$name"
      return 1
    fi
    seen+=" $name is ${line%%[[:space:]]*}"
  done
}

# Only once, at the end: what systemd-resolved has to say about it.
explain_dns() {
  local said
  command -v resolvectl > /dev/null || return 0
  said=$(timeout 5 resolvectl query --legend=no "$1" 2>&1) || true
  [[ -z $said ]] || why+=" (${said##*$'\n'})"
}

# A name in /etc/hosts would be answered by systemd-resolved too, without any resolver behind it.
refuse_pinned_names() {
  local words name
  while read -r -a words; do
    [[ ${words[0]-} != \#* ]] || continue
    for name in $NAMES; do
      [[ " ${words[*]:1} " != *" $name "* ]] || fail "$name is pinned in /etc/hosts, so the resolver $RESOLVERS is not proven"
    done
  done < "$root/etc/hosts"
}

gate() {
  SECONDS=0
  step=interface && hold check_interface
  step=address && hold check_address
  step=route && hold check_route
  step=dns
  refuse_pinned_names
  hold check_dns
}

# ---- artefacts ---------------------------------------------------------------------------------------------------------

# fetch NAME URL SHA256 FILE: downloads with resume, verifies, and leaves FILE only when its hash is right.
# Says why not on its standard output, for whoever runs it in the background.
fetch() {
  local name=$1 url=$2 want=$3 file=$4 got attempt resumed code error=
  for attempt in 1 2 3 4 5; do
    resumed=false code=0
    [[ ! -e $file.part ]] || resumed=true
    # A stalled transfer is given up after 30 s, a slow one after half an hour; the next one goes on where it ended.
    error=$(curl -fsSL --connect-timeout 10 --speed-limit 1024 --speed-time 30 --max-time 1800 -C - -o "$file.part" "$url" 2>&1) || code=$?
    if ((code == 0)); then
      got=$(sha256sum < "$file.part")
      if [[ ${got%% *} == "$want" ]]; then
        mv "$file.part" "$file"
        return 0
      fi
      rm -f "$file.part"
      error="expected sha256 $want, got ${got%% *}"
      # Of two transfers it may be two files.
      [[ $resumed == true ]] || { echo "$name from $url: $error" && return 1; }
    fi
    # A server that cannot go on where it ended begins anew.
    ((code != 33 && code != 36)) || rm -f "$file.part"
    pause "$attempt"
  done
  rm -f "$file.part"
  echo "$name from $url: not fetched in 5 attempts: ${error##*$'\n'}"
  return 1
}

artefacts() {
  step=artefact
  local stage=$root/var/lib/kpi/stage said pid pids=() ok=true images=${IMAGES_URL##*/}
  rm -rf "$stage"
  mkdir -p "$stage"
  # Side by side: while one waits for the network the other is hashed.
  fetch binary "$BINARY_URL" "$BINARY_SHA256" "$stage/binary" > "$stage/said.binary" & pids+=($!)
  fetch images "$IMAGES_URL" "$IMAGES_SHA256" "$stage/images" > "$stage/said.images" & pids+=($!)
  for pid in "${pids[@]}"; do wait "$pid" || ok=false; done
  if [[ $ok == false ]]; then
    said=$(cat "$stage"/said.*)
    rm -rf "$stage"
    fail "${said//$'\n'/; }"
  fi
  pass "binary sha256 $BINARY_SHA256, images sha256 $IMAGES_SHA256"

  step=install
  mkdir -p "${binary%/*}" "$images_dir" "${config%/*}" "$root/etc/systemd/system"
  chmod 755 "$stage/binary"
  mv "$stage/binary" "$binary"
  mv "$stage/images" "$images_dir/$images"
  rm -rf "$stage"
}

# ---- k3s ---------------------------------------------------------------------------------------------------------------

if_server() { [[ $ROLE == server ]]; }

# A lab boots its nodes with one CPU (maxcpus=1 on the kernel's command line): QEMU's emulation with several is not safe
# while drivers move device memory about. Anywhere else there is nothing to do.
wake_cpus() {
  local online
  for online in "$root"/sys/devices/system/cpu/cpu[1-9]*/online; do
    [[ ! -w $online || $(< "$online") == 1 ]] || echo 1 > "$online"
  done
}

install_unit() {
  unit=k3s
  if_server || unit=k3s-agent
  ln -sfn k3s "${binary%/*}/kubectl"
  install -m 600 "$etc/config.yaml" "$config"
  # Loading every unit again is slow, and only needed where systemd knows an older one.
  local file=$root/etc/systemd/system/$unit.service known=true
  [[ -e $file ]] || known=false
  install -m 644 "$etc/unit" "$file"
  [[ $known == false ]] || systemctl daemon-reload
  systemctl --quiet --no-reload enable "$unit" kpi-node
  pass "$VERSION as $unit.service"
}

# `systemctl start` returns at the unit's first success or failure, so nothing is polled; `timeout` is the bound. One that runs from before is
# started anew: what it was started from has been replaced.
start_unit() {
  step=service
  local failures=0 left code state how=restart
  SECONDS=0
  while left=$((START_SECONDS - SECONDS)) && ((left > 0)); do
    code=0
    timeout "$left" systemctl "$how" "$unit" 2>/dev/null || code=$?
    how=start
    ((code != 0)) || { pass "$unit active after ${SECONDS} s" && return; }
    ((code == 124)) || ((++failures < 3)) || break
  done
  state=$(systemctl show "$unit" -p ActiveState -p SubState -p Result -p ExecMainStatus --value)
  fail "$unit did not become active in $SECONDS s, $failures failed starts: ${state//$'\n'/ }; journal: $(last_words)"
}

# What the unit said last, without the token should it ever be in there.
last_words() {
  local token line
  line=$(journalctl -u "$unit" -n 3 -o cat --no-pager 2>/dev/null || true)
  token=$(sed -n 's/^"\{0,1\}token"\{0,1\}: "\{0,1\}\([A-Za-z0-9]*\).*/\1/p' "$etc/config.yaml")
  [[ -z $token ]] || line=${line//"$token"/***}
  printf '%s' "${line:0:600}"
}

# credential FILE KEY: a field of a kubeconfig as a file, which it either names or holds in base64.
credential() {
  local line
  line=$(grep -m1 -E "^ *$2(-data)?: " "$1") || return 1
  case $line in
    *-data:*) mkdir -p "$run/tls" && base64 -d <<< "${line#*: }" > "$run/tls/$2" && echo "$run/tls/$2" ;;
    *) echo "${line#*: }" ;;
  esac
}

# Sets where the API is and what this node shows to it. A server's kubeconfig says it; an agent has its kubelet's files.
api_access() {
  local kubeconfig=$root/etc/rancher/k3s/k3s.yaml agent=$root/var/lib/rancher/k3s/agent
  if if_server; then
    [[ -r $kubeconfig ]] && url=$(sed -n 's/^ *server: *//p' "$kubeconfig") && ca=$(credential "$kubeconfig" certificate-authority) &&
      cert=$(credential "$kubeconfig" client-certificate) && key=$(credential "$kubeconfig" client-key)
  else
    ca=$agent/server-ca.crt cert=$agent/client-kubelet.crt key=$agent/client-kubelet.key
    url=$(sed -n 's/^"\{0,1\}server"\{0,1\}: "\{0,1\}\([^"]*\).*/\1/p' "$config")
    [[ -r $ca && -r $cert && -r $key && -n $url ]]
  fi
}

# The API is asked once and then tells by itself: one open watch costs less than a kubectl of 100 MB every second.
await_ready() {
  step=ready
  local url ca cert key events watch left
  SECONDS=0
  while left=$((START_SECONDS - SECONDS)) && ((left > 0)); do
    if api_access; then
      exec {events}< <(exec curl -fsN --max-time "$left" --cacert "$ca" --cert "$cert" --key "$key" \
        "$url/api/v1/nodes?watch=1&fieldSelector=metadata.name%3D$NODE" 2>/dev/null)
      watch=$!
      if grep -qm1 '"type":"Ready","status":"True"' <&"$events"; then
        kill "$watch" 2>/dev/null || true
        pass "$NODE is Ready after ${SECONDS} s"
        return
      fi
      exec {events}<&-
    fi
    pause 2
  done
  fail "$NODE did not become Ready in $SECONDS s"
}

# A changed seed is another machine, so at a later boot cloud-init would find nothing new, and takes a third of the time that
# a node needs to come back. Where it configured networkd, it also gave the interface its name at each boot; netplan does that
# by itself, by a file which one of ours would hide.
dismiss_cloud_init() {
  local networks=$root/etc/systemd/network
  if compgen -G "$networks/*cloud-init*.network" > /dev/null; then
    printf '[Match]\nMACAddress=%s\n\n[Link]\nName=%s\n' "$MAC" "$INTERFACE" > "$networks/10-kpi.link"
    chmod 644 "$networks/10-kpi.link"
  fi
  sync # nobody writes it anew from here on, and after a power cut a young file may be there and empty
  : > "$root/etc/cloud/cloud-init.disabled"
}

# ---- once a boot, whoever comes first ----------------------------------------------------------------------------------

main() {
  # A node that was installed from these very settings before has little to do: systemd starts its k3s at boot.
  if [[ -e $done_mark && $(< "$done_mark") == "$(< "$etc/node.env")" ]]; then
    wake_cpus
    return
  fi
  gate
  wake_cpus
  artefacts
  install_unit
  start_unit
  await_ready
  mkdir -p "${done_mark%/*}"
  cp "$etc/node.env" "$done_mark"
}

mkdir -p "$run" "${verdicts%/*}"
exec {lock}> "$run/lock"
flock "$lock"
# What started us waits for this file, and would start us again after a failure if it were still there.
[[ ! -e $etc/seeded ]] || mv "$etc/seeded" "$etc/started"
told=
if [[ ${1-} == --wait && -e $run/result ]]; then
  told=$(< "$run/result")
  ((told == 0)) || exit "$told"
else
  trap 'code=$?; rm -rf "$run/tls"; echo "$code" > "$run/result"' EXIT
fi
# shellcheck source=/dev/null
. "$etc/node.env"
[[ $told == 0 ]] || main
# Who waits is cloud-init's last stage, so all that it had to do is done.
[[ ${1-} != --wait || ! -d $root/etc/cloud ]] || dismiss_cloud_init
