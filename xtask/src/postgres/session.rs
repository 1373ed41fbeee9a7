//! One `psql` that stays connected, spoken to through its pipes: so that starting a program and connecting are no part
//! of what is measured. A round trip on an idle machine takes about 0.1 ms.
//!
//! A statement that fails ends the session, and what `psql` said is in the failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::failure::{Doing, Failure};

/// A line that no answer holds.
const END: &str = "-- end of answer --";

/// A connection that ends when this is dropped.
pub(crate) struct Session {
    psql: Child,
    /// Taken when it ends.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// `psql` is as [`super::Cluster::psql`] makes it.
    pub(super) fn start(mut psql: Command) -> Result<Self, Failure> {
        let mut psql = psql
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| "start psql".into())?;
        let (Some(input), Some(output)) = (psql.stdin.take(), psql.stdout.take()) else {
            return Err(Failure::new("psql has no pipes"));
        };
        Ok(Self { psql, input: Some(input), output: BufReader::new(output) })
    }

    /// What statements answer: a row a line, columns parted by `|`.
    pub(crate) fn query(&mut self, statements: &str) -> Result<String, Failure> {
        self.send(statements)?;
        self.receive()
    }

    /// Starts statements without waiting; their answer is what [`Session::receive`] gives.
    pub(crate) fn send(&mut self, statements: &str) -> Result<(), Failure> {
        let text = format!("{statements};\n\\echo '{END}'\n");
        let written = match &mut self.input {
            Some(input) => input.write_all(text.as_bytes()).and_then(|()| input.flush()),
            None => return Err(Failure::new("the session has ended")),
        };
        written.map_err(|_| self.ended())
    }

    /// The answer to what was sent.
    pub(crate) fn receive(&mut self) -> Result<String, Failure> {
        let mut answer = String::new();
        loop {
            let from = answer.len();
            let read = self.output.read_line(&mut answer).doing(|| "read what psql answers".into())?;
            if read == 0 {
                return Err(self.ended());
            }
            if answer[from..].trim_end() == END {
                answer.truncate(from);
                return Ok(answer);
            }
        }
    }

    /// Waits until a condition holds: the server asks itself once a millisecond, each time seeing what was committed.
    pub(crate) fn wait_until(&mut self, condition: &str, limit: Duration) -> Result<(), Failure> {
        let limit = limit.as_secs();
        let waiting = format!(
            "DO $wait$
             DECLARE until timestamptz := clock_timestamp() + interval '{limit} seconds';
             BEGIN
                 WHILE NOT ({condition}) LOOP
                     IF clock_timestamp() > until THEN RAISE 'after {limit} seconds it is not so'; END IF;
                     COMMIT;
                     PERFORM pg_sleep(0.001);
                 END LOOP;
             END $wait$"
        );
        self.query(&waiting)
            .map(drop)
            .map_err(|failure| Failure::new(format!("waiting for {condition}: {failure}")))
    }

    /// Why there is nothing to read any more.
    fn ended(&mut self) -> Failure {
        drop(self.input.take());
        let mut said = String::new();
        if let Some(errors) = &mut self.psql.stderr {
            // What cannot be read is missing in the message, and the failure stays one.
            let _ = errors.read_to_string(&mut said);
        }
        Failure::new(format!("psql ended: {}", said.trim()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.psql.wait();
    }
}
