#!/usr/bin/env bash
# Builds both images from dist/image: with docker where its daemon answers, else with buildah. BUILDER=buildah says so.
set -euo pipefail
cd "$(dirname "$0")/.."
builder=${BUILDER:-$(docker info >/dev/null 2>&1 && echo docker || echo buildah)}
case $builder in
  docker) build=(docker build -q) ;;
  buildah) build=(buildah build -q --isolation chroot) ;;
  *) echo "BUILDER=$builder is neither docker nor buildah" >&2; exit 2 ;;
esac
for target in manager sidecar; do
  "${build[@]}" -f docker/Dockerfile --target "$target" -t "localhost/sidelock-$target" dist/image >/dev/null
  echo "localhost/sidelock-$target"
done
