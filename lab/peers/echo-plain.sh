#!/bin/sh
# echo-plain.sh PORT UDP_PORT: the plain echo servers in C of this folder, built here if need be, each a process of its own.
set -eu
folder=$(dirname "$0") place=${TMPDIR:-/tmp}/ringway-lab-plain
mkdir -p "$place"
[ "$place/echo-uring" -nt "$folder/echo-uring.c" ] || cc -O2 -o "$place/echo-uring" "$folder/echo-uring.c" -luring
[ "$place/udp-echo" -nt "$folder/udp-echo.c" ] || cc -O2 -o "$place/udp-echo" "$folder/udp-echo.c"
"$place/udp-echo" "$2" &
exec "$place/echo-uring" "$1"
