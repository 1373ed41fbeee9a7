//! An exact sum of decimals: an integer and how many of its digits stand behind the point.
//!
//! Limits: 38 digits in all. What does not fit is an error, never a rounded sum.

use std::fmt;

use crate::value::Value;

/// Digits behind the point that a sum can keep.
const SCALE_MAX: u32 = 30;

/// An exact sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    units: i128,
    scale: u32,
}

/// A value that cannot be added up exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value} cannot be added up exactly")]
pub struct SumError {
    /// The value.
    pub value: String,
}

impl Sum {
    /// Adds a value; NULL adds nothing.
    ///
    /// # Errors
    /// Where it is no finite number, or the sum has too many digits.
    pub fn add(&mut self, value: &Value<'_>) -> Result<(), SumError> {
        let text = match value {
            Value::Null => return Ok(()),
            Value::Integer(integer) => integer.to_string(),
            Value::Float(float) if float.is_finite() => format!("{float}"),
            Value::Float32(float) if float.is_finite() => format!("{float}"),
            Value::Text(text) => text.trim().to_owned(),
            other => return Err(SumError { value: format!("{other:?}") }),
        };
        let added = parse(&text).and_then(|added| self.plus(added));
        *self = added.ok_or(SumError { value: text })?;
        Ok(())
    }

    fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let units = self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?;
        Some(Self { units, scale })
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        self.units.checked_mul(10_i128.checked_pow(scale - self.scale)?)
    }
}

fn parse(text: &str) -> Option<Sum> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= SCALE_MAX)?;
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(Sum { units: units * sign, scale })
}

/// A plain decimal without needless zeros, so that equal sums have one text.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::try_from(self.scale).unwrap_or_default();
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.units < 0 { "-" } else { "" };
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            fraction => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(values: &[Value<'_>]) -> Result<String, SumError> {
        let mut sum = Sum::default();
        for value in values {
            sum.add(value)?;
        }
        Ok(sum.to_string())
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[test]
    fn sums_are_exact_and_have_one_text() {
        assert_eq!(sum_of(&[text("0.1"), text("0.2")]).unwrap(), "0.3");
        assert_eq!(sum_of(&[text("10.10"), text("-0.1"), Value::Null]).unwrap(), "10");
        assert_eq!(sum_of(&[text("-0.05"), Value::Integer(-1)]).unwrap(), "-1.05");
        assert_eq!(sum_of(&[Value::Float(0.1), Value::Float(0.2)]).unwrap(), "0.3");
        assert_eq!(sum_of(&[]).unwrap(), "0");
        let million = vec![text("9999999999.99"); 1_000];
        assert_eq!(sum_of(&million).unwrap(), "9999999999990");
    }

    #[test]
    fn what_is_no_finite_number_is_refused() {
        for value in
            [text("NaN"), text("1e3"), text(""), text("."), Value::Float(f64::NAN), Value::Boolean(true)]
        {
            assert!(sum_of(std::slice::from_ref(&value)).is_err(), "{value:?}");
        }
        let large = text("170141183460469231731687303715884105727");
        assert!(sum_of(&[large.clone(), large]).is_err());
    }
}
