//! The changes in a record of the book (spec/store.md, "Packs").
//!
//! Invariant: what [`read`] gives was written by [`push`]; anything else ends the reading with an
//! error. Not here: what the keys and values mean.

/// Tables of the index whose content is in the book, with their numbers in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Booked {
    Trash = 1,
    Holdings = 2,
    Contracts = 3,
    Entries = 4,
    Segments = 5,
}

const TABLES: [Booked; 5] =
    [Booked::Trash, Booked::Holdings, Booked::Contracts, Booked::Entries, Booked::Segments];
/// Table 1, length of the key 2, length of the value 4.
const HEAD_LEN: usize = 7;
/// Stands for a deletion where the length of a value is.
const DELETED: u32 = u32::MAX;

/// A change of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BookChange<'a> {
    pub(crate) table: Booked,
    pub(crate) key: &'a [u8],
    /// None when the key is no more.
    pub(crate) value: Option<&'a [u8]>,
}

/// Appends a change.
pub(crate) fn push(changes: &mut Vec<u8>, table: Booked, key: &[u8], value: Option<&[u8]>) {
    let key_len = u16::try_from(key.len()).expect("keys of the index have at most 72 bytes");
    let value_len = value.map_or(DELETED, |value| {
        u32::try_from(value.len()).expect("values of the index are far below 4 GiB")
    });
    changes.push(table as u8);
    changes.extend(key_len.to_be_bytes());
    changes.extend(value_len.to_be_bytes());
    changes.extend(key);
    changes.extend(value.unwrap_or_default());
}

/// Reads changes one after the other.
pub(crate) fn read(mut changes: &[u8]) -> impl Iterator<Item = Result<BookChange<'_>, String>> {
    std::iter::from_fn(move || {
        if changes.is_empty() {
            return None;
        }
        let next = next(changes);
        changes = next.as_ref().map_or(&[], |(_, rest)| rest);
        Some(next.map(|(change, _)| change))
    })
}

fn next(changes: &[u8]) -> Result<(BookChange<'_>, &[u8]), String> {
    let cut = || "it ends in the middle of a change".to_owned();
    let (head, rest) = changes.split_first_chunk::<HEAD_LEN>().ok_or_else(cut)?;
    let [table, key_high, key_low, len @ ..] = *head;
    let table = TABLES.into_iter().find(|it| *it as u8 == table);
    let table = table.ok_or_else(|| format!("table {} is not known", head[0]))?;
    let key_len = usize::from(u16::from_be_bytes([key_high, key_low]));
    let (key, rest) = rest.split_at_checked(key_len).ok_or_else(cut)?;
    let len = u32::from_be_bytes(len);
    if len == DELETED {
        return Ok((BookChange { table, key, value: None }, rest));
    }
    let (value, rest) = rest.split_at_checked(len as usize).ok_or_else(cut)?;
    Ok((BookChange { table, key, value: Some(value) }, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_are_laid_out_as_the_specification_draws_them() {
        let mut changes = Vec::new();
        push(&mut changes, Booked::Contracts, b"key", Some(b"value"));
        push(&mut changes, Booked::Trash, b"k", None);
        let expected = b"\x03\x00\x03\x00\x00\x00\x05keyvalue\x01\x00\x01\xff\xff\xff\xffk";
        assert_eq!(changes, expected);
    }

    proptest! {
        #[test]
        fn changes_come_back(
            all in proptest::collection::vec(
                (0..5usize, proptest::collection::vec(any::<u8>(), 0..80),
                 proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))), 0..20,
            ),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut changes = Vec::new();
            for (table, key, value) in &all {
                push(&mut changes, TABLES[*table], key, value.as_deref());
            }
            let back: Vec<_> = read(&changes).collect::<Result<_, _>>().unwrap();
            let expected: Vec<_> = all.iter().map(|(table, key, value)| {
                BookChange { table: TABLES[*table], key, value: value.as_deref() }
            }).collect();
            prop_assert_eq!(&back, &expected);
            // Cut anywhere, it gives some of them and then an error, or ends between two.
            if !changes.is_empty() {
                let parts: Vec<_> = read(&changes[..cut.index(changes.len())]).collect();
                let whole = parts.iter().take_while(|it| it.is_ok()).count();
                prop_assert!(whole <= expected.len() && parts.len() - whole <= 1);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&bytes).count() <= bytes.len());
        }
    }
}
