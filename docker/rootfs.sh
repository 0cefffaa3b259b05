#!/bin/sh
# Gathers in $1 what Node needs to run in an otherwise empty image: itself, its libraries, a user, a few directories.
set -eu
root=$1
mkdir -p "$root/usr/local/bin" "$root/etc"
cp /usr/local/bin/node "$root/usr/local/bin/node"
for library in $(ldd /usr/local/bin/node | grep -o '/[^ ]*'); do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
echo 'nonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin' >"$root/etc/passwd"
echo 'nonroot:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
install -d -m 1777 "$root/tmp"
# A fresh volume takes owner and mode of the directory it is mounted on.
install -d -m 0700 -o 65532 -g 65532 "$root/etc/ssl/ai-teddy" "$root/var/lib/sidelock" "$root/run/sidelock"
# `docker compose exec mtls-manager sidelock list`
printf '#!/usr/local/bin/node --disable-sigusr1\nimport("/app/main.js");\n' >"$root/usr/local/bin/sidelock"
chmod 0755 "$root/usr/local/bin/sidelock"
