#!/bin/sh
# ringway-php.sh PORT BEHIND ROOT: Ringway, one worker, no access log, answering .php below ROOT through the FastCGI pool at port BEHIND of
# the loopback over kept connections until it is ended. RINGWAY names the binary; RINGWAY_UPSTREAM and RINGWAY_SERVER add settings.
set -eu
port=$1 behind=$2 root=$3
place=${TMPDIR:-/tmp}/ringway-lab-ringway-$port
mkdir -p "$place"
cat > "$place/ringway.toml" <<END
[server]
workers = 1
${RINGWAY_SERVER:-}
[limits]
idle_timeout = "300s"
connections_per_address = 0
[log.access]
format = "off"
[[endpoint]]
name = "web"
listen = ["127.0.0.1:$port"]
[[upstream]]
name = "php"
protocol = "fastcgi"
keep_alive = 40
max_connections = 40
${RINGWAY_UPSTREAM:-}
[[upstream.backend]]
address = "127.0.0.1:$behind"
[[site]]
names = ["*"]
root = "$root"
[[site.route]]
path = "/**"
fastcgi = "php"
END
exec "${RINGWAY:-target/release/ringway}" run -c "$place/ringway.toml"
