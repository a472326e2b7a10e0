//! Link options of the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsealpoint.so");
        // A JVM unloads a library when its class loader is collected; ours may still have its thread running.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");
        // A dependency of the store for S3 has C functions of its own, which rustc exports with ours. LLD and zig, one of which
        // Rust links with on this architecture, take another version script besides rustc's. LLD wants what it names to be there.
        let has_others = std::env::var_os("CARGO_FEATURE_S3").is_some();
        if has_others && std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
            let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
            println!("cargo:rerun-if-changed=tools/exported-symbols.map");
            println!("cargo:rustc-cdylib-link-arg=-Wl,--version-script={root}/tools/exported-symbols.map");
        }
    }
}
