#!/bin/sh
# k3s-binary.sh: what the k3s on a node is. Run as root on the node, from standard input. KNOWN is the stamp of a k3s that was hashed
# and asked before: the same stamp (inode, last change, size) is the same file, and seconds of an emulated CPU are saved.
export LC_ALL=C
[ -x /usr/local/bin/k3s ] || exit 0
stamp=$(stat -c '%i %Z %s' /usr/local/bin/k3s)
echo "stamp $stamp"
if [ "$stamp" != "${KNOWN-}" ]; then
  sha256sum /usr/local/bin/k3s
  /usr/local/bin/k3s --version || : # one that does not even run has a hash, and that says enough
fi
