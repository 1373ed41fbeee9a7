//! Documents of version 1 as they are in the world: they must read, and be written, for ever.

use branchline_core::backup::Codec;

use crate::document::{blessing, folder, golden, read};

#[test]
fn the_golden_document_is_written_byte_for_byte() {
    let path = folder().join("full.json");
    if !path.exists() && blessing() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, golden(Codec::Plain)).unwrap();
    }
    let frozen = std::fs::read(&path).unwrap();
    let written = golden(Codec::Plain);
    assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(frozen).unwrap());
}

#[test]
fn golden_documents_read_in_every_compression() {
    let plain = read(&std::fs::read(folder().join("full.json")).unwrap()).unwrap();
    assert_eq!(plain.iter().filter(|byte| **byte == b'\n').count(), 3);
    for (name, codec) in [("full.json.zst", Codec::Zstd), ("full.json.gz", Codec::Gzip)] {
        let path = folder().join(name);
        if !path.exists() && blessing() {
            std::fs::write(&path, golden(codec)).unwrap();
        }
        assert_eq!(read(&std::fs::read(&path).unwrap()), Ok(plain.clone()), "{name}");
    }
}
