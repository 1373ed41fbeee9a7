//! What is JSON and what is not.

use super::*;

#[test]
fn json_is_accepted_with_its_shape() {
    let shape = |depth, duplicates, dollar_member| Shape { depth, duplicates, dollar_member };
    for (text, expected) in [
        ("null", shape(0, false, false)),
        (" -0.5e+10 ", shape(0, false, false)),
        (r#""a\"\\\/\b\f\n\r\t\u00e9""#, shape(0, false, false)),
        ("[]", shape(1, false, false)),
        ("[1, [2, {\"a\": []}]]", shape(4, false, false)),
        (r#"{"a":{"$b":1}}"#, shape(2, false, false)),
        (r#"{"$a":1}"#, shape(1, false, true)),
        (r#"{"a":1,"b":2,"a":3}"#, shape(1, true, false)),
        (r#"[{"a":1,"\u0061":3}]"#, shape(2, true, false)),
        (r#""\ud800""#, shape(0, false, false)),
    ] {
        assert_eq!(check(text.as_bytes()), Ok(expected), "{text}");
    }
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        " ",
        "nul",
        "tru e",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "--1",
        "NaN",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[1 2]",
        "]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{,}",
        "[}",
        "{]",
        "1 2",
        "null x",
        "\"\u{1}\"",
    ] {
        assert_eq!(check(text.as_bytes()), Err(JsonFault::Syntax), "{text:?}");
    }
    assert_eq!(check(&[b'"', 0xff, b'"']), Err(JsonFault::Syntax));
}

#[test]
fn depth_is_bounded_by_a_number_and_not_by_the_stack() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let value = |depth: usize, depth_max: usize| {
        Scanner::new(nested(depth).as_bytes()).value(depth_max).map(|(_, shape)| shape.depth)
    };
    assert_eq!(value(32, 32), Ok(32));
    assert_eq!(value(33, 32), Err(JsonFault::TooDeep));
    assert_eq!(check(nested(1_000_000).as_bytes()).map(|shape| shape.depth), Ok(1_000_000));
}

#[test]
fn strings_read_back() {
    let all: String = (0..0x300).filter_map(char::from_u32).chain("😀\u{10ffff}".chars()).collect();
    let mut written = Vec::new();
    write_string(&all, &mut written);
    assert!(!written.contains(&b'\n'));
    let raw = Scanner::new(&written).string().unwrap();
    assert_eq!(unescape(raw).unwrap(), all);
    assert_eq!(unescape(br"\ud83d\ude00").unwrap(), "😀");
    assert_eq!(unescape(br"\ud83d"), Err(JsonFault::Syntax));
}
