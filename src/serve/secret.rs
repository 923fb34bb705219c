//! The local stack's own secret: made once, in a file that only its owner can read.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::ServeError;

/// Returns where the secret lies below `SERIN_HOME`.
pub fn path(home: &Path) -> PathBuf {
    home.join("secret")
}

/// Returns the secret, made on the first call; a file that others can read is refused.
pub fn ensure(home: &Path) -> Result<String, ServeError> {
    let path = path(home);
    fs::create_dir_all(home).map_err(ServeError::io(home))?;
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let secret = random().map_err(ServeError::io("/dev/urandom"))?;
            file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(ServeError::io(&path))?;
            Ok(secret)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read(&path),
        Err(e) => Err(ServeError::io(&path)(e)),
    }
}

fn read(path: &Path) -> Result<String, ServeError> {
    let mode = fs::metadata(path).map_err(ServeError::io(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(ServeError::input(path, format!("others can read it; run chmod 600 {}", path.display())));
    }
    let secret = fs::read_to_string(path).map_err(ServeError::io(path))?.trim().to_owned();
    if secret.len() < 32 {
        return Err(ServeError::input(path, "holds less than 32 characters; delete it and a new one is made"));
    }
    Ok(secret)
}

/// Returns 64 random hexadecimal digits.
pub fn random() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_only_its_owner_reads_it() {
        let home = tempfile::tempdir().expect("a folder");
        let first = ensure(home.path()).expect("made");
        assert_eq!(ensure(home.path()).expect("read"), first);
        let mode = fs::metadata(path(home.path())).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(path(home.path()), fs::Permissions::from_mode(0o644)).expect("opened up");
        assert!(ensure(home.path()).is_err());
    }
}
