//! What is kept outside the database: the seed of the logs' keys, and each company's last signed
//! checkpoint, which a database that was put back can't take along.

use crate::evidence::keys::{LogName, Seed};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempPath;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::Entropy;

/// The seed's file.
const SEED: &str = "seed";
/// What the names of checkpoints' files end with.
const CHECKPOINT: &str = "checkpoint";
/// Longer files are none of ours.
const MAX_FILE: u64 = 64 * 1024;
/// A file that nobody has finished for so long is one that nobody will.
const LEFT: Duration = Duration::from_secs(3600);

/// What is kept in the folder can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the evidence folder can't be used: {0}")]
pub struct OutsideError(String);

impl OutsideError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

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
    pub fn seed(&self) -> Result<Option<Seed>, OutsideError> {
        let path = self.folder.join(SEED);
        let Some(text) = read(&path)? else { return Ok(None) };
        let mode = std::fs::metadata(&path).map_err(|error| failed(&path, &error))?;
        if mode.permissions().mode() & 0o077 != 0 {
            return Err(OutsideError::new(format!(
                "{}: others may read the seed of the logs' keys; take that away from them \
                 (chmod 600)",
                path.display()
            )));
        }
        let seed = text
            .parse()
            .map_err(|error| OutsideError::new(format!("{}: {error}", path.display())))?;
        Ok(Some(seed))
    }

    /// The seed, which is made where there is none.
    ///
    /// # Errors
    /// When it can't be read or made.
    pub fn seed_or_new(&self, entropy: &dyn Entropy) -> Result<Seed, OutsideError> {
        if let Some(seed) = self.seed()? {
            return Ok(seed);
        }
        let seed = Seed::new(entropy.bits256());
        let path = self.folder.join(SEED);
        let mut text = seed.to_text();
        text.push('\n');
        write_new(&self.folder, &path, text.as_bytes()).map_err(|error| failed(&path, &error))?;
        // The file's, not one's own: another process may have been faster, and what counts is what
        // all of them will read.
        self.seed()?.ok_or_else(|| OutsideError::new(format!("{}: vanished", path.display())))
    }

    fn checkpoints_folder(&self, name: &LogName) -> PathBuf {
        let folder = name.as_str().replace('%', "%25").replace('/', "%2F");
        self.folder.join(format!("log {folder}"))
    }

    fn checkpoint_file(&self, name: &LogName, company: CompanyId) -> PathBuf {
        self.checkpoints_folder(name).join(format!("{company}.{CHECKPOINT}"))
    }

    /// The companies whose logs of this name have been signed, in the order of their identifiers.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn companies(&self, name: &LogName) -> Result<Vec<CompanyId>, OutsideError> {
        let folder = self.checkpoints_folder(name);
        let files = match std::fs::read_dir(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&folder, &error)),
        };
        let mut companies = Vec::new();
        for file in files {
            let path = PathBuf::from(file.map_err(|error| failed(&folder, &error))?.file_name());
            if path.extension().is_some_and(|extension| extension == CHECKPOINT) {
                let name = path.file_stem().and_then(|name| name.to_str());
                companies.extend(name.and_then(|name| name.parse::<CompanyId>().ok()));
            }
        }
        companies.sort_unstable();
        Ok(companies)
    }

    /// The last checkpoint that was signed for this log, as signed note.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn checkpoint(
        &self,
        name: &LogName,
        company: CompanyId,
    ) -> Result<Option<String>, OutsideError> {
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
    ) -> Result<(), OutsideError> {
        let path = self.checkpoint_file(name, company);
        let folder = path.parent().unwrap_or(&self.folder);
        let write = || {
            make_folder(folder)?;
            write_unfinished(&path, note.as_bytes())?.persist(&path)?;
            sync_folder(folder)
        };
        write().map_err(|error| failed(&path, &error))
    }
}

/// Makes a folder, and those above it, that only their owner can enter. When this answers, those
/// that were made are on disk.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => folder,
    };
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if !folder.is_dir() => return Err(error),
        // Another process may have been faster, and not have come to the next step.
        Ok(()) | Err(_) => {}
    }
    sync_folder(above)
}

