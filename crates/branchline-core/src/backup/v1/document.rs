//! Takes a document apart while it streams by: M, D in pieces, S.

use super::error::FormatError;
use super::{AFTER_SIGNATURE, BEFORE_DATA, BEFORE_METADATA, BEFORE_SIGNATURE, TAIL_BYTES};
use crate::limits::METADATA_BYTES_MAX;
use crate::signing::Signature;

/// What comes by.
#[derive(Debug, PartialEq, Eq)]
pub enum DocumentEvent<'a> {
    /// All of M.
    Metadata(&'a [u8]),
    /// The next piece of D.
    Data(&'a [u8]),
}

/// Takes a document apart. It keeps M until M is whole, and the last 104 bytes that came by.
#[derive(Debug)]
pub struct DocumentReader {
    part: Part,
    kept: Vec<u8>,
}

#[derive(Debug)]
enum Part {
    BeforeMetadata,
    Metadata(ObjectEnd),
    BeforeData,
    Data,
}

impl Default for DocumentReader {
    fn default() -> Self {
        Self { part: Part::BeforeMetadata, kept: Vec::new() }
    }
}

impl DocumentReader {
    /// Takes the next piece; what it holds is given to `sink`.
    ///
    /// # Errors
    /// Where the document is not of this format, and whatever `sink` fails with.
    pub fn push<E: From<FormatError>>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut dyn FnMut(DocumentEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            match &mut self.part {
                Part::BeforeMetadata => {
                    if self.take_exactly(&mut bytes, BEFORE_METADATA)? {
                        self.part = Part::Metadata(ObjectEnd::default());
                    }
                }
                Part::Metadata(end) => {
                    let found = end.find(bytes)?;
                    let taken = found.unwrap_or(bytes.len());
                    if self.kept.len() + taken > METADATA_BYTES_MAX {
                        return Err(FormatError::MetadataTooLarge.into());
                    }
                    self.kept.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if found.is_some() {
                        self.part = Part::BeforeData;
                        let metadata = std::mem::take(&mut self.kept);
                        sink(DocumentEvent::Metadata(&metadata))?;
                    }
                }
                Part::BeforeData => {
                    if self.take_exactly(&mut bytes, BEFORE_DATA)? {
                        self.part = Part::Data;
                    }
                }
                Part::Data => return self.take_data(bytes, sink),
            }
        }
        Ok(())
    }

    /// Ends the document.
    ///
    /// # Errors
    /// Where it is not over, or does not end with a signature.
    pub fn finish(self) -> Result<Signature, FormatError> {
        if !matches!(self.part, Part::Data) || self.kept.len() < TAIL_BYTES {
            return Err(FormatError::Truncated);
        }
        let text =
            self.kept.strip_prefix(BEFORE_SIGNATURE).and_then(|rest| rest.strip_suffix(AFTER_SIGNATURE));
        // A document that was cut somewhere in D has other bytes here.
        Signature::from_text(text.ok_or(FormatError::Truncated)?)
            .map_err(|_| FormatError::Malformed { what: "the signature is not one" })
    }

    /// Takes bytes that must be the rest of `expected`. Answers whether all of it was taken.
    fn take_exactly(&mut self, bytes: &mut &[u8], expected: &[u8]) -> Result<bool, FormatError> {
        let missing = &expected[self.kept.len()..];
        let taken = missing.len().min(bytes.len());
        if bytes[..taken] != missing[..taken] {
            return Err(FormatError::Malformed { what: "its parts are not those of a backup" });
        }
        self.kept.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        let whole = self.kept.len() == expected.len();
        if whole {
            self.kept.clear();
        }
        Ok(whole)
    }

    /// Gives all but the last 104 bytes, which may be the tail.
    fn take_data<E: From<FormatError>>(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(DocumentEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let given = (self.kept.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        let from_kept = given.min(self.kept.len());
        let from_bytes = given - from_kept;
        if from_kept > 0 {
            sink(DocumentEvent::Data(&self.kept[..from_kept]))?;
            self.kept.drain(..from_kept);
        }
        if from_bytes > 0 {
            sink(DocumentEvent::Data(&bytes[..from_bytes]))?;
        }
        self.kept.extend_from_slice(&bytes[from_bytes..]);
        Ok(())
    }
}

/// Finds the end of an object by its braces, those in strings left out.
#[derive(Debug, Default)]
struct ObjectEnd {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl ObjectEnd {
    /// The place after the object's last brace, if it is in `bytes`.
    fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, FormatError> {
        for (place, &byte) in bytes.iter().enumerate() {
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                self.in_string = byte != b'"';
                self.escaped = byte == b'\\';
            } else {
                match byte {
                    b'"' if self.depth > 0 => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' if self.depth > 0 => self.depth -= 1,
                    _ if self.depth == 0 => {
                        return Err(FormatError::Malformed { what: "the metadata are not an object" });
                    }
                    _ => {}
                }
                if self.depth == 0 {
                    return Ok(Some(place + 1));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(document: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, Signature), FormatError> {
        let (mut metadata, mut data) = (Vec::new(), Vec::new());
        let mut reader = DocumentReader::default();
        for bytes in document.chunks(piece) {
            reader.push::<FormatError>(bytes, &mut |event| {
                match event {
                    DocumentEvent::Metadata(bytes) => metadata.extend_from_slice(bytes),
                    DocumentEvent::Data(bytes) => data.extend_from_slice(bytes),
                }
                Ok(())
            })?;
        }
        Ok((metadata, data, reader.finish()?))
    }

    fn document(metadata: &str, data: &str) -> Vec<u8> {
        let signature = Signature::from_bytes([5; 64]).to_text();
        format!("{{\"metadata\":{metadata},\"data\":{data},\"signature\":\"{signature}\"}}").into_bytes()
    }

    #[test]
    fn parts_are_found_whatever_the_pieces() {
        let metadata = r#"{"a":"}\"]{","b":[{"c":{}}]}"#;
        let data = "{\"t\":[\n{\"x\":\",\\\"signature\\\":\\\"\"}\n]}";
        let document = document(metadata, data);
        for piece in 1..=document.len() {
            let (m, d, signature) = parts(&document, piece).unwrap();
            assert_eq!((m, d), (metadata.as_bytes().to_vec(), data.as_bytes().to_vec()), "{piece}");
            assert_eq!(signature, Signature::from_bytes([5; 64]));
        }
    }

    #[test]
    fn a_document_that_is_cut_anywhere_is_refused() {
        let document = document("{}", "{}");
        for end in 0..document.len() {
            assert_eq!(parts(&document[..end], 7), Err(FormatError::Truncated), "{end}");
        }
    }

    #[test]
    fn other_documents_are_refused() {
        let malformed = |document: &[u8]| matches!(parts(document, 64), Err(FormatError::Malformed { .. }));
        assert!(malformed(b"{\"data\":{}}"));
        assert!(malformed(b" {\"metadata\":{}}"));
        assert!(malformed(b"{\"metadata\":5,"));
        assert!(malformed(b"{\"metadata\":\"{}\","));
        assert!(malformed(b"{\"metadata\":{} ,\"data\":{}"));
    }

    #[test]
    fn metadata_are_bounded() {
        let padded = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(parts(&document(&padded(METADATA_BYTES_MAX), "{}"), 65_536).is_ok());
        let past = parts(&document(&padded(METADATA_BYTES_MAX + 1), "{}"), 65_536);
        assert_eq!(past, Err(FormatError::MetadataTooLarge));
    }
}
