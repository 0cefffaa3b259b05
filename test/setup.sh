#!/usr/bin/env bash
# Installs the real programs that the tests and the bench use, from Debian's packages. Run it as often as you like:
# what is there is left alone. Without them the tests that need them are skipped, each with a line that names this file.
#
# PostgreSQL's server programs are not on the PATH on Debian: tests look in /usr/lib/postgresql/*/bin themselves.
# haproxy and nginx live in /usr/sbin, where tests look too. Nothing installed here is left running.
set -euo pipefail

# program=package, or a file of the package where it brings no program of its own
wanted=(
  curl=curl
  openssl=openssl
  nghttp=nghttp2-client
  h2load=nghttp2-client
  psql=postgresql-client
  '/usr/lib/postgresql/*/bin/postgres=postgresql'
  redis-server=redis-server
  redis-cli=redis-tools
  mariadbd=mariadb-server
  mariadb=mariadb-client
  # Alerts and rules are given to the real ones.
  prometheus-alertmanager=prometheus-alertmanager
  promtool=prometheus
  # The bench's peers and its load.
  haproxy=haproxy
  nginx=nginx-light
  '/usr/lib/nginx/modules/ngx_stream_module.so=libnginx-mod-stream'
  wrk=wrk
  # The node of the test cluster (npm run test:cluster); the rest of it is built from source.
  runc=runc
  /usr/lib/cni/bridge=containernetworking-plugins
  iptables=iptables
  ip=iproute2
  conntrack=conntrack
  ethtool=ethtool
  busybox=busybox-static
  # The dashboard is looked at in a real browser.
  chromium=chromium
  # The images and the compose file.
  buildah=buildah
  podman=podman
  mmdebstrap=mmdebstrap
  '/usr/lib/podman/netavark=netavark'
  '/usr/lib/podman/aardvark-dns=aardvark-dns'
)

PATH=$PATH:/usr/sbin:/sbin
missing=()
for entry in "${wanted[@]}"; do
  have=${entry%=*}
  if [[ $have == /* ]]; then compgen -G "$have" >/dev/null && continue; else command -v "$have" >/dev/null && continue; fi
  missing+=("${entry##*=}")
done

# pip_install PROGRAM PACKAGE==VERSION
pip_install() {
  command -v "$1" >/dev/null && return
  command -v pip3 >/dev/null || { echo "setup: no pip3 here. Install by hand: $2" >&2; exit 1; }
  echo "setup: installing $2"
  pip3 install -q --root-user-action=ignore "$2" 2>/dev/null || pip3 install -q --break-system-packages "$2"
}
pip_install podman-compose podman-compose==1.6.0
pip_install lint_pkix_cert pkilint==0.13.3

# zlint is built by Go, where that is; tests look into this cache too.
bin=$HOME/.cache/sidelock/bin
if command -v go >/dev/null && ! command -v zlint >/dev/null && [[ ! -x $bin/zlint ]]; then
  echo "setup: building zlint"
  GOBIN=$bin go install github.com/zmap/zlint/v3/cmd/zlint@v3.7.3
fi
if ((${#missing[@]} == 0)); then
  echo "setup: everything is there"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here. Install by hand: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "setup: run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi

# Debian starts a service as it installs it. This keeps it from doing so for the time of the installation.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 0755 "$policy"
fi

echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
echo "setup: done"
