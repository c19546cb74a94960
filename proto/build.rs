//! Compiles the protos without `protoc`: protox reads them, tonic-prost-build writes the code.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = [
        "statement",
        "fragment",
        "ingest",
        "profile",
        "consent",
        "account",
        "model",
        "review",
        "privacy",
        "backup",
        "admin",
    ]
    .map(|name| format!("onefold/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(&protos)?;
    // The encoded set keeps extension options, which the typed one drops; reflection serves the encoded one.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("onefold_descriptor.bin"), compiler.encode_file_descriptor_set())?;
    // Ordered maps, so that one message always has the same bytes: request ids compare digests of them.
    tonic_prost_build::configure().btree_map(".").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
