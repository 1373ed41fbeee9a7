//! What a server says of itself: `GET /v1/hello` with its tables, `GET /v1/status` without.
//!
//! ```json
//! {"server":"HQ","producer":"branchline 0.1.0","protocol":[0,0],"features":[],"time":"2025-11-23T10:00:00Z",
//!  "lastApplied":{"epoch":1,"sequence":7},
//!  "standing":{"epoch":1,"sealed":4,"knowledge":[{"server":"HQ","epoch":1,"generation":5}]},
//!  "tables":[{"name":"orders","rows":3,"key":["id"],"fingerprint":"sha256:…",
//!    "columns":[{"name":"id","type":"int64","native":"bigint","nullable":false,"default":true,"generated":false}],
//!    "excluded":{"reason":"no_primary_key"}}]}
//! ```
//! Foreign and unique keys stay at home: each side goes by its own. The fingerprint is for other programs; we take it
//! from the columns.

use branchline_core::id::{Epoch, Generation, Sequence, ServerId};
use branchline_core::limits::{TABLE_COLUMNS_MAX, TABLES_MAX};
use branchline_core::ports::PeerHello;
use branchline_core::schema::{Column, ColumnName, Exclusion, Schema, Table, TableName};
use branchline_core::standing::Standing;
use branchline_core::version::Life;
use serde::{Deserialize, Serialize};

use super::{BodyError, read, write};
use crate::peer_text::cleaned;

/// Features that are kept of what a peer names.
const FEATURES_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HelloBody {
    server: String,
    producer: String,
    protocol: (u32, u32),
    features: Vec<String>,
    time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_applied: Option<LastAppliedBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standing: Option<StandingBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<TableBody>>,
}

#[derive(Serialize, Deserialize)]
struct LastAppliedBody {
    epoch: u64,
    sequence: u64,
}

/// What a server that captures changes says of those that it holds. Its life is that of the server that speaks.
#[derive(Serialize, Deserialize)]
struct StandingBody {
    epoch: u64,
    sealed: u64,
    knowledge: Vec<KnownBody>,
}

#[derive(Serialize, Deserialize)]
struct KnownBody {
    server: String,
    epoch: u64,
    generation: u64,
}

#[derive(Serialize, Deserialize)]
struct TableBody {
    name: String,
    rows: u64,
    columns: Vec<ColumnBody>,
    key: Vec<String>,
    #[serde(default)]
    fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excluded: Option<ExclusionBody>,
}

