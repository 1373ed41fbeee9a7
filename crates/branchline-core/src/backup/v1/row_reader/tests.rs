//! Rows that are written read back; rows that nobody wrote are refused, each with its fault.

use proptest::prelude::*;

use super::*;
use crate::backup::v1::RowWriter;
use crate::schema::{ColumnName, LogicalType};

fn columns(types: &[(&str, &str)]) -> Vec<ColumnSummary> {
    let column = |(name, logical_type): &(&str, &str)| ColumnSummary {
        name: ColumnName::new(*name).unwrap(),
        logical_type: logical_type.parse().unwrap(),
    };
    types.iter().map(column).collect()
}

fn table() -> TableName {
    TableName::new("t").unwrap()
}

fn written(columns: &[ColumnSummary], values: &[Value<'_>]) -> String {
    let mut writer = RowWriter::new(&table(), columns);
    writer.row(values).unwrap();
    String::from_utf8(writer.take().lines).unwrap()
}

fn reads_back(logical_type: &str, value: Value<'_>, expected: &str) {
    let columns = columns(&[("c", logical_type)]);
    let line = written(&columns, std::slice::from_ref(&value));
    assert_eq!(line, format!("{{\"c\":{expected}}},\n"), "{logical_type}");
    let mut values = Vec::new();
    RowReader::new(&table(), &columns).read(line.trim_end_matches(",\n").as_bytes(), 1, &mut values).unwrap();
    match (&values[..], &value) {
        ([Value::Float(read)], Value::Float(wrote)) if wrote.is_nan() => assert!(read.is_nan()),
        (read, wrote) => assert_eq!(read, std::slice::from_ref(wrote), "{logical_type}"),
    }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

fn json(text: &str) -> Value<'_> {
    Value::Json(text.into())
}

#[test]
fn every_kind_of_value_reads_back() {
    reads_back("int64", Value::Null, "null");
    reads_back("boolean", Value::Boolean(true), "true");
    reads_back("int64", Value::Integer(9_007_199_254_740_991), "9007199254740991");
    reads_back("int64", Value::Integer(9_007_199_254_740_992), "\"9007199254740992\"");
    reads_back("int64", Value::Integer(i64::MIN), "\"-9223372036854775808\"");
    reads_back("float64", Value::Float(0.1 + 0.2), "0.30000000000000004");
    reads_back("float64", Value::Float(5e-324), "5e-324");
    reads_back("float64", Value::Float(-0.0), "-0.0");
    reads_back("float64", Value::Float(f64::NAN), "\"NaN\"");
    reads_back("float64", Value::Float(f64::NEG_INFINITY), "\"-Infinity\"");
    reads_back("float32", Value::Float32(0.1), "0.1");
    reads_back("text", text("a\n\"\\\u{1}\u{7f}😀"), "\"a\\n\\\"\\\\\\u0001\\u007f😀\"");
    reads_back("decimal(12,2)", text("1.10"), "\"1.10\"");
    reads_back("bytes", Value::Bytes(vec![0, 255].into()), "\"AP8=\"");
    reads_back(
        "array<int32>",
        Value::Array(vec![Value::Null, Value::Array(vec![Value::Integer(1)])]),
        "[null,[1]]",
    );
}

#[test]
fn json_is_embedded_only_where_it_can_be_told_apart() {
    reads_back("jsonb", json(r#"{"a": [1, 2.50]}"#), r#"{"a": [1, 2.50]}"#);
    reads_back("json", json("\"text\""), "\"text\"");
    reads_back("json", json("null"), r#"{"$json":"null"}"#);
    reads_back("json", json("{\n}"), r#"{"$json":"{\n}"}"#);
    reads_back("json", json(" 1"), r#"{"$json":" 1"}"#);
    reads_back("json", json(r#"{"a":1,"a":2}"#), r#"{"$json":"{\"a\":1,\"a\":2}"}"#);
    reads_back("jsonb", json(r#"{"$int":"1"}"#), r#"{"$json":"{\"$int\":\"1\"}"}"#);
    reads_back("array<jsonb>", Value::Array(vec![json("[1]")]), r#"[{"$json":"[1]"}]"#);
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    reads_back("json", json(&nested(31)), &nested(31));
    reads_back("json", json(&nested(32)), &format!("{{\"$json\":\"{}\"}}", nested(32)));
}

#[test]
fn a_value_of_another_kind_carries_a_tag() {
    reads_back("text", Value::Integer(5), r#"{"$int":"5"}"#);
    reads_back("int64", text("abc"), r#"{"$text":"abc"}"#);
    reads_back("int64", Value::Float(1.5), r#"{"$float":1.5}"#);
    reads_back("text", Value::Bytes(vec![1].into()), r#"{"$bytes":"AQ=="}"#);
    reads_back("any", Value::Integer(5), r#"{"$int":"5"}"#);
    reads_back("any", text("5"), "\"5\"");
    reads_back("array<int32>", text("[2:3]={1,2}"), r#"{"$text":"[2:3]={1,2}"}"#);
}

#[test]
fn a_column_whose_name_begins_with_a_dollar_is_no_member_of_ours() {
    let columns = columns(&[("$deleted", "text"), ("a\"b", "int32")]);
    let line = written(&columns, &[text("x"), Value::Integer(1)]);
    assert_eq!(line, "{\"$$deleted\":\"x\",\"a\\\"b\":1},\n");
    let mut values = Vec::new();
    RowReader::new(&table(), &columns).read(br#"{"a\u0022b":1,"$$deleted":"x"}"#, 1, &mut values).unwrap();
    assert_eq!(values, [text("x"), Value::Integer(1)]);
}

#[test]
fn what_is_not_a_row_is_refused_with_its_fault() {
    let columns = columns(&[("a", "int32"), ("b", "jsonb"), ("c", "text")]);
    let reader = RowReader::new(&table(), &columns);
    let deep = format!(r#"{{"a":1,"b":{}{},"c":""}}"#, "[".repeat(32), "]".repeat(32));
    for (object, fault) in [
        ("", RowFault::Malformed),
        ("{", RowFault::Malformed),
        (r#"{"a":1,"b":2,"c":"x""#, RowFault::Malformed),
        (r#"{"a":1,"b":2,"c":"x"}}"#, RowFault::Malformed),
        (r#"{"a":1,"b":2,"c":"x"} "#, RowFault::Malformed),
        (r#"{"a":1,"b":2,"c":"x","c":"x"}"#, RowFault::DuplicateMember),
        (r#"{"a":1,"a":1,"b":2,"c":"x"}"#, RowFault::DuplicateMember),
        (r#"{"a":1,"b":{"x":1,"\u0078":2},"c":"x"}"#, RowFault::DuplicateMember),
        (r#"{"a":1,"b":2,"c":"x","d":4}"#, RowFault::UnknownColumn),
        (r#"{"a":1,"b":2}"#, RowFault::MissingColumn),
        (r#"{"a":"x","b":2,"c":"x"}"#, RowFault::WrongType),
        (r#"{"a":1.5,"b":2,"c":"x"}"#, RowFault::WrongType),
        (r#"{"a":99999999999999999999,"b":2,"c":"x"}"#, RowFault::WrongType),
        (r#"{"a":1,"b":2,"c":5}"#, RowFault::WrongType),
        (r#"{"a":1,"b":{"x":1,"$y":2},"c":"x"}"#, RowFault::Malformed),
        (r#"{"a":1,"b":{"$json":"{"},"c":"x"}"#, RowFault::Malformed),
        (r#"{"a":1,"b":{"$who":"{"},"c":"x"}"#, RowFault::Malformed),
        (r#"{"a":1,"b":2,"c":"\ud800"}"#, RowFault::Malformed),
        (&deep, RowFault::TooDeep),
    ] {
        let found = reader.read(object.as_bytes(), 7, &mut Vec::new()).unwrap_err();
        assert_eq!((found.row, found.fault), (7, fault), "{object}");
    }
    assert_eq!(
        reader.read(b"{\"a\":1,\"b\":2,\"c\":\"\xff\"}", 1, &mut Vec::new()).unwrap_err().fault,
        RowFault::Malformed
    );
}

#[test]
fn a_row_is_bounded() {
    let columns = columns(&[("c", "text")]);
    let around = "{\"c\":\"\"}".len();
    let row = |bytes: usize| {
        RowWriter::new(&table(), &columns).row(&[text(&"x".repeat(bytes - around))]).map_err(|e| e.fault)
    };
    assert_eq!(row(ROW_BYTES_MAX), Ok(()));
    assert_eq!(row(ROW_BYTES_MAX + 1), Err(RowFault::TooLarge));
    let object = |bytes: usize| format!("{{\"c\":\"{}\"}}", "x".repeat(bytes - around)).into_bytes();
    let read = |object: Vec<u8>| {
        RowReader::new(&table(), &columns).read(&object, 1, &mut Vec::new()).map_err(|e| e.fault)
    };
    assert_eq!(read(object(ROW_BYTES_MAX)), Ok(()));
    assert_eq!(read(object(ROW_BYTES_MAX + 1)), Err(RowFault::TooLarge));
}

fn any_value() -> impl Strategy<Value = (LogicalType, Value<'static>)> {
    use LogicalType as T;
    prop_oneof![
        any::<i64>().prop_map(|i| (T::Int64, Value::Integer(i))),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |f| !f.is_nan())
            .prop_map(|f| (T::Float64, Value::Float(f))),
        any::<f32>()
            .prop_filter("NaN is not equal to itself", |f| !f.is_nan())
            .prop_map(|f| (T::Float32, Value::Float32(f))),
        any::<String>().prop_map(|text| (T::Text, Value::Text(text.into()))),
        any::<String>().prop_map(|text| (T::Int32, Value::Text(text.into()))),
        any::<Vec<u8>>().prop_map(|bytes| (T::Bytes, Value::Bytes(bytes.into()))),
        any::<bool>().prop_map(|b| (T::Boolean, Value::Boolean(b))),
        proptest::collection::vec(any::<String>(), 0..4).prop_map(|items| {
            let items = items.into_iter().map(|text| Value::Text(text.into())).collect();
            (T::Array(Box::new(T::Text)), Value::Array(items))
        }),
    ]
}

proptest! {
    #[test]
    fn any_row_reads_back(cells in proptest::collection::vec(any_value(), 1..6)) {
        let column = |(place, (logical_type, _)): (usize, &(LogicalType, Value<'static>))| ColumnSummary {
            name: ColumnName::new(format!("c{place}")).unwrap(),
            logical_type: logical_type.clone(),
        };
        let columns: Vec<_> = cells.iter().enumerate().map(column).collect();
        let wrote: Vec<_> = cells.into_iter().map(|(_, value)| value).collect();
        let line = written(&columns, &wrote);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let mut read = Vec::new();
        RowReader::new(&table(), &columns).read(line.trim_end_matches(",\n").as_bytes(), 1, &mut read).unwrap();
        prop_assert_eq!(read, wrote);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(object in any::<Vec<u8>>()) {
        let columns = columns(&[("a", "int32"), ("b", "jsonb")]);
        let _ = RowReader::new(&table(), &columns).read(&object, 1, &mut Vec::new());
    }
}
