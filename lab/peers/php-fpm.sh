#!/bin/sh
# php-fpm.sh PORT: PHP's process manager as Debian packages it, a pool of as many processes as there are connections (40 unless POOL
# says another number), answering FastCGI on the loopback until it is ended.
set -eu
port=$1
place=${TMPDIR:-/tmp}/ringway-lab-php-$port
mkdir -p "$place"
fpm=$(command -v php-fpm8.2 || command -v php-fpm)
cat > "$place/php-fpm.conf" <<END
[global]
daemonize = no
pid = $place/php-fpm.pid
error_log = $place/error.log
log_level = warning
[www]
user = $(id -un)
group = $(id -gn)
listen = 127.0.0.1:$port
listen.backlog = 4096
pm = static
pm.max_children = ${POOL:-40}
pm.max_requests = 0
END
# As root it must be told that its processes may be, too.
[ "$(id -u)" = 0 ] && set -- -R || set --
exec "$fpm" "$@" --nodaemonize --fpm-config "$place/php-fpm.conf" -d opcache.enable=1
