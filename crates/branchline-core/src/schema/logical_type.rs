//! What the values of a column are, in words that every engine shares.
//!
//! | written | values |
//! |---|---|
//! | `boolean` | true, false |
//! | `int16`, `int32`, `int64` | integers of that width |
//! | `float32`, `float64` | IEEE 754 binary, NaN and infinities included |
//! | `decimal`, `decimal(12,2)` | exact decimals; precision and scale where the column declares them |
//! | `text`, `bytes`, `uuid` | |
//! | `date`, `time`, `timetz`, `timestamp`, `timestamptz`, `interval` | ISO 8601, with `infinity` and ` BC` |
//! | `json`, `jsonb` | JSON kept as text, and JSON kept as a value |
//! | `enum` | one label of a list |
//! | `array<…>` | arrays of any depth of one element type |
//! | `any` | a SQLite column without a type: text, or a tagged value |
//! | `native:NAME` | another type, in the one text form that its own database writes and reads |

use std::fmt;
use std::str::FromStr;

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table above says what each is")]
pub enum LogicalType {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    /// Total digits, and digits after the point (PostgreSQL allows a negative number of those).
    Decimal(Option<(u16, i16)>),
    Text,
    Bytes,
    Uuid,
    Date,
    Time,
    TimeWithZone,
    Timestamp,
    TimestampWithZone,
    Interval,
    Json,
    JsonBinary,
    Enumeration,
    Array(Box<LogicalType>),
    Any,
    Native(String),
}

/// Why a text is not a logical type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown logical type {text:?}")]
pub struct LogicalTypeError {
    /// The text, cut to 80 characters.
    pub text: String,
}

impl LogicalType {
    /// Whether a value of this type is text in one of its canonical forms.
    #[must_use]
    pub fn is_textual(&self) -> bool {
        use LogicalType as T;
        matches!(
            self,
            T::Decimal(_)
                | T::Text
                | T::Uuid
                | T::Date
                | T::Time
                | T::TimeWithZone
                | T::Timestamp
                | T::TimestampWithZone
                | T::Interval
                | T::Enumeration
                | T::Native(_)
        )
    }

    /// Whether this is one of the integer types.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Int16 | Self::Int32 | Self::Int64)
    }
}

const PLAIN: [(&str, LogicalType); 20] = [
    ("boolean", LogicalType::Boolean),
    ("int16", LogicalType::Int16),
    ("int32", LogicalType::Int32),
    ("int64", LogicalType::Int64),
    ("float32", LogicalType::Float32),
    ("float64", LogicalType::Float64),
    ("decimal", LogicalType::Decimal(None)),
    ("text", LogicalType::Text),
    ("bytes", LogicalType::Bytes),
    ("uuid", LogicalType::Uuid),
    ("date", LogicalType::Date),
    ("time", LogicalType::Time),
    ("timetz", LogicalType::TimeWithZone),
    ("timestamp", LogicalType::Timestamp),
    ("timestamptz", LogicalType::TimestampWithZone),
    ("interval", LogicalType::Interval),
    ("json", LogicalType::Json),
    ("jsonb", LogicalType::JsonBinary),
    ("enum", LogicalType::Enumeration),
    ("any", LogicalType::Any),
];

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal(Some((precision, scale))) => write!(f, "decimal({precision},{scale})"),
            Self::Array(element) => write!(f, "array<{element}>"),
            Self::Native(name) => write!(f, "native:{name}"),
            plain => match PLAIN.iter().find(|(_, known)| known == plain) {
                Some((name, _)) => f.pad(name),
                None => Err(fmt::Error),
            },
        }
    }
}

impl FromStr for LogicalType {
    type Err = LogicalTypeError;

    fn from_str(text: &str) -> Result<Self, LogicalTypeError> {
        let unknown = || LogicalTypeError { text: text.chars().take(80).collect() };
        if let Some((_, plain)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(plain.clone());
        }
        if let Some(inner) = text.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>')) {
            // Dimensions are in the value, not in the type: an element is never an array itself.
            return match inner.parse().map_err(|_| unknown())? {
                Self::Array(_) => Err(unknown()),
                element => Ok(Self::Array(Box::new(element))),
            };
        }
        if let Some(inner) = text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
            let (precision, scale) = inner.split_once(',').ok_or_else(unknown)?;
            let numbers = (precision.parse().map_err(|_| unknown())?, scale.parse().map_err(|_| unknown())?);
            return Ok(Self::Decimal(Some(numbers)));
        }
        match text.strip_prefix("native:") {
            Some(name) if !name.is_empty() && name.len() <= 255 && !name.chars().any(char::is_control) => {
                Ok(Self::Native(name.to_owned()))
            }
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back() {
        let composed =
            ["decimal(12,2)", "decimal(3,-2)", "array<text>", "array<decimal(4,1)>", "native:int4range"];
        for text in PLAIN.iter().map(|(name, _)| *name).chain(composed) {
            assert_eq!(text.parse::<LogicalType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn unknown_types_are_refused() {
        for text in
            ["", "int", "array<", "array<array<text>>", "decimal(1)", "native:", "INT32", "native:a\nb"]
        {
            assert!(text.parse::<LogicalType>().is_err(), "{text:?}");
        }
    }
}
