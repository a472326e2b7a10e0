//! `include/sealpoint.h` is what cbindgen makes of `native/ffi/c.rs`; `make header` writes it.

use std::fs;

#[test]
fn the_committed_header_is_the_generated_one() {
    let mut config = cbindgen::Config::from_file("cbindgen.toml").unwrap();
    config.after_includes = Some(codes());
    let bindings = cbindgen::Builder::new().with_src("native/ffi/c.rs").with_config(config).generate().unwrap();
    let mut generated = Vec::new();
    bindings.write(&mut generated);
    let generated = String::from_utf8(generated).unwrap().replace(" # Safety\n", " The caller sees to it that:\n");
    if std::env::var_os("WRITE_HEADER").is_some() {
        fs::write("include/sealpoint.h", &generated).unwrap();
    }
    let committed = fs::read_to_string("include/sealpoint.h").unwrap_or_default();
    assert!(committed == generated, "include/sealpoint.h is not up to date: run `make header` and commit it");
}

/// The codes of `native/error.rs` as macros.
fn codes() -> String {
    let mut text = String::from("\n/* What a call that failed returns. A number never changes its meaning. */\n");
    for kind in sealpoint::error::Kind::ALL {
        let mut name = String::new();
        for letter in format!("{kind:?}").chars() {
            if letter.is_uppercase() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        text.push_str(&format!("#define SEALPOINT_E{name} {}\n", kind.code().0));
    }
    text
}
