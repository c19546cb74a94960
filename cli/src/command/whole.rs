//! Files that are written whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::Failure;

/// Writes a file beside its place and puts it there when all of it is written, so that what stood there before is not lost
/// to a full disk or an end in the middle.
///
/// # Errors
/// When it cannot be written; what stood there stands.
pub fn write_whole(out: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if out.exists() && !out.is_file() {
        // A pipe or a device.
        let mut file = BufWriter::new(File::create(out)?);
        write(&mut file)?;
        return file.flush();
    }
    // What a link leads to is replaced, not the link.
    let out = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    let mut file = BufWriter::new(draft.as_file_mut());
    write(&mut file)?;
    file.flush()?;
    drop(file);
    // As any file that the user makes, not as a secret one.
    let like = File::options().create(true).append(true).open(&out)?.metadata()?.permissions();
    draft.as_file().set_permissions(like)?;
    draft.persist(&out).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a text whole, or says which file cannot be written and why.
///
/// # Errors
/// [`Failure`] when it cannot be written.
pub fn write_text(file: &Path, text: &str) -> Result<(), Failure> {
    write_whole(file, |to| to.write_all(text.as_bytes()))
        .map_err(|error| Failure::new(format!("{}: cannot be written: {error}", file.display())))
}
