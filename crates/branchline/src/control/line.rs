//! Lines of bounded length, over any stream of bytes.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a command.
pub(super) const COMMAND_BYTES_MAX: usize = branchline_core::limits::MESSAGE_BYTES_MAX;
/// Bytes of a message: the tables of a database of ten thousand are the longest.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long the other side may leave a message unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 16 << 10;

/// Reads lines. What was read of a line stays here when a read is given up, so that it may be begun again.
pub(super) struct LineReader<R> {
    reader: R,
    buffer: Vec<u8>,
    searched: usize,
    line_bytes_max: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(reader: R, line_bytes_max: usize) -> Self {
        Self { reader, buffer: Vec::new(), searched: 0, line_bytes_max }
    }

    /// The next line without its end; nothing at the end of the stream. Safe to drop at any moment.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > self.line_bytes_max {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            self.buffer.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

/// Writes a whole line.
pub(super) async fn write_line<W: AsyncWrite + Unpin>(writer: &mut W, line: &[u8]) -> io::Result<()> {
    let write = async {
        writer.write_all(line).await?;
        writer.flush().await
    };
    tokio::time::timeout(WRITE_TIMEOUT, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
