//! JSON for programs: one envelope for every verb.
//!
//! ```text
//! {"schema":"branchline.sync/1","ok":true,"data":{…},"warnings":[],"error":null}
//! {"schema":"branchline.sync/1","ok":false,"data":null,"warnings":[],
//!  "error":{"code":"BL-E0306","name":"UNREACHABLE","message":…,"data":…,"help":…,"retryable":true}}
//! ```
//! `ok` is true exactly when the exit code is 0. Where a part was done, `data` says which and `error` why not all.

use branchline_core::code::{CodeEntry, Fault, Retry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::done::{Done, Failure};
use super::text::is_unsafe;
use crate::api::v1::{Answer, Problem, WarningAnswer};
use crate::settings::{Place, SettingsFault, ShownSetting};

#[derive(Serialize)]
struct Envelope<'a> {
    schema: &'a str,
    ok: bool,
    data: &'a Value,
    warnings: &'a [WarningAnswer],
    error: Option<ErrorMember<'a>>,
}

#[derive(Serialize)]
struct ErrorMember<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<FaultMember<'a>>,
}

#[derive(Serialize)]
struct FaultMember<'a> {
    key: &'a str,
    message: &'a str,
    help: Option<&'a str>,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    variable: Option<&'a str>,
}

/// What `config show` tells.
#[derive(Serialize)]
struct SettingMember<'a> {
    key: &'a str,
    value: &'a str,
    origin: String,
}

/// What `explain` tells.
#[derive(Serialize)]
struct CodeMember<'a> {
    code: String,
    name: &'a str,
    meaning: &'a str,
    hint: &'a str,
    retry: &'a str,
    fault: &'a str,
}

pub(crate) fn done(schema: &str, done: &Done) -> String {
    line(&Envelope {
        schema,
        ok: done.exit_code == 0,
        data: &done.data,
        warnings: &done.warnings,
        error: done.problem.as_ref().map(|problem| ErrorMember { problem, faults: Vec::new() }),
    })
}

pub(crate) fn failed(schema: &str, failure: &Failure) -> String {
    let faults = failure.faults.iter().map(fault).collect();
    let error = Some(ErrorMember { problem: &failure.problem, faults });
    line(&Envelope { schema, ok: false, data: &Value::Null, warnings: &[], error })
}

fn fault(fault: &SettingsFault) -> FaultMember<'_> {
    let mut member = FaultMember {
        key: &fault.key,
        message: &fault.message,
        help: fault.help.as_deref(),
        file: None,
        line: None,
        column: None,
        variable: None,
    };
    match &fault.place {
        Place::File { file, line, column, .. } => {
            member.file = Some(file.display().to_string());
            (member.line, member.column) = (Some(*line), Some(*column));
        }
        Place::Missing { file } => member.file = Some(file.display().to_string()),
        Place::Environment { variable } => member.variable = Some(variable),
        Place::Flag { flag } => member.variable = Some(flag),
    }
    member
}

/// The JSON value of any answer.
pub(crate) fn of(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

/// The JSON value of what an answer holds, without the name of its kind.
pub(crate) fn data_of(answer: &Answer) -> Value {
    match of(answer) {
        Value::Object(kinds) => kinds.into_iter().next().map_or(Value::Null, |(_, data)| data),
        other => other,
    }
}

pub(crate) fn of_settings(settings: &[ShownSetting]) -> Value {
    let member = |setting: &ShownSetting| {
        of(&SettingMember { key: setting.key, value: &setting.value, origin: setting.origin.to_string() })
    };
    Value::Array(settings.iter().map(member).collect())
}

pub(crate) fn of_code(entry: &CodeEntry) -> Value {
    of(&CodeMember {
        code: entry.code.to_string(),
        name: entry.name,
        meaning: entry.meaning,
        hint: entry.hint,
        retry: match entry.retry {
            Retry::Never => "never",
            Retry::Later => "later",
            Retry::Now => "now",
        },
        fault: match entry.fault {
            Fault::Peer => "peer",
            Fault::Here => "here",
            Fault::Network => "network",
        },
    })
}

/// A JSON object of texts.
pub(crate) fn object<const MEMBERS: usize>(members: [(&str, Value); MEMBERS]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The same with a blank for each character that a terminal might obey. Nothing, where it cannot be read back.
pub(crate) fn without_control_characters<T: Serialize + DeserializeOwned>(answer: &T) -> Option<T> {
    let mut value = serde_json::to_value(answer).ok()?;
    blank(&mut value);
    serde_json::from_value(value).ok()
}

fn blank(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(|next: char| next == '\n' || is_unsafe(next)) => {
            *text = text.replace(|next: char| next == '\n' || is_unsafe(next), " ");
        }
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Object(members) => members.values_mut().for_each(blank),
        _ => {}
    }
}

/// One line. What JSON leaves as it is and a terminal might obey is written as an escape, which reads back the same.
fn line(envelope: &Envelope<'_>) -> String {
    let text = serde_json::to_string(envelope).unwrap_or_default();
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if is_unsafe(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::ChangedAnswer;

    #[test]
    fn an_answer_goes_into_the_envelope_without_its_kind() {
        let answer = Answer::Changed(ChangedAnswer { message: "a\u{1b}[31m\u{9b}b\u{202e}".into() });
        let done_line = done("branchline.x/1", &Done::new(data_of(&answer), ""));
        let expected = "{\"schema\":\"branchline.x/1\",\"ok\":true,\
            \"data\":{\"message\":\"a\\u001b[31m\\u009bb\\u202e\"},\"warnings\":[],\"error\":null}\n";
        assert_eq!(done_line, expected);
        let cleaned = without_control_characters(&answer);
        assert_eq!(cleaned, Some(Answer::Changed(ChangedAnswer { message: "a [31m b ".into() })));
    }

    #[test]
    fn a_failure_has_no_data_and_ok_is_false() {
        let failure = Failure::usage("no such verb", "branchline help");
        let value: Value = serde_json::from_str(&failed("branchline.usage/1", &failure)).unwrap();
        assert_eq!(value["ok"], false);
        assert_eq!(value["data"], Value::Null);
        assert_eq!(value["error"]["code"], "BL-E0101");
        assert_eq!(value["error"]["retryable"], false);
        assert!(value["error"].get("faults").is_none());
    }
}
