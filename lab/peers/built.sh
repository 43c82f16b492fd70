#!/bin/sh
# built.sh NAME ARGUMENTS: a server that is built from this project's own sources, or from a peer's that lie beside this script:
# echo, hello and axum are examples of services, axum-hyper and tungstenite projects of their own, all others programs in C. What is
# there is not built again.
set -eu
name=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
case $name in
echo | hello | axum)
  file=$target/release/examples/$name
  [ -x "$file" ] || cargo build -q --release --manifest-path "$here/../../Cargo.toml" -p ringway-service --example "$name"
  ;;
axum-hyper)
  file=$target/peers/release/axum-hyper
  [ -x "$file" ] || cargo build -q --release --manifest-path "$here/axum-hyper/Cargo.toml" --target-dir "$target/peers"
  ;;
tungstenite)
  file=$target/peers/release/tungstenite-echo
  [ -x "$file" ] || cargo build -q --release --manifest-path "$here/tungstenite/Cargo.toml" --target-dir "$target/peers"
  ;;
*)
  file=$target/peers/$name
  mkdir -p "$target/peers"
  libraries=
  [ "$name" = echo-uring ] && libraries=-luring
  [ -x "$file" ] || cc -O3 -o "$file" "$here/$name.c" $libraries
  ;;
esac
exec "$file" "$@"
