#!/bin/sh
# nginx-php.sh PORT BEHIND ROOT: nginx as Debian packages it, one worker, no access log, answering .php below ROOT through the FastCGI
# pool at port BEHIND of the loopback over kept connections until it is ended.
set -eu
port=$1 behind=$2 root=$3
place=${TMPDIR:-/tmp}/ringway-lab-nginx-$port
mkdir -p "$place"
cat > "$place/nginx.conf" <<END
worker_processes 1; daemon off; master_process off; pid $place/nginx.pid; error_log $place/error.log crit;
worker_rlimit_nofile 65536;
events { worker_connections 20000; }
http { access_log off; sendfile on; keepalive_timeout 300; keepalive_requests 1000000000;
  client_body_temp_path $place/cb; proxy_temp_path $place/pt; fastcgi_temp_path $place/ft;
  uwsgi_temp_path $place/ut; scgi_temp_path $place/st;
  upstream behind { server 127.0.0.1:$behind; keepalive 40; keepalive_requests 1000000000; keepalive_timeout 300; }
  server { listen 127.0.0.1:$port backlog=4096; root $root;
    location ~ \.php\$ { fastcgi_pass behind; fastcgi_keep_conn on; include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name; } } }
END
exec nginx -p "$place" -e "$place/error.log" -c "$place/nginx.conf"
