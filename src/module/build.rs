//! How the module is linked.

fn main() {
    // Never unloaded: the panic hook and the thread-local data of the standard library outlive a dlclose(3).
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // No symbol may stay undefined: a program that loads libpam with RTLD_LOCAL could not resolve it, and denies.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
    println!("cargo:rerun-if-changed=build.rs");
}
