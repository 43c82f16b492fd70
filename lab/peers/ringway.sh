#!/bin/sh
# ringway.sh PORT SECURE_PORT ROOT: Ringway from a configuration, one worker, no access log, serving ROOT on the loopback without and
# with TLS (a P-256 certificate of the moment, HTTP/2) until it is ended. RINGWAY names the binary.
set -eu
port=$1 secure=$2 root=$3
place=${TMPDIR:-/tmp}/ringway-lab-ringway-$port
mkdir -p "$place"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$place/key.pem" -out "$place/cert.pem" 2>/dev/null
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
name = "plain"
listen = ["127.0.0.1:$port"]
[[endpoint]]
name = "secure"
listen = ["127.0.0.1:$secure"]
tls = true
[[certificate]]
cert = "$place/cert.pem"
key = "$place/key.pem"
${RINGWAY_CONFIG:-}
[[site]]
names = ["*"]
root = "$root"
END
exec "${RINGWAY:-target/release/ringway}" run -c "$place/ringway.toml"
