//! Tests of days, tallies and what agrees.

use super::*;

fn day(date: &str, zone: &str) -> BusinessDay {
    BusinessDay::new(date.parse().unwrap(), &TimeZone::get(zone).unwrap()).unwrap()
}

#[test]
fn a_day_is_as_long_as_the_clocks_make_it() {
    let hours = |day: &BusinessDay| day.end().duration_since(day.start()).as_hours();
    assert_eq!(hours(&day("2026-03-29", "Europe/Berlin")), 23);
    assert_eq!(hours(&day("2026-10-25", "Europe/Berlin")), 25);
    assert_eq!(hours(&day("2026-11-27", "Africa/Harare")), 24);
}

#[test]
fn the_range_includes_both_ends_and_reads_back() {
    let day = day("2025-12-06", "UTC");
    let range = day.range();
    assert_eq!(range.start.to_string(), "2025-12-06T00:00:00Z");
    assert_eq!(range.end.to_string(), "2025-12-06T23:59:59.999999999Z");
    assert_eq!(BusinessDay::of_range(day.date(), range), day);
}

#[test]
fn a_row_is_of_the_day_by_the_kind_of_its_date() {
    let day = day("2026-11-27", "Africa/Harare");
    let holds = |text: &str, logical_type: LogicalType| day.holds(&Value::Text(text.into()), &logical_type);
    assert!(holds("2026-11-27", LogicalType::Date));
    assert!(!holds("2026-11-28", LogicalType::Date));
    assert!(holds("2026-11-27T23:59:59.9", LogicalType::Timestamp));
    assert!(!holds("2026-11-28T00:00:00", LogicalType::Timestamp));
    assert!(holds("2026-11-26T22:00:00Z", LogicalType::TimestampWithZone));
    assert!(!holds("2026-11-26T21:59:59.999999Z", LogicalType::TimestampWithZone));
    assert!(!holds("2026-11-27T22:00:00Z", LogicalType::TimestampWithZone));
    assert!(holds("2026-11-27 08:00:00", LogicalType::Text));
    assert!(!holds("2026-11-277", LogicalType::Text));
    assert!(!day.holds(&Value::Null, &LogicalType::Date));
}

#[test]
fn a_tally_counts_the_rows_of_the_day_alone() {
    let day = day("2026-11-27", "UTC");
    let table = DayTable {
        table: TableName::new("orders").unwrap(),
        date: ColumnName::new("date").unwrap(),
        money: vec![ColumnName::new("total").unwrap()],
        only: Vec::new(),
    };
    let mut tally = Tally::new(&day, &table);
    for (date, total) in [("2026-11-27", "12.50"), ("2026-11-26", "99"), ("2026-11-27", "-2.5")] {
        let (date, total) = (Value::Text(date.into()), Value::Text(total.into()));
        tally.add((&date, &LogicalType::Date), &[total]).unwrap();
    }
    let here = tally.finish();
    assert_eq!((here.rows, here.sums.as_slice()), (2, ["10".to_owned()].as_slice()));
    let said = |sum: &str| DayTotals { sums: vec![sum.to_owned()], ..here.clone() };
    assert!(DayCheck { there: said("10"), here: Some(here.clone()) }.agrees());
    assert!(!DayCheck { there: said("10.01"), here: Some(here.clone()) }.agrees());
    assert!(!DayCheck { there: said("10"), here: None }.agrees());
}

#[test]
fn a_close_in_the_morning_is_about_the_day_before() {
    let closes = |moment: &str| closing_date(&moment.parse().unwrap()).to_string();
    assert_eq!(closes("2026-11-27T22:30[Africa/Harare]"), "2026-11-27");
    assert_eq!(closes("2026-11-28T00:10[Africa/Harare]"), "2026-11-27");
    assert_eq!(closes("2026-11-28T08:00[Africa/Harare]"), "2026-11-27");
    assert_eq!(closes("2026-11-28T12:00[Africa/Harare]"), "2026-11-28");
}
