#!/bin/sh
# redis.sh PORT: a Redis without files on the loopback until it is ended. The count that the application of axum's keeps has ten digits
# from the beginning, so that answers are of one length.
set -eu
redis-server --port "$1" --bind 127.0.0.1 --save '' --daemonize no >/dev/null &
server=$!
trap 'kill $server' TERM INT
until redis-cli -p "$1" set ringway:lab:count 1000000000 >/dev/null 2>&1; do sleep 0.1; done
wait $server
