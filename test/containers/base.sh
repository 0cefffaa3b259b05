#!/usr/bin/env bash
# The images build on docker.io/library/debian:bookworm-slim. Where no registry of images is in reach, this makes a base
# of that name from Debian's packages, for the tests alone. An image of that name that is there already is used.
set -euo pipefail
name=docker.io/library/debian:bookworm-slim
podman image exists "$name" && exit 0
timeout 60 podman pull -q "$name" >/dev/null 2>&1 && exit 0
archive=$(mktemp --suffix=.tar)
trap 'rm -f "$archive"' EXIT
echo "base: making $name with mmdebstrap, about a minute" >&2
mmdebstrap --quiet --variant=minbase --include=ca-certificates,libatomic1 bookworm "$archive"
podman import -q "$archive" "$name" >/dev/null
