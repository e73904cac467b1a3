//! Entries one after the other, each behind its length (C2SP tlog-tiles, entry bundles).

use std::io::{ErrorKind, Read};

/// Adds an entry to a bundle; `false`, and nothing is added, where it is too long for one.
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else { return false };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// The entries of a bundle, or of several in a row; the last is an error where the bundle is cut.
pub fn entries(bundle: &[u8]) -> Entries<'_> {
    Entries { rest: bundle }
}

/// Bytes that end in the middle of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it ends in the middle of an entry")]
pub struct Cut;

/// See [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], Cut>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = self.rest.split_first_chunk::<2>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        if let Some((entry, rest)) = taken {
            self.rest = rest;
            Some(Ok(entry))
        } else {
            self.rest = &[];
            Some(Err(Cut))
        }
    }
}

/// The entries of bundles in a row that are read one by one, however long the whole is; the last is
/// an error where they are cut or can't be read.
pub fn read<R: Read>(bundles: R) -> ReadEntries<R> {
    ReadEntries { bundles: Some(bundles) }
}

/// See [`read`].
#[derive(Debug)]
pub struct ReadEntries<R> {
    bundles: Option<R>,
}

impl<R: Read> ReadEntries<R> {
    fn one(bundles: &mut R) -> std::io::Result<Option<Vec<u8>>> {
        let cut = || std::io::Error::new(ErrorKind::UnexpectedEof, Cut);
        let mut length = Vec::with_capacity(2);
        bundles.by_ref().take(2).read_to_end(&mut length)?;
        let length = match length.as_slice() {
            [] => return Ok(None),
            [high, low] => u16::from_be_bytes([*high, *low]),
            _ => return Err(cut()),
        };
        let mut entry = Vec::with_capacity(usize::from(length));
        bundles.by_ref().take(u64::from(length)).read_to_end(&mut entry)?;
        if entry.len() == usize::from(length) { Ok(Some(entry)) } else { Err(cut()) }
    }
}

impl<R: Read> Iterator for ReadEntries<R> {
    type Item = std::io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let one = Self::one(self.bundles.as_mut()?).transpose();
        if !matches!(one, Some(Ok(_))) {
            self.bundles = None;
        }
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_taken_from_memory() {
        let bundle = b"\0\x03one\0\0";
        for end in 0..=bundle.len() {
            let whole: Vec<_> = entries(&bundle[..end]).map(Result::ok).collect();
            let one_by_one: Vec<_> = read(&bundle[..end]).map(Result::ok).collect();
            let one_by_one: Vec<_> = one_by_one.iter().map(Option::as_deref).collect();
            assert_eq!(whole, one_by_one, "{end}");
        }
        let cut = read(&bundle[..4]).last().and_then(Result::err);
        assert_eq!(cut.map(|error| error.to_string()), Some(Cut.to_string()));
    }

    #[test]
    fn entries_come_back_as_they_went_in() {
        let mut bundle = Vec::new();
        assert!(push(&mut bundle, b"one"));
        assert!(push(&mut bundle, b""));
        assert!(!push(&mut bundle, &vec![0; 65_536]));
        assert_eq!(bundle, b"\0\x03one\0\0");
        let read: Vec<_> = entries(&bundle).collect();
        assert_eq!(read, [Ok(&b"one"[..]), Ok(&b""[..])]);
        let cut: Vec<_> = entries(&bundle[..4]).collect();
        assert_eq!(cut, [Err(Cut)]);
        assert_eq!(entries(&bundle[..6]).last(), Some(Err(Cut)));
    }
}
