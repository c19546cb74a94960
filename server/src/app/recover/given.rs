//! Keys that the operator gives in files.

use std::path::Path;

use onefold_store::keys::RootKey;

use super::StartError;
use crate::secret;

pub(crate) fn read_root_key(path: &Path) -> Result<RootKey, StartError> {
    let fault = |why: &str| StartError::RootKeyFile { path: path.to_owned(), why: why.to_owned() };
    let text = secret::read_file(path).map_err(|error| fault(&error.to_string()))?;
    let text = text.trim();
    if text.len() != 64 || !text.is_ascii() {
        return Err(fault("must hold 64 hexadecimal digits"));
    }
    let mut key = [0; 32];
    for (at, byte) in key.iter_mut().enumerate() {
        *byte =
            u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| fault("must hold 64 hexadecimal digits"))?;
    }
    Ok(RootKey::new(key))
}

pub(super) fn read_admin_key(path: &Path) -> Result<String, StartError> {
    let text = secret::read_file(path).map_err(|source| StartError::AdminKeyFile { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}
