//! What is installed on a table: one function of ours, and the triggers that call it.
//!
//! | tables | triggers |
//! |---|---|
//! | ordinary | one a statement for INSERT, UPDATE and DELETE, over the rows that it touched; one before TRUNCATE |
//! | partitioned | one a row, which PostgreSQL copies to each partition, the coming ones too; one before TRUNCATE on each partition that holds rows |
//! | that inherit, or are inherited from | one a row; one before TRUNCATE |
//!
//! A statement that goes to a parent fires its triggers for rows of its children as well, and one that goes to a
//! partition fires only the partition's: so these have row triggers, which fire where the row is.
//!
//! The function notes keys and nothing else. It runs with our role's rights, so that the shop's role needs none; it never
//! makes a statement of the shop fail: what goes wrong is noted in `missed`, and the table is compared. An update that
//! changes nothing is not noted; one that changes the key notes both. What an apply writes itself is not noted
//! (`branchline.applying`), but what follows from it, a cascade or a trigger of the shop's, is: it runs deeper.

use super::identity::Kind;
use super::key::Key;
use crate::postgres::ident::{Ident, Qualified};

/// The trigger before TRUNCATE.
pub(crate) const TRUNCATE: &str = "branchline_truncate";

/// The triggers that a table of a kind has, sorted; those of partitions not counted.
pub(crate) fn names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Plain => &["branchline_delete", "branchline_insert", TRUNCATE, "branchline_update"],
        Kind::Inheriting => &["branchline_row", TRUNCATE],
        Kind::Partitioned => &["branchline_row"],
    }
}

/// The function's name.
pub(crate) fn function(id: i32) -> Qualified {
    Qualified::new(crate::postgres::ledger::SCHEMA, format!("capture_{id}"))
}

/// The statement that makes the function, or makes it anew, for the table numbered `id`.
pub(crate) fn create_function(id: i32, key: &Key, kind: Kind) -> String {
    let settings: String = key.settings().iter().map(|setting| format!(" SET {setting}")).collect();
    let body = if kind == Kind::Plain { of_statements(id, key) } else { of_rows(id, key) };
    let name = function(id);
    let mut sql = format!(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp{settings} AS $branchline$
#variable_conflict use_variable
DECLARE
  moment CONSTANT pg_catalog.int8 := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8;
BEGIN
  IF pg_catalog.pg_trigger_depth() = 1 AND pg_catalog.current_setting('branchline.applying', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'TRUNCATE' THEN
    EXECUTE pg_catalog.format('INSERT INTO branchline.change (table_id, at, key) SELECT {id}, $1, %s FROM ONLY %s AS t', {truncated}, TG_RELID::pg_catalog.regclass) USING moment;
{body}  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  BEGIN
    INSERT INTO branchline.missed (table_id) VALUES ({id});
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'branchline could not note a change of %: %', TG_RELID::pg_catalog.regclass, SQLERRM;
  END;
  RETURN NULL;
END
$branchline$;
",
        truncated = crate::postgres::ident::literal(&key.text("t")),
    );
    // Whoever makes a partition must be allowed to run the functions of the triggers that it gets. Nobody can put
    // one on a table of his own, because the schema is closed.
    if kind != Kind::Partitioned {
        sql.push_str(&format!("REVOKE ALL ON FUNCTION {name}() FROM PUBLIC;\n"));
    }
    sql
}

fn note(id: i32, rest: &str) -> String {
    format!(
        "    INSERT INTO branchline.change (table_id, at, key) {}\n",
        rest.replace("{id}", &id.to_string())
    )
}

fn of_statements(id: i32, key: &Key) -> String {
    let inserted = note(id, &format!("SELECT {{id}}, moment, {} FROM branchline_new AS n;", key.text("n")));
    let deleted = note(id, &format!("SELECT {{id}}, moment, {} FROM branchline_old AS o;", key.text("o")));
    // A row whose key changed has no partner, and so is noted under both.
    let updated = note(
        id,
        &format!(
            "SELECT {{id}}, moment, CASE WHEN {} IS NULL THEN {} ELSE {} END
        FROM branchline_old AS o FULL JOIN branchline_new AS n ON {}
       WHERE ((o.*) OPERATOR(pg_catalog.*=) (n.*)) IS NOT TRUE;",
            key.first("n"),
            key.text("o"),
            key.text("n"),
            key.same("o", "n"),
        ),
    );
    format!(
        "  ELSIF TG_OP = 'INSERT' THEN\n{inserted}  ELSIF TG_OP = 'DELETE' THEN\n{deleted}  ELSE\n{updated}"
    )
}

fn of_rows(id: i32, key: &Key) -> String {
    let new = note(id, &format!("VALUES ({{id}}, moment, {});", key.text("NEW")));
    let old = note(id, &format!("VALUES ({{id}}, moment, {});", key.text("OLD")));
    format!(
        "  ELSIF TG_OP = 'INSERT' THEN\n{new}  ELSIF TG_OP = 'DELETE' THEN\n{old}  ELSIF (OLD OPERATOR(pg_catalog.*=) NEW) IS NOT TRUE THEN
{new}    IF ({}) IS NOT TRUE THEN\n{old}    END IF;\n",
        key.same("OLD", "NEW"),
    )
}

/// The statements that put the triggers of a kind on a table.
pub(crate) fn create_triggers(id: i32, table: &Qualified, kind: Kind) -> String {
    let function = function(id);
    let on = |name: &str, event: &str, how: &str| {
        let name = Ident::new(name);
        format!("CREATE TRIGGER {name} {event} ON {table} {how} EXECUTE FUNCTION {function}();\n")
    };
    let mut sql = String::new();
    if kind == Kind::Plain {
        let old = "OLD TABLE AS branchline_old";
        let new = "NEW TABLE AS branchline_new";
        for (name, event, tables) in [
            ("branchline_insert", "AFTER INSERT", new.to_owned()),
            ("branchline_update", "AFTER UPDATE", format!("{old} {new}")),
            ("branchline_delete", "AFTER DELETE", old.to_owned()),
        ] {
            sql.push_str(&on(name, event, &format!("REFERENCING {tables} FOR EACH STATEMENT")));
        }
    } else {
        sql.push_str(&on("branchline_row", "AFTER INSERT OR UPDATE OR DELETE", "FOR EACH ROW"));
    }
    if kind != Kind::Partitioned {
        sql.push_str(&on_truncate(id, table));
    }
    sql
}

/// The statement that puts the trigger before TRUNCATE on a table or partition.
pub(crate) fn on_truncate(id: i32, table: &Qualified) -> String {
    format!(
        "CREATE TRIGGER {TRUNCATE} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {}();\n",
        function(id)
    )
}

/// The statement that takes the function away, and every trigger with it, wherever it is. Only an owner may drop a
/// trigger, but whoever made the function may drop that.
pub(crate) fn remove(id: i32) -> String {
    format!("DROP FUNCTION IF EXISTS {}() CASCADE;\n", function(id))
}
