//! Where a command's output goes: to stdout, or into a file.

use super::Failure;
use crate::config::Settings;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How the names of the files end that belong to an SQLite ledger.
const ENDS: [&str; 5] = ["", "-wal", "-shm", "-journal", ".lock"];
/// Names of what the process has open already. Whoever opened it may go on writing there.
const OPEN_ALREADY: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];
/// What stdout is called.
const STDOUT: &str = "the output";
/// The permissions of a new file, as far as the umask lets them.
const NEW_FILE: u32 = 0o666;

/// What takes the output.
pub(super) struct Output {
    /// What it is called.
    name: String,
    sink: Sink,
}

enum Sink {
    /// As it comes: stdout, a device, a pipe.
    Stream(Box<dyn Write + Send>),
    /// Into a file beside the one that is named, which takes its place once it is complete.
    File {
        /// What there is so far. It goes away where it does not become complete.
        unfinished: BufWriter<NamedTempFile>,
        /// Where it belongs.
        place: PathBuf,
    },
}

impl Output {
    /// Into the file, or to stdout where none is named.
    ///
    /// # Errors
    /// When the file is the ledger's own, or can't be written.
    pub(super) fn to(path: Option<&Path>, settings: &Settings) -> Result<Self, Failure> {
        let Some(path) = path else {
            let sink = Sink::Stream(Box::new(io::stdout()));
            return Ok(Self { name: STDOUT.to_owned(), sink });
        };
        if is_ledgers_own(path, settings) {
            return Err(Failure::Usage(format!(
                "{} is the ledger's own; name another file with --output",
                path.display()
            )));
        }
        let name = path.display().to_string();
        let sink = Sink::open(path).map_err(|error| unwritten_to(&name, &error))?;
        Ok(Self { name, sink })
    }

    /// All has been written.
    ///
    /// # Errors
    /// When it can't be kept.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self { name, sink } = self;
        Ok(sink.finish().map_err(|error| unwritten_to(&name, &error))?)
    }
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        let before = match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            before => Some(before?),
        };
        match before {
            Some(before) if before.is_dir() => {
                Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"))
            }
            Some(before) if !before.is_file() || is_open_already(path) => {
                let stream = File::options().append(true).open(path)?;
                Ok(Self::Stream(Box::new(BufWriter::new(stream))))
            }
            before => {
                let place = whole(path)?;
                let unfinished = BufWriter::new(beside(&place, before.as_ref())?);
                Ok(Self::File { unfinished, place })
            }
        }
    }

    fn stream(&mut self) -> &mut dyn Write {
        match self {
            Self::Stream(stream) => stream,
            Self::File { unfinished, .. } => unfinished,
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Stream(mut stream) => stream.flush()?,
            Self::File { unfinished, place } => {
                let file = unfinished.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                file.persist(&place).map_err(|error| error.error)?;
            }
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.stream().write(bytes).map_err(|error| unwritten_to(&self.name, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.stream().flush().map_err(|error| unwritten_to(&self.name, &error))
    }
}

/// Why an answer did not come where it was to go.
pub(super) fn unwritten(error: &io::Error) -> io::Error {
    unwritten_to(STDOUT, error)
}

fn unwritten_to(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name} can't be written: {error}"))
}

/// An empty file beside this place, with the owner and permissions of the file that is there.
fn beside(place: &Path, before: Option<&Metadata>) -> io::Result<NamedTempFile> {
    if before.is_some() {
        // What may not be written may not be replaced either.
        File::options().write(true).open(place)?;
    }
    let folder = place.parent().unwrap_or(Path::new("/"));
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".unfinished")
        .permissions(Permissions::from_mode(NEW_FILE))
        .tempfile_in(folder)?;
    if let Some(before) = before {
        // Only the superuser gives files away.
        let _ = fchown(file.as_file(), Some(before.uid()), Some(before.gid()));
        file.as_file().set_permissions(before.permissions())?;
    }
    Ok(file)
}

fn is_open_already(path: &Path) -> bool {
    OPEN_ALREADY.iter().any(|name| path.starts_with(name))
}

/// The path without links, also of a file that isn't there yet.
fn whole(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().or_else(|error| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if error.kind() == ErrorKind::NotFound => {
            let here = folder.as_os_str().is_empty();
            let folder = if here { Path::new(".") } else { folder };
            Ok(folder.canonicalize()?.join(name))
        }
        _ => Err(error),
    })
}

/// Whether the path leads to what the ledger consists of.
fn is_ledgers_own(path: &Path, settings: &Settings) -> bool {
    let place = whole(path).ok();
    let evidence = settings.evidence_folder().canonicalize();
    if let (Some(place), Ok(evidence)) = (&place, evidence)
        && place.starts_with(evidence)
    {
        return true;
    }
    let Some(ledger) = settings.database_url.file() else { return false };
    let names = [Some(ledger.to_owned()), ledger.canonicalize().ok()];
    let own = names.into_iter().flatten().flat_map(|ledger| {
        ENDS.map(|end| {
            let mut name = ledger.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        })
    });
    let identity = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino())).ok();
    let is_same = |own: PathBuf| {
        let same_place = place.is_some() && place == whole(&own).ok();
        same_place || identity(path).is_some_and(|file| identity(&own) == Some(file))
    };
    own.into_iter().any(is_same)
}
