//! The shared secret of the tokens: from the environment, or the local stack's own file, which only its owner may read.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::error::ServeError;

pub const VARIABLE: &str = "SERIN_JWT_SECRET";

/// Returns the secret of the environment.
pub fn from_environment() -> Result<Option<Vec<u8>>, ServeError> {
    match std::env::var_os(VARIABLE) {
        None => Ok(None),
        Some(secret) if secret.is_empty() => {
            Err(ServeError::Setting(format!("{VARIABLE} is set and empty; an empty secret lets everybody in")))
        }
        Some(secret) => Ok(Some(std::os::unix::ffi::OsStringExt::into_vec(secret))),
    }
}

/// Where the local stack keeps its own.
pub fn file(home: &Path) -> PathBuf {
    home.join("stack/secret")
}

/// Returns the local stack's secret, made on the first call; a file that others may read is refused.
pub fn of_stack(home: &Path) -> Result<Vec<u8>, ServeError> {
    let path = file(home);
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(ServeError::io(folder))?;
    }
    let bytes: [u8; 32] = rand::random();
    let text = bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match made.and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all())) {
        Ok(()) => Ok(text.into_bytes()),
        // Somebody else made it in the same moment.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(read(&path)?.unwrap_or_default()),
        Err(e) => Err(ServeError::Io { path, source: e }),
    }
}

/// Reads a secret file, if it is there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, ServeError> {
    let secret = match std::fs::read(path) {
        Ok(secret) => secret.trim_ascii().to_vec(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ServeError::Io { path: path.to_owned(), source: e }),
    };
    let mode = std::fs::metadata(path).map_err(ServeError::io(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(ServeError::input(path, "others may read this secret; run chmod 600 on it"));
    }
    if secret.is_empty() {
        return Err(ServeError::input(path, "is empty; remove it, and a new one is made"));
    }
    Ok(Some(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let first = of_stack(home.path()).expect("made");
        assert_eq!(first.len(), 64);
        assert_eq!(of_stack(home.path()).expect("read"), first);
        let path = file(home.path());
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        assert!(of_stack(home.path()).is_err_and(|e| e.to_string().contains("chmod 600")));
    }
}
