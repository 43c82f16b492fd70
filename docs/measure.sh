#!/usr/bin/env bash
# Server CPU per request of Ringway (both drivers), nginx and lighttpd in turn, by the cases of the README's table.
#   cargo build --release && docs/measure.sh [ROUNDS] > figures.tsv
# Needs Linux with two cores to itself, and wrk, nginx, lighttpd (Debian: apt-get install wrk nginx-light lighttpd).
# Each server has one worker, pinned to core 0; the load is pinned to core 1. One line per run, tab-separated:
# case, server, microseconds of server CPU (user and system) per request, requests per second, resident KiB at the end.
set -eu
rounds=${1:-7} seconds=${SECONDS_PER_RUN:-4}
ringway=$(readlink -f "${RINGWAY:-"$(dirname "$0")/../target/release/ringway"}")
hz=$(getconf CLK_TCK)
scratch=$(mktemp -d) server=""
cleanup() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$scratch"; }
trap cleanup EXIT
cd "$scratch"
mkdir www temp
head -c 100 /dev/zero | tr '\0' x > www/f100.txt
head -c 204800 /dev/urandom > www/f200k.bin
head -c 1048576 /dev/urandom > www/f1m.bin
chmod -R a+rX "$scratch"
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

cat > nginx.conf <<END
worker_processes 1; daemon off; master_process off; pid nginx.pid; error_log error.log; worker_rlimit_nofile 65536;
events { worker_connections 20000; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; types { text/plain txt; }
  open_file_cache max=1000; client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp;
  uwsgi_temp_path temp; scgi_temp_path temp;
  server { listen 127.0.0.1:18081; root www; } }
END
sed -e '/open_file_cache/s/open_file_cache max=1000; //' -e 's/18081/18082/' nginx.conf > nginx-plain.conf
cat > lighttpd.conf <<END
server.document-root = "$scratch/www"
server.port = 18083
server.bind = "127.0.0.1"
server.max-keep-alive-requests = 1000000000
server.max-fds = 20000
server.max-connections = 10000
mimetype.assign = ( ".txt" => "text/plain" )
END
cat > pipeline.lua <<'END'
init = function() local r = {} for i = 1, 16 do r[i] = wrk.format() end batch = table.concat(r) end
request = function() return batch end
END
echo 'wrk.headers["Connection"] = "close"' > close.lua

# start NAME: sets $server and $port
start() {
  case $1 in
    ringway-*) port=18080
      taskset -c 0 "$ringway" serve www --listen 127.0.0.1:$port --workers 1 --log off --driver "${1#ringway-}" 2>/dev/null & ;;
    nginx-ofc) port=18081; taskset -c 0 nginx -p "$scratch" -c "$scratch/nginx.conf" 2>/dev/null & ;;
    nginx) port=18082; taskset -c 0 nginx -p "$scratch" -c "$scratch/nginx-plain.conf" 2>/dev/null & ;;
    lighttpd) port=18083; taskset -c 0 lighttpd -D -f lighttpd.conf 2>/dev/null & ;;
  esac
  server=$!
  for _ in $(seq 100); do
    (exec 3<> /dev/tcp/127.0.0.1/$port) 2>/dev/null && return
    sleep 0.05
  done
  echo "$1 does not answer" >&2
  exit 1
}

ticks() { sed 's/.*) //' "/proc/$server/stat" | awk '{ print $12 + $13 }'; }

# run CASE SERVER FILE CONNECTIONS [SCRIPT]
run() {
  start "$2"
  local load=(taskset -c 1 wrk -t1 -c"$4" ${5:+-s "$5"})
  "${load[@]}" -d1s "http://127.0.0.1:$port/$3" > /dev/null
  local before after
  before=$(ticks)
  "${load[@]}" -d"${seconds}s" "http://127.0.0.1:$port/$3" > wrk.out
  after=$(ticks)
  awk -v case="$1" -v name="$2" -v ticks=$((after - before)) -v hz="$hz" \
    -v rss="$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")" '
    / requests in / { n = $1 } /^Requests\/sec/ { rate = $2 }
    END { printf "%s\t%s\t%.2f\t%.0f\t%d\n", case, name, n ? ticks / hz * 1e6 / n : 0, rate, rss }' wrk.out
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=""
}

for _ in $(seq "$rounds"); do
  for name in ringway-uring ringway-epoll nginx-ofc nginx lighttpd; do
    run "100 B, 64 connections" $name f100.txt 64
    run "100 B, pipeline of 16" $name f100.txt 64 pipeline.lua
    run "100 B, connection per request" $name f100.txt 64 close.lua
    run "200 KB, 100 connections" $name f200k.bin 100
    run "200 KB, 1000 connections" $name f200k.bin 1000
    run "1 MB, 10 connections" $name f1m.bin 10
  done
done
