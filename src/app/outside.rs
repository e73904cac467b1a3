//! What is kept outside the database: the seed of the logs' keys, and each company's last signed
//! checkpoint, which a database that was put back can't take along.

use crate::evidence::keys::{LogName, Seed};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::{Entropy, StoreError};

/// The seed's file.
const SEED: &str = "seed";
/// Longer files are none of ours.
const MAX_FILE: u64 = 64 * 1024;

/// A folder with the seed and the last checkpoints.
#[derive(Clone, Debug)]
pub struct Outside {
    folder: PathBuf,
}

impl Outside {
    /// This folder. It is made when something is written.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The seed, if there is one.
    ///
    /// # Errors
    /// When the file can't be read, is open to others or holds something else.
    pub fn seed(&self) -> Result<Option<Seed>, StoreError> {
        let path = self.folder.join(SEED);
        let Some(text) = read(&path)? else { return Ok(None) };
        let mode = std::fs::metadata(&path).map_err(|error| failed(&path, &error))?;
        if mode.permissions().mode() & 0o077 != 0 {
            return Err(StoreError::Unavailable(format!(
                "{}: others may read the seed of the logs' keys; take that away from them \
                 (chmod 600)",
                path.display()
            )));
        }
        let seed = text
            .parse()
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
        Ok(Some(seed))
    }

    /// The seed, which is made where there is none.
    ///
    /// # Errors
    /// When it can't be read or made.
    pub fn seed_or_new(&self, entropy: &dyn Entropy) -> Result<Seed, StoreError> {
        if let Some(seed) = self.seed()? {
            return Ok(seed);
        }
        let seed = Seed::new(entropy.bits256());
        make_folder(&self.folder)?;
        let path = self.folder.join(SEED);
        let mut text = seed.to_text();
        text.push('\n');
        match write_new(&self.folder, &path, text.as_bytes())? {
            Written::New => Ok(seed),
            // Another process was faster.
            Written::WasThere => self
                .seed()?
                .ok_or_else(|| StoreError::Unavailable(format!("{}: vanished", path.display()))),
        }
    }

    fn checkpoint_file(&self, name: &LogName, company: CompanyId) -> PathBuf {
        let folder = name.as_str().replace('%', "%25").replace('/', "%2F");
        self.folder.join(format!("log {folder}")).join(format!("{company}.checkpoint"))
    }

    /// The last checkpoint that was signed for this log, as signed note.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn checkpoint(
        &self,
        name: &LogName,
        company: CompanyId,
    ) -> Result<Option<String>, StoreError> {
        read(&self.checkpoint_file(name, company))
    }

    /// Keeps a checkpoint in place of the last one; when this answers, it is on disk.
    ///
    /// # Errors
    /// When it can't be written; the last one is there then.
    pub fn keep_checkpoint(
        &self,
        name: &LogName,
        company: CompanyId,
        note: &str,
    ) -> Result<(), StoreError> {
        let path = self.checkpoint_file(name, company);
        let folder = path.parent().unwrap_or(&self.folder);
        make_folder(folder)?;
        let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(note.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| failed(&path, &error))
    }
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed(folder, &error))
}

/// Whether a file was made.
enum Written {
    New,
    WasThere,
}

/// Makes a file that only its owner can read, whole or not at all.
fn write_new(folder: &Path, path: &Path, content: &[u8]) -> Result<Written, StoreError> {
    let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
    let write = || -> std::io::Result<Written> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        // Unlike a renaming, a link never replaces what is there.
        let linked = match std::fs::hard_link(&unfinished, path) {
            Ok(()) => Written::New,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Written::WasThere,
            Err(error) => return Err(error),
        };
        std::fs::remove_file(&unfinished)?;
        File::open(folder)?.sync_all()?;
        Ok(linked)
    };
    write().map_err(|error| failed(path, &error))
}

fn read(path: &Path) -> Result<Option<String>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| failed(path, &error))?;
    Ok(Some(text))
}

fn failed(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_event_store::SystemEntropy;

    #[test]
    fn the_seed_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let outside = Outside::new(folder.path().join("a/b"));
        assert!(outside.seed().unwrap().is_none());
        let seed = outside.seed_or_new(&SystemEntropy).unwrap();
        let again = outside.seed_or_new(&SystemEntropy).unwrap();
        assert_eq!(seed.to_text(), again.to_text());
        let path = outside.folder().join(SEED);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(outside.seed().unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_checkpoint_replaces_the_last_one_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let outside = Outside::new(folder.path().to_owned());
        let (a, b): (LogName, LogName) = ("x/y".parse().unwrap(), "x%2Fy".parse().unwrap());
        let company = CompanyId::PLATFORM;
        assert_eq!(outside.checkpoint(&a, company).unwrap(), None);
        outside.keep_checkpoint(&a, company, "one").unwrap();
        outside.keep_checkpoint(&a, company, "two").unwrap();
        outside.keep_checkpoint(&b, company, "other").unwrap();
        assert_eq!(outside.checkpoint(&a, company).unwrap().as_deref(), Some("two"));
        assert_eq!(outside.checkpoint(&b, company).unwrap().as_deref(), Some("other"));
    }
}
