//! Writes a file so that a reader sees the old one or the whole new one, also after a kill or on a full disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file under its temporary name; dropped without `commit`, it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl Draft {
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("file");
        let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
        Ok(Self { file: File::create(&temporary)?, temporary, path: path.to_owned(), committed: false })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the file, gives it its name, and syncs the folder that holds the name.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.committed = true;
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = Draft::create(path)?;
    draft.file().write_all(bytes)?;
    draft.commit()
}
