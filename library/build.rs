//! What the shared library calls itself, for the programs that are linked with it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libringway.so");
}
