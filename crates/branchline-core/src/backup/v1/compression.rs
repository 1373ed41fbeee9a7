//! Frames of zstd and members of gzip, pushed through in pieces.
//!
//! A decoder never gives more than its caller takes: every piece that comes out goes to a sink that can refuse,
//! so a bomb costs no more than one buffer. A zstd frame that asks for a window over 8 MiB is refused.

use std::io::Write;

use flate2::write::{GzEncoder, MultiGzDecoder};
use zstd::stream::raw::{self, DParameter, InBuffer, Operation, OutBuffer};

use super::error::FormatError;
use crate::backup::Codec;
use crate::limits::ZSTD_WINDOW_LOG_MAX;

/// Level of zstd: 3 was the knee for rows of shops (265 MB/s at ratio 7.4, level 9: 41 MB/s at ratio 7.2).
const ZSTD_LEVEL: i32 = 3;
/// Level of gzip, for readers that know nothing better.
const GZIP_LEVEL: u32 = 6;
/// Bytes that come out at once.
const OUT_BYTES: usize = 128 << 10;

/// Compresses one frame.
pub struct Compressor(Encoding);

enum Encoding {
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd { encoder: raw::Encoder<'static>, buffer: Vec<u8> },
}

impl Compressor {
    /// Begins a frame.
    ///
    /// # Errors
    /// Where the codec has no memory.
    pub fn new(codec: Codec) -> Result<Self, FormatError> {
        Ok(Self(match codec {
            Codec::Plain => Encoding::Plain,
            Codec::Gzip => Encoding::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Codec::Zstd => {
                let encoder = raw::Encoder::new(ZSTD_LEVEL).map_err(|_| FormatError::Compression)?;
                Encoding::Zstd { encoder, buffer: vec![0; OUT_BYTES] }
            }
        }))
    }

    /// Takes the next piece; what comes out is appended to `out`.
    ///
    /// # Errors
    /// Where the codec fails.
    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        match &mut self.0 {
            Encoding::Plain => out.extend_from_slice(bytes),
            Encoding::Gzip(encoder) => {
                encoder.write_all(bytes).map_err(|_| FormatError::Compression)?;
                out.append(encoder.get_mut());
            }
            Encoding::Zstd { encoder, buffer } => {
                let mut input = InBuffer::around(bytes);
                while input.pos() < bytes.len() {
                    let mut output = OutBuffer::around(buffer.as_mut_slice());
                    encoder.run(&mut input, &mut output).map_err(|_| FormatError::Compression)?;
                    out.extend_from_slice(output.as_slice());
                }
            }
        }
        Ok(())
    }

    /// Ends the frame.
    ///
    /// # Errors
    /// Where the codec fails.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self.0 {
            Encoding::Plain => {}
            Encoding::Gzip(encoder) => out.extend(encoder.finish().map_err(|_| FormatError::Compression)?),
            Encoding::Zstd { mut encoder, mut buffer } => loop {
                let mut output = OutBuffer::around(buffer.as_mut_slice());
                let left = encoder.finish(&mut output, true).map_err(|_| FormatError::Compression)?;
                out.extend_from_slice(output.as_slice());
                if left == 0 {
                    break;
                }
            },
        }
        Ok(())
    }
}

/// Compresses `bytes` as one frame.
///
/// # Errors
/// Where the codec fails.
pub fn compress(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(codec)?;
    compressor.write(bytes, &mut out)?;
    compressor.finish(&mut out)?;
    Ok(out)
}

/// Takes frames, one after another, and gives what was compressed.
pub struct Decompressor(Decoding);

enum Decoding {
    /// The codec is told by the first bytes.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd {
        decoder: raw::Decoder<'static>,
        buffer: Vec<u8>,
        inside_frame: bool,
    },
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decompressor")
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self(Decoding::Unknown(Vec::new()))
    }
}

impl Decompressor {
    /// Takes the next piece; what comes out is given to `sink`, at most 128 KiB at a time.
    ///
    /// # Errors
    /// Where the bytes are damaged, and whatever `sink` fails with.
    pub fn push<E: From<FormatError>>(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Decoding::Unknown(first) = &mut self.0 {
            first.extend_from_slice(bytes);
            if first.len() < 4 && first.first() != Some(&b'{') {
                return Ok(());
            }
            let first = std::mem::take(first);
            self.0 = Decoding::of(&first)?;
            return self.push_known(&first, sink);
        }
        self.push_known(bytes, sink)
    }

