#!/usr/bin/env bash
# power-cut.sh [NODE]: a worker's power cut, with kpi's own commands, on a cluster that runs (kpi up, or kpi fork).
#
# NotReady after about 45 s (the control plane's grace), then power again, boot, and Ready with the same address, version
# and volume data. Anything else ends it with exit code 1. Two to four minutes in emulation. LAB names one of several.
set -euo pipefail
kpi=$(cd "$(dirname "$0")/../.." && pwd)/kpi
node=${1:-k3s-worker-01}
lab=(${LAB:+--lab "$LAB"})
kubectl() { command kubectl --kubeconfig "$kubeconfig" "$@"; }
say() { printf '[%3ds] %s\n' "$SECONDS" "$*"; }

# A user's volume on the node, written and read by pods there.
pod() {
  cat << YAML
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: power-cut}
spec:
  restartPolicy: Never
  nodeName: $node
  containers:
    - name: main
      image: kpi.lab/tools:1
      imagePullPolicy: Never
      command: [sh, -c, "$2"]
      volumeMounts: [{name: kept, mountPath: /kept}]
  volumes: [{name: kept, persistentVolumeClaim: {claimName: kept}}]
YAML
}
look() { kubectl get node "$node" -o jsonpath='{.status.addresses[0].address} {.status.nodeInfo.kubeletVersion}'; }

work=$(mktemp -d)
kubeconfig=$work/kubeconfig
cleanup() {
  kubectl delete namespace power-cut --ignore-not-found --wait=false > /dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
"$kpi" kubeconfig "${lab[@]}" --out "$kubeconfig" > /dev/null

before=$(look)
kubectl apply -f - > /dev/null << YAML
apiVersion: v1
kind: Namespace
metadata: {name: power-cut}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: kept
  namespace: power-cut
  annotations: {volume.kubernetes.io/selected-node: $node}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: local-path
  resources: {requests: {storage: 10Mi}}
---
$(pod writer 'date > /kept/file && sync')
YAML
kubectl -n power-cut wait pod/writer --for=jsonpath='{.status.phase}'=Succeeded --timeout=3m > /dev/null
say "$node is $before, and a volume there holds a file"

"$kpi" fault power-cut "$node" "${lab[@]}" --for 75s &
fault=$!
kubectl wait "node/$node" --for=condition=Ready=Unknown --timeout=3m > /dev/null
say "$node is NotReady; its power comes back when the 75 s are over"
wait "$fault"

after=$(look)
[[ $after == "$before" ]] || { say "was $before, is $after" && exit 1; }
pod reader 'test -s /kept/file' | kubectl apply -f - > /dev/null
kubectl -n power-cut wait pod/reader --for=jsonpath='{.status.phase}'=Succeeded --timeout=3m > /dev/null
say "$node is Ready: the same address and version ($after), the same data"
