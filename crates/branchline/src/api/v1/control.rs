//! What goes over the control socket: lines of JSON, one message a line.
//!
//! ```text
//! client   {"command":"sync",…}
//! server   {"progress":{…}}          any number of them
//!          {"answer":{…}}            or  {"problem":{…}}  and the end
//! ```

use serde::{Deserialize, Serialize};

use super::{Answer, Command, Problem, Progress};

/// What a running server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlMessage {
    /// How far it is.
    Progress(Progress),
    /// It is done.
    Answer(Answer),
    /// It failed.
    Problem(Problem),
}

/// A text that is not a message.
#[derive(Debug, thiserror::Error)]
#[error("a line of the control socket is not a message")]
pub struct ControlMessageError(#[from] serde_json::Error);

impl ControlMessage {
    /// The message as a line, with its line end.
    ///
    /// # Errors
    /// Where a number in it cannot be JSON.
    pub fn to_line(&self) -> Result<Vec<u8>, ControlMessageError> {
        line_of(self)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// Where it is not a message.
    pub fn of_line(line: &[u8]) -> Result<Self, ControlMessageError> {
        Ok(serde_json::from_slice(line)?)
    }
}

impl Command {
    /// The call as a line, with its line end.
    ///
    /// # Errors
    /// Where it cannot be JSON.
    pub fn to_line(&self) -> Result<Vec<u8>, ControlMessageError> {
        line_of(self)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// Where it is not a call.
    pub fn of_line(line: &[u8]) -> Result<Self, ControlMessageError> {
        Ok(serde_json::from_slice(line)?)
    }
}

fn line_of(message: &impl Serialize) -> Result<Vec<u8>, ControlMessageError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}
