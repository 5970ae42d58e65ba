//! Little-endian fields in and out of byte slices. Reading past the end is a programmer's error and panics:
//! lengths are checked before fields are read.

macro_rules! readers {
    ($($name:ident $kind:ty),*) => {$(
        #[inline]
        pub(crate) fn $name(data: &[u8], at: usize) -> $kind {
            let mut field = [0; size_of::<$kind>()];
            field.copy_from_slice(&data[at..at + size_of::<$kind>()]);
            <$kind>::from_le_bytes(field)
        }
    )*};
}

readers!(u16_at u16, u32_at u32, u64_at u64, i64_at i64);

/// The 16 bytes of a key or request id as two words.
#[inline]
pub(crate) fn key_at(data: &[u8], at: usize) -> [u64; 2] {
    [u64_at(data, at), u64_at(data, at + 8)]
}

/// Write `value` at a fixed place.
#[inline]
pub(crate) fn put<const SIZE: usize>(target: &mut [u8], at: usize, value: [u8; SIZE]) {
    target[at..at + SIZE].copy_from_slice(&value);
}

/// Write a key's two words.
#[inline]
pub(crate) fn put_key(target: &mut [u8], at: usize, key: [u64; 2]) {
    put(target, at, key[0].to_le_bytes());
    put(target, at + 8, key[1].to_le_bytes());
}

/// Round up to a multiple of eight.
#[inline]
pub(crate) const fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// Append `text` and the zeros that bring the record, begun at `start`, to a multiple of eight.
pub(crate) fn append_padded(target: &mut Vec<u8>, start: usize, texts: &[&[u8]]) {
    for text in texts {
        target.extend_from_slice(text);
    }
    let length = target.len() - start;
    target.resize(start + padded(length), 0);
}
