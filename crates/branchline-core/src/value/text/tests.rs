//! Check tables: what is a value of each type, and what is not.

use super::*;

fn check(logical_type: LogicalType, good: &[&str], bad: &[&str]) {
    for text in good {
        assert_eq!(canonical(text, &logical_type).as_deref(), Some(*text), "{logical_type} {text:?}");
    }
    for text in bad {
        assert_eq!(canonical(text, &logical_type), None, "{logical_type} {text:?}");
    }
}

#[test]
fn decimals() {
    let long = "9".repeat(1_000);
    check(
        LogicalType::Decimal(None),
        &["0", "-1", "1.10", "0.000", "NaN", "Infinity", "-Infinity", &long],
        &["", "+1", "1.", ".5", "1e5", " 1", "1 ", "--1", "nan", "0x1", "1,5"],
    );
    check(
        LogicalType::Decimal(Some((4, 2))),
        &["99.99", "1.100", "-0.01", "0099.5", "NaN"],
        &["100", "1.001", "Infinity"],
    );
    check(LogicalType::Decimal(Some((2, -2))), &["0", "9900", "100"], &["9950", "10000", "0.1"]);
    check(LogicalType::Decimal(Some((2, 3))), &["0.099", "0"], &["1"]);
}

#[test]
fn uuids_dates_and_times() {
    check(
        LogicalType::Uuid,
        &["019a2f4e-0000-7000-8000-00000000000f"],
        &["019a2f4e00007000800000000000000f", ""],
    );
    check(
        LogicalType::Date,
        &["2024-02-29", "0044-03-15 BC", "infinity", "-infinity", "12025-01-01"],
        &[
            "2025-02-29",
            "2025-13-01",
            "2025-1-1",
            "25-01-01",
            "2025-04-31",
            "0000-01-01",
            "now",
            "2025-01-01T",
        ],
    );
    check(
        LogicalType::Time,
        &["00:00:00", "23:59:59.999999", "24:00:00"],
        &["24:00:01", "1:00:00", "12:60:00", "12:00", "12:00:00."],
    );
    check(
        LogicalType::TimeWithZone,
        &["12:00:00+02", "12:00:00.5-05:30"],
        &["12:00:00", "12:00:00Z", "12:00:00+2"],
    );
}

#[test]
fn a_uuid_in_capitals_is_brought_to_small_letters() {
    let text = canonical("019A2F4E-0000-7000-8000-00000000000F", &LogicalType::Uuid);
    assert_eq!(text.as_deref(), Some("019a2f4e-0000-7000-8000-00000000000f"));
    assert_eq!(canonical("019A2F4E-0000-7000-8000-00000000000G", &LogicalType::Uuid), None);
}

#[test]
fn timestamps_are_brought_to_one_form() {
    check(
        LogicalType::Timestamp,
        &["2025-12-06T23:59:59", "2025-12-06T23:59:59.5", "0044-03-15T12:00:00 BC", "infinity"],
        &["2025-12-06T23:59:59Z", "2025-12-06", "2025-12-06T23:59", "yesterday"],
    );
    check(
        LogicalType::TimestampWithZone,
        &["2025-12-06T23:59:59Z", "0044-03-15T12:00:00Z BC"],
        &["2025-12-06T23:59:59", "2025-12-06T23:59:59+02"],
    );
    let canonical = |text| super::canonical(text, &LogicalType::Timestamp).unwrap().into_owned();
    assert_eq!(canonical("2025-12-06 23:59:59"), "2025-12-06T23:59:59");
    assert_eq!(canonical("2025-12-06 23:59:59.500"), "2025-12-06T23:59:59.5");
    assert_eq!(canonical("2025-12-06T23:59:59.000"), "2025-12-06T23:59:59");
}

#[test]
fn intervals() {
    check(
        LogicalType::Interval,
        &["P1Y2M3DT4H5M6.7S", "PT0S", "P-1D", "PT-1H-0.5S", "P178000000Y"],
        &["", "P", "PT", "1 day", "P1D2M", "P1.5D", "PT1S1S", "P1"],
    );
}