    fn push_known<E: From<FormatError>>(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.0 {
            Decoding::Unknown(_) => Ok(()),
            Decoding::Plain => bytes.chunks(OUT_BYTES).try_for_each(sink),
            Decoding::Gzip(decoder) => {
                // Small pieces, so that what comes out of one is bounded: deflate expands 1,032 times at most.
                for piece in bytes.chunks(4096) {
                    decoder.write_all(piece).map_err(|_| FormatError::Compression)?;
                    for out in decoder.get_mut().chunks(OUT_BYTES) {
                        sink(out)?;
                    }
                    decoder.get_mut().clear();
                }
                Ok(())
            }
            Decoding::Zstd { decoder, buffer, inside_frame } => {
                let mut input = InBuffer::around(bytes);
                loop {
                    let mut output = OutBuffer::around(buffer.as_mut_slice());
                    let left = decoder.run(&mut input, &mut output).map_err(|_| FormatError::Compression)?;
                    *inside_frame = left != 0;
                    let full = output.pos() == OUT_BYTES;
                    if output.pos() > 0 {
                        sink(output.as_slice())?;
                    }
                    if input.pos() == bytes.len() && !full {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Ends the last frame; what was still held back is given to `sink`.
    ///
    /// # Errors
    /// Where it is not over, and whatever `sink` fails with.
    pub fn finish<E: From<FormatError>>(self, sink: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self.0 {
            Decoding::Unknown(_) | Decoding::Zstd { inside_frame: true, .. } => {
                Err(FormatError::Truncated.into())
            }
            Decoding::Plain | Decoding::Zstd { .. } => Ok(()),
            Decoding::Gzip(decoder) => {
                let held_back = decoder.finish().map_err(|_| FormatError::Truncated)?;
                held_back.chunks(OUT_BYTES).try_for_each(sink)
            }
        }
    }
}

impl Decoding {
    fn of(first_bytes: &[u8]) -> Result<Self, FormatError> {
        match Codec::detect(first_bytes) {
            Some(Codec::Plain) => Ok(Self::Plain),
            Some(Codec::Gzip) => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            Some(Codec::Zstd) => {
                let mut decoder = raw::Decoder::new().map_err(|_| FormatError::Compression)?;
                let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                decoder.set_parameter(window).map_err(|_| FormatError::Compression)?;
                Ok(Self::Zstd { decoder, buffer: vec![0; OUT_BYTES], inside_frame: true })
            }
            None => Err(FormatError::Malformed { what: "it is neither JSON nor zstd nor gzip" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompress(bytes: &[u8], piece: usize) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::new();
        let mut sink = |piece: &[u8]| {
            assert!(piece.len() <= OUT_BYTES);
            out.extend_from_slice(piece);
            Ok::<_, FormatError>(())
        };
        let mut decompressor = Decompressor::default();
        for bytes in bytes.chunks(piece) {
            decompressor.push(bytes, &mut sink)?;
        }
        decompressor.finish(&mut sink)?;
        Ok(out)
    }

    fn three_frames(codec: Codec) -> (Vec<u8>, Vec<u8>) {
        let parts = [b"{\"metadata\":".to_vec(), b"0123456789".repeat(100_000), b"}".to_vec()];
        let frames = parts.iter().flat_map(|part| compress(codec, part).unwrap()).collect();
        (parts.concat(), frames)
    }

    #[test]
    fn frames_join_by_themselves() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::Plain] {
            let (plain, frames) = three_frames(codec);
            for piece in [7, 1000, frames.len()] {
                assert!(decompress(&frames, piece).unwrap() == plain, "{codec:?} {piece}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_or_damaged_is_refused() {
        for codec in [Codec::Zstd, Codec::Gzip] {
            let (_, frames) = three_frames(codec);
            assert_eq!(decompress(&frames[..frames.len() - 1], 64), Err(FormatError::Truncated), "{codec:?}");
            assert_eq!(decompress(&frames[..2], 64), Err(FormatError::Truncated), "{codec:?}");
            let mut damaged = frames.clone();
            damaged[frames.len() / 2] ^= 0xff;
            assert!(decompress(&damaged, 64).is_err(), "{codec:?}");
        }
        assert!(matches!(decompress(b"PK\x03\x04", 64), Err(FormatError::Malformed { .. })));
    }

    #[test]
    fn a_window_over_the_bound_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&[7; 100]).unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(decompress(&frame, 64), Err(FormatError::Compression));
    }

    #[test]
    fn a_bomb_stops_at_the_first_refusal() {
        for codec in [Codec::Zstd, Codec::Gzip] {
            let bomb = compress(codec, &vec![0; 16 << 20]).unwrap();
            let mut given = 0;
            let result = Decompressor::default().push::<FormatError>(&bomb, &mut |piece| {
                given += piece.len();
                if given > 1 << 20 { Err(FormatError::DataTooLarge { bytes_max: 1 << 20 }) } else { Ok(()) }
            });
            assert_eq!(result, Err(FormatError::DataTooLarge { bytes_max: 1 << 20 }), "{codec:?}");
            assert!(given < 2 << 20, "{codec:?} gave {given} bytes");
        }
    }
}
