//! What the shop's programs write to the tables of [`Shape::Market`](branchline_testkit::database::Shape): one random
//! statement after another, all of which both engines read.
//!
//! Most spare themselves what would break a key; what still does, because another session was quicker, takes its
//! transaction back. So do deadlocks and snapshots that are too old, which belong to such traffic.

use branchline_testkit::database::Engine;

/// Random numbers that a seed decides (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    /// The dice of a seed and of one of those that throw them.
    pub(super) fn new(seed: u64, thrower: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (thrower + 1).wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Whether it is one of `cases`.
    pub(super) fn one_in(&mut self, cases: u64) -> bool {
        self.below(cases) == 0
    }
}

/// Rows that are there before anything is captured.
pub(super) const BASE: &str = "
INSERT INTO regions VALUES ('r1', 'Region 1'), ('r2', 'Region 2');
INSERT INTO members (id, region, nick, sponsor) VALUES (1, 'r1', 'n1', NULL), (2, 'r1', 'n2', 1), (3, 'r2', NULL, 1);
INSERT INTO baskets VALUES ('00000000-0000-4000-8000-000000000001', 1, 'x'), ('00000000-0000-4000-8000-000000000002', 2, 'y');
INSERT INTO basket_lines VALUES ('00000000-0000-4000-8000-000000000001', 1, 1), ('00000000-0000-4000-8000-000000000001', 2, 1);
INSERT INTO shelves VALUES (1, 'top', NULL), (2, 'middle', 1), (3, 'low', 2);
INSERT INTO prices VALUES ('item 1', 1, '1.5', TRUE), ('item 2', 1, '2.5', FALSE), ('item 1', 2, '3.5', NULL);
";

/// One statement.
pub(super) fn statement(dice: &mut Dice, engine: Engine) -> String {
    match dice.below(100) {
        0..20 => insert(dice),
        20..34 => update(dice),
        34..46 => delete(dice),
        46..60 => change_of_key(dice),
        60..90 => prices(dice),
        90..98 => overwrite(dice, engine),
        _ => empty(dice, engine),
    }
}

/// One statement that touches the one table on which nothing hangs.
pub(super) fn prices(dice: &mut Dice) -> String {
    let (item, kind, other) = (dice.below(40), dice.below(4), dice.below(4));
    let amount = format!("{}.{}", dice.below(90), dice.below(90));
    match dice.below(8) {
        0 => format!(
            "INSERT INTO prices WITH RECURSIVE counted (n) AS (SELECT {item} UNION ALL SELECT n + 1 FROM counted WHERE n < 30)
            SELECT 'item ' || n, {kind}, '{amount}', TRUE FROM counted WHERE n > 0 ON CONFLICT DO NOTHING"
        ),
        1 => format!("UPDATE prices SET amount = '{amount}' WHERE kind = {kind}"),
        2 => format!("UPDATE prices SET valid = NOT valid WHERE item = 'item {item}'"),
        3 => format!("DELETE FROM prices WHERE kind = {kind} AND item > 'item {item}'"),
        4 => format!("DELETE FROM prices WHERE item = 'item {item}'"),
        5 => format!(
            "UPDATE prices SET kind = {other} WHERE kind = {kind} AND NOT EXISTS
            (SELECT 1 FROM prices AS taken WHERE taken.item = prices.item AND taken.kind = {other})"
        ),
        6 => "UPDATE prices SET amount = amount".to_owned(),
        _ => format!(
            "INSERT INTO prices VALUES ('item {item}', {kind}, '{amount}', FALSE)
            ON CONFLICT (kind, item) DO UPDATE SET amount = excluded.amount"
        ),
    }
}

fn member(dice: &mut Dice) -> u64 {
    dice.below(30)
}

fn basket(dice: &mut Dice) -> String {
    format!("00000000-0000-4000-8000-{:012}", dice.below(25))
}

/// A unique value, or none.
fn nick(dice: &mut Dice) -> String {
    if dice.one_in(4) { "NULL".to_owned() } else { format!("'n{}'", dice.below(60)) }
}

fn insert(dice: &mut Dice) -> String {
    let (id, near, line) = (member(dice), member(dice), dice.below(6));
    match dice.below(6) {
        0 => format!(
            "INSERT INTO regions VALUES ('r{}', 'Region {}') ON CONFLICT DO NOTHING",
            dice.below(8),
            dice.below(20)
        ),
        1 => format!(
            "INSERT INTO members (id, region, nick, sponsor)
            SELECT {id}, (SELECT code FROM regions WHERE code >= 'r{line}' ORDER BY code LIMIT 1), {},
                (SELECT id FROM members WHERE id >= {near} ORDER BY id LIMIT 1)
            WHERE TRUE ON CONFLICT DO NOTHING",
            nick(dice)
        ),
        2 => {
            let owner = format!(
                "coalesce((SELECT min(id) FROM members WHERE id >= {near}), (SELECT max(id) FROM members))"
            );
            let row = |dice: &mut Dice| format!("('{}', {owner}, 'note {near}')", basket(dice));
            let rows = [row(dice), row(dice), row(dice), row(dice)].join(", ");
            format!("INSERT INTO baskets VALUES {rows} ON CONFLICT DO NOTHING")
        }
        3 => format!(
            "INSERT INTO basket_lines SELECT id, {line}, {near} FROM baskets WHERE id >= '{}' ORDER BY id LIMIT 1
            ON CONFLICT DO NOTHING",
            basket(dice)
        ),
        4 => format!(
            "INSERT INTO basket_lines SELECT id, line, {near} FROM baskets, (SELECT {line} AS line UNION ALL SELECT {line} + 1) AS lines
            WHERE TRUE ON CONFLICT DO NOTHING"
        ),
        _ => format!(
            "INSERT INTO shelves SELECT {id}, 'shelf {near}', (SELECT id FROM shelves WHERE id >= {near} ORDER BY id LIMIT 1)
            WHERE TRUE ON CONFLICT DO NOTHING"
        ),
    }
}

