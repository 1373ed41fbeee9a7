//! The round trip of every built-in type at its edges: PostgreSQL to backup to PostgreSQL, under a session whose
//! defaults are hostile, compares equal and is the same text.

use branchline_testkit::database::{TestBackup, hashes_of, worked};

use super::database::TestDatabase;

/// Each type's name in SQL, with literals of it.
const TYPES: &[(&str, &[&str])] = &[
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768", "0", "32767"]),
    ("integer", &["-2147483648", "2147483647"]),
    ("bigint", &["'-9223372036854775808'", "9007199254740991", "9007199254740993", "9223372036854775807"]),
    (
        "numeric",
        &[
            "'NaN'",
            "0",
            "0.000",
            "1.10",
            "-0.1",
            "repeat('9', 1000)::numeric",
            "('0.' || repeat('3', 1000))::numeric",
            "('-' || repeat('7', 500) || '.' || repeat('1', 500))::numeric",
            "1e131071",
            "1e-1000",
        ],
    ),
    ("numeric(12,2)", &["9999999999.99", "'NaN'", "0.10"]),
    ("real", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0.1", "3.4028235e38", "1e-45", "16777217"]),
    (
        "double precision",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'-0'",
            "0.1",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "5e-324",
            "123456789.123456789",
            "1e21",
            "1e-7",
        ],
    ),
    ("money", &["'-92233720368547758.08'", "'12.34'", "'0'"]),
    (
        "text",
        &[
            "''",
            "' '",
            "'NULL'",
            r"'\N'",
            r"'\.'",
            r"'a\b'",
            "E'\\t\\n\\r\\b\\f\\v'",
            "E'\\x01\\x7f'",
            "'quote\" and ''apostrophe'''",
            "'ü 中 🍞'",
            "U&'\\+010000\\+01F600\\+02FA1D\\+0E0001\\+0F0000\\+10FFFD'",
            "U&'\\2028\\2029\\FEFF\\FFFF\\D7FF\\E000'",
            "repeat('x', 1048576)",
            "repeat('ü\"', 100000)",
            "'$'",
            "'{\"$text\":\"x\"}'",
        ],
    ),
    ("varchar(10)", &["'0123456789'", "'ü'", "''"]),
    ("char(5)", &["'ab'", "''", "'abcde'"]),
    ("bpchar", &["'ab  '"]),
    ("name", &["'a name'"]),
    ("\"char\"", &["'x'", "''"]),
    ("bytea", &["''", "'\\x00ff0a5c'", "decode(repeat('5c', 1000), 'hex')"]),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'"]),
    (
        "date",
        &[
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 BC'",
            "'4713-01-01 BC'",
            "'5874897-12-31'",
            "'2024-02-29'",
        ],
    ),
    ("time", &["'00:00:00'", "'24:00:00'", "'23:59:59.999999'", "'08:00:00.5'"]),
    ("time(0)", &["'08:00:01'"]),
    ("time with time zone", &["'24:00:00-15:59:59'", "'00:00:00+15:59'", "'12:00:00.5+05:45'"]),
    (
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 00:00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'2025-01-01 08:00:00.5'",
        ],
    ),
    (
        "timestamp with time zone",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 00:00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'2025-03-30 02:30:00+01'",
            "'1883-11-18 12:00:00+00'",
        ],
    ),
    ("timestamp(3) with time zone", &["'2025-01-01 08:00:00.125+00'"]),
    (
        "interval",
        &[
            "'0'",
            "'1 year 2 months 3 days 4 hours 5 minutes 6.7 seconds'",
            "'-1 year 2 days -3:04:05.000001'",
            "'-178000000 years'",
            "'178000000 years'",
            "'-0.5 seconds'",
            "'1 month'",
            "'30 days'",
            "'24 hours'",
            "'-0.000001 s'",
            "'2562047788 hours 54.775807 seconds'",
        ],
    ),
    ("interval year to month", &["'1 year 2 months'"]),
    (
        "json",
        &[
            "'null'",
            "'{\"a\":1,\"a\":2, \"b\" : [ 1.10 , null ]}'",
            "'{\"$json\":\"x\"}'",
            "'{\"$text\":1}'",
            "' \"text\" '",
            "E'{\\n\"line\":\\n\"break\"}'",
            "(repeat('[', 60) || repeat(']', 60))::json",
            "'1e400'",
            "'12345678901234567890.10'",
            "'\"\\u0000\"'",
            "'[\"\\ud83d\\ude00\"]'",
        ],
    ),
    (
        "jsonb",
        &[
            "'null'",
            "'{\"b\":1,\"a\":[1.10,null]}'",
            "'{\"$deleted\":true}'",
            "(repeat('[', 60) || repeat(']', 60))::jsonb",
            "'9007199254740993'",
            "'\"\\n\"'",
        ],
    ),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    ("xml", &["'<a b=\"c\">text &amp; more</a>'", "'just text'"]),
    ("inet", &["'192.168.0.1/24'", "'::1'", "'10.0.0.1'"]),
    ("cidr", &["'10.0.0.0/8'", "'2001:db8::/32'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("bit(3)", &["B'101'"]),
    ("varbit", &["B''", "B'1010101'"]),
    ("point", &["'(1.5,-0.1)'", "'(Infinity,NaN)'"]),
    ("line", &["'{1,-1,0.1}'"]),
    ("lseg", &["'[(0,0),(1,1)]'"]),
    ("box", &["'(1,1),(0,0)'"]),
    ("path", &["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"]),
    ("polygon", &["'((0,0),(1,1),(1,0))'"]),
    ("circle", &["'<(0,0),1.5>'"]),
    ("tsvector", &["'''a b'':1A cat:2'"]),
    ("tsquery", &["'cat & !dog | (bird <-> fish)'"]),
    ("int4range", &["'empty'", "'[1,5)'", "'(,)'"]),
    ("int8range", &["'[1,9223372036854775807)'"]),
    ("numrange", &["'(0.10,1.5]'"]),
    ("tsrange", &["'[2025-01-01 08:00,infinity)'"]),
    ("tstzrange", &["'[2025-01-01 08:00+02,)'"]),
    ("daterange", &["'[2025-01-01,2025-02-01)'"]),
    ("oid", &["0", "4294967295"]),
    ("regclass", &["'pg_class'", "'public.matrix_0'"]),
    ("regtype", &["'integer'"]),
    ("pg_lsn", &["'16/B374D848'"]),
    ("txid_snapshot", &["'10:20:10,14,15'"]),
    ("tid", &["'(1,2)'"]),
    ("xid8", &["'18446744073709551615'"]),
    ("integer[]", &["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[2:3]={1,2}'", "'[0:0][5:6]={{1,2}}'"]),
    ("text[]", &["ARRAY['', 'NULL', NULL, 'a,b', 'q\"', '\\', '{}', E'\\n\\t']", "'{{a,b},{c,d}}'"]),
    ("bytea[]", &["ARRAY['\\x00ff'::bytea, NULL, '']"]),
    ("jsonb[]", &["ARRAY['null'::jsonb, NULL, '{\"a\": [1]}', '\"x\"']"]),
    ("json[]", &["ARRAY['{\"a\":1,\"a\":2}'::json, 'null']"]),
    ("boolean[]", &["'{t,f,NULL}'"]),
    ("double precision[]", &["'{NaN,Infinity,-0,0.1}'"]),
    ("numeric(5,2)[]", &["'{1.10,NaN}'"]),
    ("timestamp with time zone[]", &["'{\"2025-01-01 08:00:00.5+00\",infinity,NULL}'"]),
    ("uuid[]", &["'{00000000-0000-0000-0000-000000000001}'"]),
    ("interval[]", &["'{\"1 day -00:00:01\"}'"]),
    ("box[]", &["'{(1,1),(0,0);(2,2),(1,1)}'"]),
    ("int4range[]", &["'{\"[1,5)\",empty}'"]),
    ("varchar(3)[]", &["'{abc,d}'"]),
    ("mood", &["'happy'", "'it''s \"so, so\"'"]),
    ("mood[]", &["'{happy,NULL,\"it''s \\\"so, so\\\"\"}'"]),
    ("price", &["0.10"]),
    ("price[]", &["'{0.10,2}'"]),
    ("\"odd Name\".\"Pair\"", &["ROW(1, 'a,b\"(')", "ROW(NULL, NULL)"]),
    ("\"odd Name\".\"Pair\"[]", &["ARRAY[ROW(1, 'x')::\"odd Name\".\"Pair\", NULL]"]),
    ("priced", &["'[0.10,5)'"]),
];

/// Types that came with version 14.
const TYPES_14: &[(&str, &[&str])] =
    &[("int4multirange", &["'{}'", "'{[1,3),[5,7)}'"]), ("datemultirange", &["'{[2025-01-01,2025-01-02)}'"])];

const OTHERS: &str = r#"
    CREATE SCHEMA "odd Name";
    CREATE TYPE mood AS ENUM ('sad', 'happy', 'it''s "so, so"');
    CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE >= 0);
    CREATE TYPE "odd Name"."Pair" AS (number int, "text" text);
    CREATE TYPE priced AS RANGE (subtype = numeric);"#;

