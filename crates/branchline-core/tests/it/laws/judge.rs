//! The end of a world: everything is delivered, and the world is judged.

use super::ledger::{Image, KEYS};
use super::record::{Mark, Tally};
use super::rules::Rules;
use super::world::World;

pub(super) fn story(seed: u64, rules: Rules, key: usize) -> Vec<String> {
    let mut world = World::new(seed, rules);
    world.record.story = Some((key, Vec::new()));
    world.live();
    let fault = settle(&mut world).and_then(|()| judge(&world));
    let mut story = world.record.story.take().unwrap().1;
    story.push(format!("{fault:?}"));
    story
}

/// Lives a world through, and says what is wrong with its end.
pub(super) fn run(seed: u64, rules: Rules) -> Result<Tally, String> {
    let mut world = World::new(seed, rules);
    world.live();
    let fault = settle(&mut world).and_then(|()| judge(&world));
    fault.map_err(|fault| format!("seed {seed}, {:?}: {fault}", world.climate))?;
    Ok(world.record.tally)
}

/// Delivers until nothing moves any more.
pub(super) fn settle(world: &mut World) -> Result<(), String> {
    let servers = world.climate.servers;
    for _ in 0..2 * servers {
        round(world);
        if world.chance(300) {
            let server = world.some_server();
            world.purge(server);
        }
    }
    for _ in 0..4 * servers + 6 {
        if !round(world) {
            return Ok(());
        }
    }
    Err("something still circles".to_owned())
}

/// Every server sends to every peer; gives whether anything was sent.
fn round(world: &mut World) -> bool {
    let mut moved = false;
    for (from, to) in world.directed() {
        let before = world.servers[to].ledger.knowledge.clone();
        let backup = world.exchange(from, to, false, false, false);
        moved |=
            backup.packed.full || !backup.rows.is_empty() || before != world.servers[to].ledger.knowledge;
    }
    moved
}

fn judge(world: &World) -> Result<(), String> {
    let held = world.servers.iter().find(|server| server.ledger.held.iter().any(Option::is_some));
    if let Some(server) = held {
        return Err(format!("{} still holds rows", server.name));
    }
    all_equal(world)?;
    nothing_lost(world)
}

/// The rows of a server with the times of their versions.
fn images(world: &World, server: usize) -> [Option<(Image, u64)>; KEYS] {
    let ledger = &world.servers[server].ledger;
    std::array::from_fn(|key| {
        let image = ledger.rows[key].image.filter(|image| image.value.is_some())?;
        Some((image, ledger.version_of(key).time.micros()))
    })
}

fn all_equal(world: &World) -> Result<(), String> {
    let first = images(world, 0);
    for server in 1..world.servers.len() {
        let other = images(world, server);
        for key in 0..KEYS {
            let seen = |row: Option<(Image, u64)>| row.map(|(image, time)| (image.value, time));
            if seen(first[key]) != seen(other[key]) {
                return Err(format!(
                    "S0 and S{server} differ in key {key}: {:?}, {:?}",
                    first[key], other[key]
                ));
            }
        }
    }
    Ok(())
}

/// A write that is still known of, and that nothing that is still known of has overruled, is what all servers hold.
fn nothing_lost(world: &World) -> Result<(), String> {
    let extant = |mark: Mark| world.servers.iter().any(|server| server.ledger.seen.has(mark));
    let end = images(world, 0);
    for (number, write) in world.record.writes.iter().enumerate() {
        let mark = Mark::try_from(number).unwrap();
        let counts = |mark: Mark| extant(mark) || world.record.delivered.has(mark);
        if !extant(mark) || world.record.followers(mark).into_iter().any(counts) {
            continue;
        }
        let there = end[write.key].map(|(image, _)| image);
        let fine = match write.value {
            Some(_) => there.is_some_and(|image| image.value == write.value),
            // Where rows counted as new, a deletion whose tombstone was gone may have been overruled; where a full
            // backup said nothing of a row, that row was deleted elsewhere and stayed.
            None => {
                let tally = &world.record.tally;
                there.is_none() || tally.taken_as_ours + tally.counted_as_new + tally.unsaid > 0
            }
        };
        if !fine {
            return Err(format!("write {mark} of key {} ({:?}) is lost: {there:?}", write.key, write.value));
        }
    }
    Ok(())
}
