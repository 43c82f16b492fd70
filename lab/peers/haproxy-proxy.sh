#!/bin/sh
# haproxy-proxy.sh PORT BEHIND: HAProxy as Debian packages it, one thread, no log, passing everything on to the server at port BEHIND of
# the loopback over kept connections until it is ended.
set -eu
port=$1 behind=$2
place=${TMPDIR:-/tmp}/ringway-lab-haproxy-$port
mkdir -p "$place"
cat > "$place/haproxy.cfg" <<END
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 10s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  http-reuse always
  ${HAPROXY_DEFAULTS:-}
frontend web
  bind 127.0.0.1:$port backlog 4096
  default_backend behind
backend behind
  server one 127.0.0.1:$behind pool-max-conn -1
END
exec haproxy -db -f "$place/haproxy.cfg"