fn types(version: u32) -> Vec<&'static (&'static str, &'static [&'static str])> {
    let newer: &[_] = if version >= 140_000 { TYPES_14 } else { &[] };
    TYPES.iter().chain(newer).collect()
}

fn hostile(database: &str) -> String {
    let settings = [
        "datestyle = 'German'",
        "timezone = 'Asia/Kathmandu'",
        "bytea_output = 'escape'",
        "intervalstyle = 'sql_standard'",
        "extra_float_digits = 0",
        "search_path = 'pg_catalog'",
        "standard_conforming_strings = off",
        "array_nulls = off",
        "quote_all_identifiers = on",
        "xmloption = 'document'",
        "statement_timeout = '20s'",
        "default_transaction_isolation = 'serializable'",
    ];
    settings.map(|setting| format!("ALTER DATABASE {database} SET {setting};")).concat()
}

/// All values of a table as text, in a session that hides nothing.
async fn dump(database: &TestDatabase, table: usize) -> Vec<String> {
    let pinned =
        "SET datestyle = 'ISO'; SET timezone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 3;
                  SET intervalstyle = 'postgres_verbose'; SET search_path = '';";
    database
        .query(&format!(
            "{pinned} SELECT (t.id, t.v, t.v IS NULL)::text FROM public.matrix_{table} AS t ORDER BY id"
        ))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_built_in_type_survives_the_round_trip_under_hostile_defaults() {
    let (source, target) = (TestDatabase::with(OTHERS).await, TestDatabase::with(OTHERS).await);
    let version: u32 = source.query("SHOW server_version_num").await[0].parse().unwrap();
    let types = types(version);
    let tables: String = types
        .iter()
        .enumerate()
        .map(|(place, (name, _))| format!("CREATE TABLE matrix_{place} (id int PRIMARY KEY, v {name});\n"))
        .collect();
    let rows: String = types
        .iter()
        .enumerate()
        .flat_map(|(place, (name, values))| {
            let row = move |(id, value): (usize, &&str)| {
                format!("INSERT INTO matrix_{place} VALUES ({id}, ({value})::{name});\n")
            };
            values.iter().chain(&["NULL"]).enumerate().map(row).collect::<Vec<_>>()
        })
        .collect();
    source.execute(&tables).await;
    target.execute(&tables).await;
    source.execute(&rows).await;
    source.execute(&hostile(&source.name)).await;
    target.execute(&hostile(&target.name)).await;

    let backup = TestBackup::of(&*source.open().await).await;
    assert_eq!(backup.tables.len(), types.len(), "every type can be part of a backup");
    worked(backup.apply(&*target.open().await).await);

    for (place, (name, _)) in types.iter().enumerate() {
        assert_eq!(dump(&source, place).await, dump(&target, place).await, "{name}");
    }
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);

    let again = worked(backup.at(2).apply(&*target.open().await).await);
    assert!(
        again.tables.iter().all(|merged| merged.inserted == 0 && merged.updated == 0),
        "nothing differs any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_only_looks_equal_is_updated() {
    let table =
        "CREATE TABLE lax (id int PRIMARY KEY, span interval, doc json, list int[], spot point, at timetz)";
    let (source, target) = (TestDatabase::with(table).await, TestDatabase::with(table).await);
    source.execute("INSERT INTO lax VALUES (1, '1 month', '{\"a\":1}', '{1}', '(1,1)', '12:00+00')").await;
    target
        .execute(
            "INSERT INTO lax VALUES (1, '30 days', '{\"a\": 1}', '[2:2]={1}', '(1,1.0000001)', '13:00+01')",
        )
        .await;
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert_eq!((report.tables[0].updated, report.tables[0].unchanged), (1, 0));
    let dump = "SELECT t::text FROM lax AS t";
    assert_eq!(source.query(dump).await, target.query(dump).await);
}
