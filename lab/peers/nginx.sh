#!/bin/sh
# nginx.sh PORT ROOT: nginx as Debian packages it, one worker, no access log, serving ROOT on the loopback until it is ended.
set -eu
port=$1 root=$2
place=${TMPDIR:-/tmp}/ringway-lab-nginx-$port
mkdir -p "$place"
cat > "$place/nginx.conf" <<END
worker_processes 1; daemon off; master_process off; pid $place/nginx.pid; error_log $place/error.log crit;
worker_rlimit_nofile 65536;
events { worker_connections 20000; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_timeout 300; keepalive_requests 1000000000;
  ${NGINX_HTTP:-}
  default_type application/octet-stream; types { text/plain txt; }
  client_body_temp_path $place/cb; proxy_temp_path $place/pt; fastcgi_temp_path $place/ft;
  uwsgi_temp_path $place/ut; scgi_temp_path $place/st;
  server { listen 127.0.0.1:$port backlog=4096; root $root; } }
END
exec nginx -p "$place" -e "$place/error.log" -c "$place/nginx.conf"
