#!/bin/sh
# lighttpd.sh PORT ROOT: lighttpd as Debian packages it, serving ROOT on the loopback until it is ended.
set -eu
port=$1 root=$2
place=${TMPDIR:-/tmp}/ringway-lab-lighttpd-$port
mkdir -p "$place"
cat > "$place/lighttpd.conf" <<END
server.document-root = "$root"
server.port = $port
server.bind = "127.0.0.1"
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 300
server.max-fds = 20000
server.max-connections = 10000
server.listen-backlog = 4096
mimetype.assign = ( ".txt" => "text/plain", "" => "application/octet-stream" )
END
exec lighttpd -D -f "$place/lighttpd.conf"
