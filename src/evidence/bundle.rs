//! Entries one after the other, each behind its length (C2SP tlog-tiles, entry bundles).

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

#[cfg(test)]
mod tests {
    use super::*;

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
