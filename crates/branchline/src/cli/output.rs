//! The one place that writes to stdout and stderr.
//!
//! Text for people loses every control character but the line end on its way out: parts of it were written by
//! peers. Colour only ever repeats what words say.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use super::arguments::GlobalArguments;
use super::done::{Done, Failure};
use super::progress::ProgressDisplay;
use super::text::clean;
use super::{json, problem_text};
use crate::node::ProgressSink;

/// Where things are written, and how.
#[derive(Clone)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour_on_stderr: bool,
    display: Arc<ProgressDisplay>,
}

impl Output {
    pub(crate) fn new(global: &GlobalArguments) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = std::io::stderr().is_terminal();
        let display = ProgressDisplay::new(terminal && !dumb, global.quiet);
        let colour_on_stderr = terminal && !dumb && !set("NO_COLOR") && !global.no_color;
        Self { json: global.json, quiet: global.quiet, colour_on_stderr, display: Arc::new(display) }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn has_colour(&self) -> bool {
        self.colour_on_stderr
    }

    /// Takes the progress of a call.
    pub(crate) fn progress(&self) -> ProgressSink {
        let display = Arc::clone(&self.display);
        Arc::new(move |report| display.take(report))
    }

    /// Takes progress away from the screen.
    pub(crate) fn end_progress(&self) {
        self.display.end();
    }

    /// A part of the result, for people.
    pub(crate) fn print(&self, text: &str) {
        write_all(&mut std::io::stdout().lock(), &clean(text));
    }

    /// A part of the result that must not be changed, such as a script.
    pub(crate) fn print_exact(&self, text: &str) {
        write_all(&mut std::io::stdout().lock(), text);
    }

    /// Something for people that is not the result.
    pub(crate) fn note(&self, text: &str) {
        self.display.above(|| write_all(&mut std::io::stderr().lock(), &clean(text)));
    }

    /// A line of the log, as the log's own format wrote it.
    pub(crate) fn log(&self, line: &[u8]) {
        self.display.above(|| {
            let _ = std::io::stderr().lock().write_all(line);
        });
    }

    /// The end of a verb that did something.
    pub(crate) fn done(&self, schema: &str, done: &Done) -> ExitCode {
        if self.json {
            self.print_exact(&json::done(schema, done));
            return ExitCode::from(done.exit_code);
        }
        let mut text = done.text.trim_end().to_owned();
        if !text.is_empty() {
            text.push('\n');
        }
        self.print(&text);
        if !self.quiet {
            let next: String = done.next.iter().map(|command| format!("next: {command}\n")).collect();
            self.print(&next);
        }
        ExitCode::from(done.exit_code)
    }

    /// The end of a verb that failed.
    pub(crate) fn failed(&self, schema: &str, failure: &Failure) -> ExitCode {
        if self.json {
            self.print_exact(&json::failed(schema, failure));
        } else {
            let text = problem_text::failure(failure, self.colour_on_stderr);
            write_all(&mut std::io::stderr().lock(), &text);
        }
        ExitCode::from(failure.exit_code())
    }
}

/// A reader that went away, as `head` does, is nothing to complain about.
fn write_all(stream: &mut dyn Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
