//! Compiles the protos without `protoc`: protox reads them, tonic-prost-build writes the code.

use std::path::PathBuf;

use prost_build::{Config, Service, ServiceGenerator};

/// RPCs whose answers a server may keep encoded; see `src/encoded.rs`. To clients they are as all others.
const KEPT: [&str; 3] = ["GetProfile", "LookupProfile", "BatchLookupProfiles"];

/// Clients as they are; servers count what a message brings before they decode it (`src/bounds.rs`), and answer [`KEPT`] RPCs
/// with an `Encoded` message.
struct Generator {
    clients: Box<dyn ServiceGenerator>,
    servers: Box<dyn ServiceGenerator>,
}

impl ServiceGenerator for Generator {
    fn generate(&mut self, mut service: Service, out: &mut String) {
        self.clients.generate(service.clone(), out);
        for method in service.methods.iter_mut().filter(|method| KEPT.contains(&method.proto_name.as_str())) {
            method.output_type = format!("crate::Encoded<crate::v1::{}>", method.output_type);
        }
        self.servers.generate(service, out);
    }
}

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
        "audit",
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
    let services = tonic_prost_build::configure;
    let generator = Generator {
        clients: services().build_server(false).service_generator(),
        servers: services().build_client(false).codec_path("crate::codec::Counted").service_generator(),
    };
    let fds = compiler.file_descriptor_set();
    let mut config = Config::new();
    config.btree_map(["."]).enable_type_names().service_generator(Box::new(generator));
    config.compile_fds(fds)?;
    Ok(())
}