/// When this answers, which files and folders are in the folder is on disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a file that only its owner can read, whole or not at all, unless it is there.
fn write_new(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    make_folder(folder)?;
    match write_unfinished(path, content)?.persist_noclobber(path) {
        Err(failed) if failed.error.kind() != ErrorKind::AlreadyExists => Err(failed.error),
        Ok(()) | Err(_) => sync_folder(folder),
    }
}

/// Writes what is to become the file at this path to a file beside it, which nobody else writes:
/// processes that share the folder may be on different machines, with the same identifiers. It is
/// removed where it doesn't become that file: else each attempt on a full disk would leave one more.
fn write_unfinished(path: &Path, content: &[u8]) -> io::Result<TempPath> {
    let place = |number: u32| path.with_extension(format!("{number}.unfinished"));
    let mut number = 0;
    let mut file = loop {
        match OpenOptions::new().create_new(true).write(true).mode(0o600).open(place(number)) {
            Ok(file) => break file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    let unfinished = TempPath::try_from_path(place(number))?;
    file.write_all(content)?;
    file.sync_all()?;
    let written = file.metadata()?.modified()?;
    for before in (0..number).map(place) {
        let modified = std::fs::metadata(&before).and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| modified + LEFT < written) {
            // Another process may have been faster.
            let _ = std::fs::remove_file(before);
        }
    }
    Ok(unfinished)
}

fn read(path: &Path) -> Result<Option<String>, OutsideError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| failed(path, &error))?;
    Ok(Some(text))
}

fn failed(path: &Path, error: &std::io::Error) -> OutsideError {
    OutsideError::new(format!("{}: {error}", path.display()))
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
        assert_eq!(outside.companies(&a).unwrap(), []);
        outside.keep_checkpoint(&a, company, "one").unwrap();
        outside.keep_checkpoint(&a, company, "two").unwrap();
        outside.keep_checkpoint(&b, company, "other").unwrap();
        assert_eq!(outside.companies(&a).unwrap(), [company]);
        assert_eq!(outside.checkpoint(&a, company).unwrap().as_deref(), Some("two"));
        assert_eq!(outside.checkpoint(&b, company).unwrap().as_deref(), Some("other"));
    }

    #[test]
    fn what_can_not_be_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let outside = Outside::new(folder.path().to_owned());
        let (name, company) = (LogName::default(), CompanyId::PLATFORM);
        let path = outside.checkpoint_file(&name, company);
        // No file takes the place of a folder.
        std::fs::create_dir_all(path.join("in the way")).unwrap();
        outside.keep_checkpoint(&name, company, "note").unwrap_err();
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn processes_that_write_at_once_keep_out_of_each_others_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (one, other) =
            (write_unfinished(&path, b"one").unwrap(), write_unfinished(&path, b"other").unwrap());
        assert_eq!(std::fs::read(one).unwrap(), b"one");
        assert_eq!(std::fs::read(other).unwrap(), b"other");
    }

    #[test]
    fn the_seed_is_the_same_for_all_who_start_at_once() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let outside = Outside::new(folder.path().join("a"));
            let seeds: Vec<String> = std::thread::scope(|scope| {
                let start = || outside.seed_or_new(&SystemEntropy).unwrap().to_text().to_string();
                let starting: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
                starting.into_iter().map(|starting| starting.join().unwrap()).collect()
            });
            let kept = outside.seed().unwrap().unwrap().to_text().to_string();
            assert!(seeds.iter().all(|seed| *seed == kept));
            assert_eq!(std::fs::read_dir(outside.folder()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_nobody_will_finish_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let outside = Outside::new(folder.path().to_owned());
        let name = LogName::default();
        let keep = || outside.keep_checkpoint(&name, CompanyId::PLATFORM, "note").unwrap();
        keep();
        let path = outside.checkpoint_file(&name, CompanyId::PLATFORM);
        let left: Vec<File> = (0..2)
            .map(|number| File::create(path.with_extension(format!("{number}.unfinished"))))
            .collect::<Result<_, _>>()
            .unwrap();
        let written = left[0].metadata().unwrap().modified().unwrap();
        left[0].set_modified(written - LEFT - Duration::from_secs(60)).unwrap();
        keep();
        let files = std::fs::read_dir(path.parent().unwrap()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        names.sort();
        assert_eq!(names, [path.with_extension("1.unfinished"), path]);
    }
}
