//! Writes the inputs that fuzzing begins with and that are made rather than kept, a folder for each target: libFuzzer reads files.

use std::path::Path;
use std::{env, fs, io};

use onefold_tests::targets::{TARGETS, seeds};

fn main() -> io::Result<()> {
    let Some(into) = env::args_os().nth(1) else {
        eprintln!("usage: onefold-fuzz-seeds DIR");
        std::process::exit(2);
    };
    for target in TARGETS {
        let folder = Path::new(&into).join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds(target.name).into_iter().enumerate() {
            fs::write(folder.join(format!("made-{number}")), seed)?;
        }
    }
    Ok(())
}
