//! Logs, on stderr: for people on a terminal, for the journal where systemd reads along, else as lines of JSON.
//!
//! `serve` logs what the settings say, any other verb only warnings; `-v` says more, `-q` only errors, and
//! `BRANCHLINE_LOG` says exactly what.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Compact, Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::arguments::Verb;
use super::done::Failure;
use super::output::Output;
use super::run::Session;

/// Starts logging, once a process.
pub(crate) fn start(session: &Session, verb: &Verb) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse_lossy(directives(session, verb));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter(session.output.clone()));
    let started = if io::stderr().is_terminal() {
        builder.compact().with_ansi(session.output.has_colour()).with_target(false).try_init()
    } else if is_journal() {
        let inner = Format::default().compact().without_time().with_ansi(false);
        builder.with_ansi(false).event_format(JournalFormat { inner }).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|error| Failure::internal(format!("logging cannot be started: {error}")))
}

fn directives(session: &Session, verb: &Verb) -> String {
    let global = &session.global;
    match (global.quiet, global.verbose) {
        (true, _) => return "error".to_owned(),
        (false, 0) => {}
        (false, 1) if matches!(verb, Verb::Serve(_)) => return "debug".to_owned(),
        (false, 1) => return "info".to_owned(),
        (false, 2) if !matches!(verb, Verb::Serve(_)) => return "debug".to_owned(),
        (false, _) => return "trace".to_owned(),
    }
    if matches!(verb, Verb::Serve(_)) {
        // Faults in the settings are reported by the verb itself.
        return session.settings(Vec::new()).map_or_else(|_| "info".to_owned(), |settings| settings.log);
    }
    std::env::var("BRANCHLINE_LOG").unwrap_or_else(|_| "warn".to_owned())
}

/// Whether stderr is what systemd reads for the journal, and not only inherited its environment.
#[cfg(unix)]
fn is_journal() -> bool {
    use std::os::unix::fs::MetadataExt;
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|file| stream.to_string_lossy() == format!("{}:{}", file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn is_journal() -> bool {
    false
}

/// Writes above the progress bars.
struct LogWriter(Output);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.log(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `<6>` before a line tells the journal how grave it is (`sd-daemon(3)`); the journal adds the time.
struct JournalFormat {
    inner: Format<Compact, ()>,
}

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let gravity = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{gravity}>")?;
        self.inner.format_event(context, writer, event)
    }
}
