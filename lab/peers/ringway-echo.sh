#!/bin/sh
# ringway-echo.sh PORT UDP_PORT [HANDLER [UDP_HANDLER]]: Ringway from a configuration, one worker, that echoes on a port and datagrams on
# another until it is ended: by its built-in handlers, or by others such as lib:/path/echo.so. RINGWAY names the binary.
set -eu
port=$1 udp=$2 handler=${3:-builtin:echo} datagrams=${4:-builtin:udp-echo}
place=${TMPDIR:-/tmp}/ringway-lab-echo-$port
mkdir -p "$place"
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
