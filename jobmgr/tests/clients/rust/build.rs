//! Makes a client of each document that the environment names.

use std::path::Path;
use std::{env, fs};

use progenitor::{GenerationSettings, Generator, InterfaceStyle};

fn main() {
    for (variable, file) in [("COMMITTED_DOCUMENT", "committed.rs"), ("SERVED_DOCUMENT", "served.rs")] {
        println!("cargo:rerun-if-env-changed={variable}");
        let document = env::var(variable).unwrap();
        println!("cargo:rerun-if-changed={document}");
        let document = serde_json::from_str(&fs::read_to_string(document).unwrap()).unwrap();
        let mut settings = GenerationSettings::default();
        settings.with_interface(InterfaceStyle::Builder);
        let client = Generator::new(&settings).generate_tokens(&document).unwrap();
        let client = prettyplease::unparse(&syn::parse2(client).unwrap());
        fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join(file), client).unwrap();
    }
}
