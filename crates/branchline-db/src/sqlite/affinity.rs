//! What a declared type says of a column: its logical type, and which values it would change.
//!
//! The rules of affinity are SQLite's (<https://www.sqlite.org/datatype3.html>, section 3). What we make of them:
//!
//! | affinity | declared as | logical type |
//! |---|---|---|
//! | INTEGER | anything with `INT` in it | `int64`; `INTERVAL` is `text` |
//! | REAL | `REAL`, `FLOAT`, `DOUBLE` … | `float64` |
//! | BLOB | `BLOB`; nothing at all, or `ANY` of a STRICT table | `bytes`; `any` |
//! | NUMERIC | `BOOLEAN`, `BOOL` | `boolean` |
//! | | `JSON`, `JSONB` | `json` |
//! | | `DATE`, `DATETIME`, `TIMESTAMP`, `TIMESTAMPTZ`, `TIME`, `TIMETZ`, `UUID` | `text` |
//! | | `DECIMAL`, `NUMERIC`, anything else | `any` |
//! | TEXT | `TEXT`, `VARCHAR`, `CLOB` … | `text` |
//! | | with a type as its first word: `DECIMAL TEXT`, `NUMERIC_TEXT(12,2)`, `UUID TEXT`, `TIMESTAMP TEXT` … | that type |
//!
//! The last line is a convention of ours, for those who want exact decimals or typed dates in SQLite: such a column
//! keeps its text as it is, and compares as a value of the type.
//!
//! # What a column holds
//! SQLite changes a value on its way into a column where the affinity asks for it: `'12'` becomes `12` in an
//! INTEGER column, `5.0` becomes `5`, and a decimal of twenty digits in a DECIMAL column becomes a float. A value that
//! would be changed is not held, and is refused. NaN is held nowhere: SQLite makes it NULL.

use branchline_core::schema::LogicalType;

use super::stored::Stored;

/// How a column treats what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Real,
    Text,
    Numeric,
    /// Also called none: everything stays what it is.
    Blob,
}

/// What a column's declaration says of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnForm {
    pub(super) affinity: Affinity,
    /// The table is STRICT, and the column not ANY: only values of its own type are taken.
    pub(super) strict: bool,
}

impl Affinity {
    /// The affinity of a declared type.
    pub(super) fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if declared.is_empty() || has(&["BLOB"]) {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// A type whose declaration gives this affinity.
    pub(super) const fn declaration(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Text => "TEXT",
            Self::Numeric => "NUMERIC",
            Self::Blob => "",
        }
    }
}

impl ColumnForm {
    /// The form of a column of that declared type.
    pub(super) fn of(declared: &str, strict_table: bool) -> Self {
        if strict_table && declared.eq_ignore_ascii_case("ANY") {
            return Self { affinity: Affinity::Blob, strict: false };
        }
        Self { affinity: Affinity::of(declared), strict: strict_table }
    }

    /// Whether the column keeps `value` exactly as it is.
    pub(super) fn holds(self, value: &Stored<'_>) -> bool {
        match (value, self.affinity) {
            (Stored::Null, _) => true,
            (Stored::Real(real), _) if real.is_nan() => false,
            (Stored::Integer(_), affinity) => match affinity {
                Affinity::Integer | Affinity::Numeric => true,
                Affinity::Blob => !self.strict,
                Affinity::Real | Affinity::Text => false,
            },
            (Stored::Real(real), affinity) => match affinity {
                Affinity::Real => true,
                Affinity::Blob => !self.strict,
                // What has a whole value in the range of 64 bits becomes an integer.
                Affinity::Integer | Affinity::Numeric => {
                    !self.strict && (real.fract() != 0.0 || real.abs() > 9_223_372_036_854_775_808.0)
                }
                Affinity::Text => false,
            },
            (Stored::Text(text), affinity) => match affinity {
                Affinity::Text => true,
                Affinity::Blob => !self.strict,
                Affinity::Integer | Affinity::Real | Affinity::Numeric => {
                    !self.strict && !looks_like_a_number(text)
                }
            },
            (Stored::Blob(_), affinity) => !self.strict || affinity == Affinity::Blob,
        }
    }

    /// Whether no value of type `from` but NULL can be held: said before any row is read.
    ///
    /// A decimal is text to us, and a column of numeric affinity makes it a float.
    pub(super) fn refuses_all_of(self, from: &LogicalType) -> bool {
        matches!(from, LogicalType::Decimal(_))
            && matches!(self.affinity, Affinity::Integer | Affinity::Real | Affinity::Numeric)
    }
}

/// Whether SQLite would read the text as a number: spaces around it, a sign, digits, a fraction, an exponent.
fn looks_like_a_number(text: &str) -> bool {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r');
    let text = text.trim_matches(is_space);
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && !exponent.is_empty()
        && digits(exponent)
}

/// The logical type of a column that is declared as `declared` and has that form.
pub(super) fn logical_type(declared: &str, form: ColumnForm) -> LogicalType {
    use LogicalType as T;
    let first =
        declared.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_uppercase();
    match form.affinity {
        Affinity::Integer if first == "INTERVAL" => T::Text,
        Affinity::Integer => T::Int64,
        Affinity::Real => T::Float64,
        Affinity::Blob if declared.is_empty() || declared.eq_ignore_ascii_case("ANY") => T::Any,
        Affinity::Blob => T::Bytes,
        Affinity::Numeric => match first.as_str() {
            "BOOLEAN" | "BOOL" => T::Boolean,
            "JSON" | "JSONB" => T::Json,
            "DATE" | "DATETIME" | "TIMESTAMP" | "TIMESTAMPTZ" | "TIME" | "TIMETZ" | "UUID" => T::Text,
            _ => T::Any,
        },
        Affinity::Text => match first.as_str() {
            "DECIMAL" | "NUMERIC" => T::Decimal(precision_and_scale(declared)),
            "UUID" => T::Uuid,
            "DATE" => T::Date,
            "TIME" => T::Time,
            "TIMETZ" => T::TimeWithZone,
            "DATETIME" | "TIMESTAMP" => T::Timestamp,
            "TIMESTAMPTZ" => T::TimestampWithZone,
            "JSON" | "JSONB" => T::Json,
            _ => T::Text,
        },
    }
}

/// The numbers of `NUMERIC_TEXT(12,2)`.
fn precision_and_scale(declared: &str) -> Option<(u16, i16)> {
    let (_, numbers) = declared.strip_suffix(')')?.split_once('(')?;
    let (precision, scale) = numbers.split_once(',').unwrap_or((numbers, "0"));
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

#[cfg(test)]
mod tests;