fn update(dice: &mut Dice) -> String {
    let (id, other, line) = (member(dice), member(dice), dice.below(6));
    match dice.below(7) {
        0 => format!("UPDATE members SET nick = {} WHERE id = {id}", nick(dice)),
        1 => format!(
            "UPDATE members SET sponsor = (SELECT min(id) FROM members WHERE id > {other}) WHERE id < {id}"
        ),
        2 => format!("UPDATE baskets SET note = 'again {other}' WHERE member >= {id}"),
        3 => format!("UPDATE basket_lines SET quantity = quantity + 1 WHERE line = {line}"),
        4 => format!(
            "UPDATE shelves SET above = (SELECT max(id) FROM shelves WHERE id < {other}) WHERE id = {id}"
        ),
        5 => format!("UPDATE regions SET name = name WHERE code > 'r{line}'"),
        _ => {
            format!("UPDATE baskets SET member = (SELECT max(id) FROM members) WHERE id = '{}'", basket(dice))
        }
    }
}

fn delete(dice: &mut Dice) -> String {
    let (id, line) = (member(dice), dice.below(6));
    match dice.below(6) {
        0 => format!("DELETE FROM members WHERE id = {id}"),
        1 => format!("DELETE FROM baskets WHERE member = {id}"),
        2 => format!("DELETE FROM basket_lines WHERE line = {line} AND quantity < {id}"),
        3 => format!("DELETE FROM shelves WHERE id = {id}"),
        4 => format!("DELETE FROM members WHERE id > {id} AND id < {id} + 5 AND nick IS NULL"),
        _ => format!(
            "DELETE FROM regions WHERE code = 'r{line}' AND NOT EXISTS (SELECT 1 FROM members WHERE region = 'r{line}')"
        ),
    }
}

fn change_of_key(dice: &mut Dice) -> String {
    let (from, to) = (member(dice), member(dice));
    match dice.below(5) {
        0 => format!(
            "UPDATE members SET id = {to} WHERE id = {from} AND NOT EXISTS (SELECT 1 FROM members WHERE id = {to})"
        ),
        1 => {
            let (from, to) = (dice.below(8), dice.below(8));
            format!(
                "UPDATE regions SET code = 'r{to}' WHERE code = 'r{from}'
                AND NOT EXISTS (SELECT 1 FROM regions WHERE code = 'r{to}')"
            )
        }
        2 => {
            let (from, to) = (basket(dice), basket(dice));
            format!(
                "UPDATE baskets SET id = '{to}' WHERE id = '{from}' AND NOT EXISTS (SELECT 1 FROM baskets WHERE id = '{to}')"
            )
        }
        3 => {
            let (from, to) = (dice.below(6), dice.below(6));
            format!(
                "UPDATE basket_lines SET line = {to} WHERE line = {from} AND NOT EXISTS
                (SELECT 1 FROM basket_lines AS taken WHERE taken.basket = basket_lines.basket AND taken.line = {to})"
            )
        }
        _ => format!(
            "UPDATE shelves SET id = {to} WHERE id = {from} AND NOT EXISTS (SELECT 1 FROM shelves WHERE id = {to})"
        ),
    }
}

/// A row in the place of another: in SQLite also in the place of whichever row has its unique value, and no trigger
/// is told of that one.
fn overwrite(dice: &mut Dice, engine: Engine) -> String {
    let (id, nick) = (member(dice), nick(dice));
    match engine {
        Engine::Sqlite => format!("INSERT OR REPLACE INTO members (id, nick) VALUES ({id}, {nick})"),
        Engine::Postgres => format!(
            "INSERT INTO members (id, nick) VALUES ({id}, {nick}) ON CONFLICT (id) DO UPDATE SET nick = excluded.nick"
        ),
    }
}

/// A whole table at once, with what hangs on it.
fn empty(dice: &mut Dice, engine: Engine) -> String {
    let table = if dice.below(3) > 0 { "prices" } else { "baskets" };
    match engine {
        Engine::Sqlite => format!("DELETE FROM {table}"),
        Engine::Postgres => format!("TRUNCATE {table} CASCADE"),
    }
}
