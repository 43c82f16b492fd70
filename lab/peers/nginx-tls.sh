#!/bin/sh
# nginx-tls.sh PORT SECURE_PORT ROOT: nginx as Debian packages it, one worker, no access log, serving ROOT on the loopback without
# and with TLS 1.3 (AES-128-GCM, a P-256 certificate of the moment, HTTP/2) until it is ended.
set -eu
port=$1 secure=$2 root=$3
place=${TMPDIR:-/tmp}/ringway-lab-nginx-$port
mkdir -p "$place"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$place/key.pem" -out "$place/cert.pem" 2>/dev/null
cat > "$place/nginx.conf" <<END
worker_processes 1; daemon off; master_process off; pid $place/nginx.pid; error_log $place/error.log crit;
worker_rlimit_nofile 65536;
events { worker_connections 20000; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_timeout 300; keepalive_requests 1000000000;
  http2_max_concurrent_streams 128;
  ssl_certificate $place/cert.pem; ssl_certificate_key $place/key.pem; ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  default_type application/octet-stream; types { text/plain txt; }
  client_body_temp_path $place/cb; proxy_temp_path $place/pt; fastcgi_temp_path $place/ft;
  uwsgi_temp_path $place/ut; scgi_temp_path $place/st;
  server { listen 127.0.0.1:$port backlog=4096; listen 127.0.0.1:$secure ssl http2 backlog=4096; root $root; } }
END
exec nginx -p "$place" -e "$place/error.log" -c "$place/nginx.conf"
