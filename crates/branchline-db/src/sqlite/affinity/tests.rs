//! SQLite itself is the witness: what a column is said to hold comes back as it was.

use branchline_core::schema::LogicalType;
use proptest::prelude::*;
use rusqlite::Connection;

use super::*;

#[test]
fn declared_types_give_logical_types() {
    use LogicalType as T;
    for (declared, expected) in [
        ("INTEGER", T::Int64),
        ("bigint", T::Int64),
        ("interval", T::Text),
        ("TEXT", T::Text),
        ("varchar(40)", T::Text),
        ("REAL", T::Float64),
        ("double precision", T::Float64),
        ("BLOB", T::Bytes),
        ("", T::Any),
        ("BOOLEAN", T::Boolean),
        ("json", T::Json),
        ("DATETIME", T::Text),
        ("uuid", T::Text),
        ("DECIMAL(10,2)", T::Any),
        ("MONEY", T::Any),
        ("DECIMAL TEXT", T::Decimal(None)),
        ("numeric_text(12,2)", T::Decimal(Some((12, 2)))),
        ("UUID TEXT", T::Uuid),
        ("DATE TEXT", T::Date),
        ("TIMESTAMP TEXT", T::Timestamp),
        ("TIMESTAMPTZ_TEXT", T::TimestampWithZone),
        ("JSON TEXT", T::Json),
    ] {
        assert_eq!(logical_type(declared, ColumnForm::of(declared, false)), expected, "{declared}");
    }
    assert_eq!(logical_type("ANY", ColumnForm::of("ANY", true)), T::Any);
    assert_eq!(logical_type("ANY", ColumnForm::of("ANY", false)), T::Any);
}

#[test]
fn what_a_column_would_change_is_not_held() {
    let text = |text: &'static str| Stored::Text(text.into());
    for (declared, value) in [
        ("INTEGER", text("12")),
        ("INTEGER", text(" 1e3 ")),
        ("INTEGER", Stored::Real(5.0)),
        ("DECIMAL(10,2)", text("12345678901234567.89")),
        ("DECIMAL(10,2)", Stored::Real(-0.0)),
        ("REAL", Stored::Integer(5)),
        ("REAL", text(".5")),
        ("TEXT", Stored::Integer(1)),
        ("TEXT", Stored::Real(1.5)),
        ("", Stored::Real(f64::NAN)),
    ] {
        assert!(!ColumnForm::of(declared, false).holds(&value), "{declared} {value:?}");
    }
    assert!(ColumnForm::of("DECIMAL", false).refuses_all_of(&LogicalType::Decimal(None)));
    assert!(!ColumnForm::of("DECIMAL TEXT", false).refuses_all_of(&LogicalType::Decimal(None)));
}

fn any_value() -> impl Strategy<Value = Stored<'static>> {
    prop_oneof![
        Just(Stored::Null),
        any::<i64>().prop_map(Stored::Integer),
        any::<f64>().prop_map(Stored::Real),
        any::<i64>().prop_map(|whole| Stored::Real(whole as f64)),
        (-9e18..9.4e18_f64).prop_map(|large| Stored::Real(large.round())),
        "[ \t]?[+-]?[0-9]{0,22}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?[ \n]?"
            .prop_map(|text| Stored::Text(text.into())),
        "\\PC{0,8}".prop_map(|text| Stored::Text(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Stored::Blob(bytes.into())),
    ]
}

proptest! {
    #[test]
    fn a_column_keeps_what_it_is_said_to_hold(
        value in any_value(),
        declared in prop::sample::select(vec![
            ("INTEGER", false), ("REAL", false), ("TEXT", false), ("NUMERIC", false), ("BOOLEAN", false), ("", false),
            ("BLOB", false), ("INTEGER", true), ("REAL", true), ("TEXT", true), ("BLOB", true), ("ANY", true),
        ]),
    ) {
        let (declared, strict) = declared;
        if !ColumnForm::of(declared, strict).holds(&value) {
            return Ok(());
        }
        let connection = Connection::open_in_memory().unwrap();
        let suffix = if strict { "STRICT" } else { "" };
        connection.execute_batch(&format!("CREATE TABLE t(k INTEGER PRIMARY KEY, v {declared}) {suffix}")).unwrap();
        connection.execute("INSERT INTO t(v) VALUES (?1)", [&value]).unwrap();
        let kept = connection.query_row("SELECT v FROM t", [], |row| Ok(Stored::of(row.get_ref(0)?).map(Stored::into_owned)));
        prop_assert_eq!(kept.unwrap().unwrap(), value);
    }
}