#[derive(Serialize, Deserialize)]
struct ColumnBody {
    name: String,
    r#type: String,
    native: String,
    nullable: bool,
    default: bool,
    generated: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    omitted: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct ExclusionBody {
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    column: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<usize>,
}

pub(in crate::v1) fn write_hello(hello: &PeerHello) -> Vec<u8> {
    write(&body_of(hello, Some(hello.schema.tables().map(table_body).collect())))
}

pub(in crate::v1) fn write_status(hello: &PeerHello) -> Vec<u8> {
    write(&body_of(hello, None))
}

/// Reads a hello; `path` is how the peer was reached.
pub(in crate::v1) fn read_hello(body: &[u8], path: String) -> Result<PeerHello, BodyError> {
    let body: HelloBody = read(body)?;
    let tables = body.tables.unwrap_or_default();
    if tables.len() > TABLES_MAX {
        return Err(BodyError::member("tables"));
    }
    let tables: Vec<Table> = tables.into_iter().map(table_of).collect::<Result<_, _>>()?;
    let server: ServerId = body.server.parse().map_err(|_| BodyError::member("server"))?;
    Ok(PeerHello {
        standing: body.standing.map(|standing| standing_of(standing, &server)).transpose()?,
        server,
        producer: cleaned(&body.producer),
        protocol: body.protocol,
        features: body.features.iter().take(FEATURES_MAX).map(|feature| cleaned(feature)).collect(),
        time: body.time.parse().map_err(|_| BodyError::member("time"))?,
        schema: Schema::new(tables),
        last_applied: body.last_applied.map(|last| (Epoch::new(last.epoch), Sequence::new(last.sequence))),
        path,
    })
}

fn body_of(hello: &PeerHello, tables: Option<Vec<TableBody>>) -> HelloBody {
    HelloBody {
        server: hello.server.to_string(),
        producer: hello.producer.clone(),
        protocol: hello.protocol,
        features: hello.features.clone(),
        time: hello.time.to_string(),
        last_applied: hello
            .last_applied
            .map(|(epoch, sequence)| LastAppliedBody { epoch: epoch.value(), sequence: sequence.value() }),
        standing: hello.standing.as_ref().map(standing_body),
        tables,
    }
}

fn standing_body(standing: &Standing) -> StandingBody {
    let known = |(life, generation): (&Life, Generation)| KnownBody {
        server: life.server.to_string(),
        epoch: life.epoch.value(),
        generation: generation.value(),
    };
    StandingBody {
        epoch: standing.life.epoch.value(),
        sealed: standing.sealed.value(),
        knowledge: standing.knowledge.iter().map(known).collect(),
    }
}

fn standing_of(body: StandingBody, server: &ServerId) -> Result<Standing, BodyError> {
    let known = |known: KnownBody| {
        let server = known.server.parse().map_err(|_| BodyError::member("standing"))?;
        Ok((Life::new(server, Epoch::new(known.epoch)), Generation::new(known.generation)))
    };
    Ok(Standing {
        life: Life::new(server.clone(), Epoch::new(body.epoch)),
        knowledge: body.knowledge.into_iter().map(known).collect::<Result<_, BodyError>>()?,
        sealed: Sequence::new(body.sealed),
    })
}

fn table_body(table: &Table) -> TableBody {
    TableBody {
        name: table.name.to_string(),
        rows: table.rows_estimated,
        columns: table.columns.iter().map(column_body).collect(),
        key: table.key_names().map(ToString::to_string).collect(),
        fingerprint: table.fingerprint().to_string(),
        excluded: table.excluded.as_ref().map(exclusion_body),
    }
}

fn table_of(body: TableBody) -> Result<Table, BodyError> {
    if body.columns.len() > TABLE_COLUMNS_MAX && body.excluded.is_none() {
        return Err(BodyError::member("columns"));
    }
    let columns: Vec<Column> = body.columns.into_iter().map(column_of).collect::<Result<_, _>>()?;
    let place = |name: &String| columns.iter().position(|column| column.name.as_str() == name);
    let key = body.key.iter().map(|name| place(name).ok_or_else(|| BodyError::member("key")));
    let key = key.collect::<Result<_, _>>()?;
    Ok(Table {
        name: TableName::new(body.name)?,
        columns,
        key,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        rows_estimated: body.rows,
        excluded: body.excluded.map(exclusion_of).transpose()?,
    })
}

fn column_body(column: &Column) -> ColumnBody {
    ColumnBody {
        name: column.name.to_string(),
        r#type: column.logical_type.to_string(),
        native: column.native_type.clone(),
        nullable: column.nullable,
        default: column.has_default,
        generated: column.generated,
        omitted: column.omitted,
    }
}

fn column_of(body: ColumnBody) -> Result<Column, BodyError> {
    Ok(Column {
        name: ColumnName::new(body.name)?,
        logical_type: body.r#type.parse()?,
        native_type: cleaned(&body.native),
        nullable: body.nullable,
        has_default: body.default,
        generated: body.generated,
        omitted: body.omitted,
    })
}

fn exclusion_body(exclusion: &Exclusion) -> ExclusionBody {
    let because = |reason: &str| ExclusionBody { reason: reason.into(), ..ExclusionBody::default() };
    match exclusion {
        Exclusion::NoPrimaryKey => because("no_primary_key"),
        Exclusion::NotATable { what } => ExclusionBody { detail: what.clone(), ..because("not_a_table") },
        Exclusion::AmbiguousName => because("ambiguous_name"),
        Exclusion::NotReadable { grant } => {
            ExclusionBody { detail: grant.clone(), ..because("not_readable") }
        }
        Exclusion::UnsupportedColumn { column, native_type } => ExclusionBody {
            detail: native_type.clone(),
            column: column.to_string(),
            ..because("unsupported_column")
        },
        Exclusion::TooManyColumns { columns } => {
            ExclusionBody { columns: Some(*columns), ..because("too_many_columns") }
        }
        Exclusion::ByChoice => because("by_choice"),
    }
}

fn exclusion_of(body: ExclusionBody) -> Result<Exclusion, BodyError> {
    let detail = cleaned(&body.detail);
    Ok(match body.reason.as_str() {
        "no_primary_key" => Exclusion::NoPrimaryKey,
        "not_a_table" => Exclusion::NotATable { what: detail },
        "ambiguous_name" => Exclusion::AmbiguousName,
        "not_readable" => Exclusion::NotReadable { grant: detail },
        "unsupported_column" => {
            Exclusion::UnsupportedColumn { column: ColumnName::new(body.column)?, native_type: detail }
        }
        "too_many_columns" => {
            Exclusion::TooManyColumns { columns: body.columns.unwrap_or(TABLE_COLUMNS_MAX + 1) }
        }
        "by_choice" => Exclusion::ByChoice,
        // A later version may have more reasons; that the table is left out is what counts.
        _ => Exclusion::NotATable {
            what: "left out there for a reason that this version does not know".into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use branchline_core::schema::LogicalType;

    use super::*;

    fn column(name: &str, logical_type: LogicalType) -> Column {
        Column {
            name: ColumnName::new(name).unwrap(),
            logical_type,
            native_type: "its own type".into(),
            nullable: true,
            has_default: false,
            generated: false,
            omitted: false,
        }
    }

    fn table(name: &str, columns: usize, excluded: Option<Exclusion>) -> Table {
        let number = |place| column(&format!("column_number_{place}"), LogicalType::Decimal(Some((12, 2))));
        Table {
            name: TableName::new(name).unwrap(),
            columns: (0..columns).map(number).collect(),
            key: vec![1, 0],
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            rows_estimated: 7,
            excluded,
        }
    }

    fn hello(tables: Vec<Table>) -> PeerHello {
        let life = Life::new("HQ".parse().unwrap(), Epoch::new(3));
        PeerHello {
            server: "HQ".parse().unwrap(),
            producer: "branchline 0.1.0".into(),
            protocol: (0, 3),
            features: vec!["zstd".into()],
            time: "2025-11-23T10:00:00Z".parse().unwrap(),
            schema: Schema::new(tables),
            last_applied: Some((Epoch::new(2), Sequence::new(9))),
            standing: Some(Standing {
                life: life.clone(),
                knowledge: [(life, Generation::new(u64::MAX))].into_iter().collect(),
                sealed: Sequence::new(12),
            }),
            path: "somewhere".into(),
        }
    }

    #[test]
    fn a_hello_reads_back_with_every_exclusion() {
        let name = ColumnName::new("geom").unwrap();
        let exclusions = [
            Exclusion::NoPrimaryKey,
            Exclusion::NotATable { what: "a view".into() },
            Exclusion::AmbiguousName,
            Exclusion::NotReadable { grant: "GRANT".into() },
            Exclusion::UnsupportedColumn { column: name, native_type: "geometry".into() },
            Exclusion::TooManyColumns { columns: 1_601 },
            Exclusion::ByChoice,
        ];
        let mut tables = vec![table("orders", 3, None)];
        tables
            .extend(exclusions.into_iter().enumerate().map(|(n, why)| table(&format!("t{n}"), 2, Some(why))));
        let hello = hello(tables);
        assert_eq!(read_hello(&write_hello(&hello), "somewhere".into()).unwrap(), hello);
        let status = read_hello(&write_status(&hello), String::new()).unwrap();
        assert_eq!((status.schema, status.last_applied), (Schema::default(), hello.last_applied));
        assert_eq!(status.standing, hello.standing);
        // A server that captures nothing, or does not know the member.
        let silent = PeerHello { standing: None, ..hello };
        let body = write_hello(&silent);
        assert!(!String::from_utf8_lossy(&body).contains("standing"));
        assert_eq!(read_hello(&body, "somewhere".into()).unwrap(), silent);
    }

    #[test]
    fn a_large_shop_fits() {
        let hello = hello((0..295).map(|n| table(&format!("table_of_the_shop_{n}"), 13, None)).collect());
        let body = write_hello(&hello);
        assert!(body.len() < 1 << 20, "{}", body.len());
        assert_eq!(read_hello(&body, "somewhere".into()).unwrap(), hello);
    }

    #[test]
    fn what_core_would_not_accept_is_refused_and_text_is_cleaned() {
        let text = String::from_utf8(write_hello(&hello(vec![table("orders", 2, None)]))).unwrap();
        let code = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            read_hello(text.replace(from, to).as_bytes(), String::new()).unwrap_err().code().name()
        };
        assert_eq!(code("decimal(12,2)", "money"), "UNKNOWN_TYPE");
        assert_eq!(code("\"orders\"", "\"\""), "NAME_INVALID");
        assert_eq!(code("\"orders\"", "\"a\\u0000b\""), "NAME_INVALID");
        assert_eq!(code("\"HQ\"", "\"../HQ\""), "REQUEST_INVALID");
        assert_eq!(code("[\"column_number_1\"", "[\"nowhere\""), "REQUEST_INVALID");
        assert_eq!(code("\"server\"", "\"sever\""), "REQUEST_INVALID");
        let shown = read_hello(text.replace("branchline 0.1.0", "\\u001b[2Jx").as_bytes(), String::new());
        assert_eq!(shown.unwrap().producer, "[2Jx");
    }
}
