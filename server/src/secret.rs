//! Secrets that lie in files or come from callers: read only where nobody else can read them, compared in constant time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Bytes that a file with a secret may have: longer ones are none.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Why a file that holds a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Every user of the machine may read or change it.
    #[error(
        "can be read or changed by everybody (mode {0:03o}): make it its owner's, e.g. `chmod 600`, or `defaultMode: 0400` of a mounted secret"
    )]
    Exposed(u32),
}

/// The text of a file that holds a secret.
///
/// # Errors
/// [`SecretFileError`]; one that others than its owner and group may read is refused.
pub fn read_file(path: &Path) -> Result<String, SecretFileError> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o006 != 0 {
        return Err(SecretFileError::Exposed(mode));
    }
    let mut text = String::new();
    file.by_ref().take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether two texts are the same. Digests of both are compared, so that the time it takes says nothing of where they differ.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_everybody_may_read_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "text").unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o440, true), (0o644, false), (0o602, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match read_file(&path) {
                Ok(text) => assert!(fine && text == "text", "{mode:o}"),
                Err(error) => assert!(!fine && error.to_string().contains("chmod 600"), "{mode:o}: {error}"),
            }
        }
        assert!(matches!(read_file(&dir.path().join("none")), Err(SecretFileError::Read(_))));
    }
}
