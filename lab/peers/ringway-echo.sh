#!/bin/sh
# ringway-echo.sh PORT UDP_PORT [HANDLER [UDP_HANDLER]]: Ringway from a configuration, one worker, that echoes on a port and datagrams on
# another until it is ended: by its built-in handlers, or by others such as lib:/path/echo.so, or plugin:echo for contrib/plugin/echo.c,
# which is built. RINGWAY names the binary.
set -eu
port=$1 udp=$2 handler=${3:-builtin:echo} datagrams=${4:-builtin:udp-echo}
place=${TMPDIR:-/tmp}/ringway-lab-echo-$port
mkdir -p "$place"
plugin() {
  case $1 in
  plugin:*)
    make -s -C "$(dirname "$0")/../../contrib/plugin" OUT="$place" "$place/${1#plugin:}.so" >&2
    echo "lib:$place/${1#plugin:}.so"
    ;;
  *) echo "$1" ;;
  esac
}
handler=$(plugin "$handler") datagrams=$(plugin "$datagrams")
cat > "$place/ringway.toml" <<END
[server]
workers = 1
${RINGWAY_SERVER:-}
[limits]
idle_timeout = "300s"
connections_per_address = 0
[[endpoint]]
name = "echo"
listen = ["127.0.0.1:$port"]
handler = "$handler"
[[endpoint]]
name = "datagrams"
protocol = "udp"
listen = ["127.0.0.1:$udp"]
handler = "$datagrams"
${RINGWAY_CONFIG:-}
END
exec "${RINGWAY:-target/release/ringway}" run -c "$place/ringway.toml"
