//! The end of a world: everything is delivered, and the world is judged.
//!
//! * All servers hold the same rows, with versions of the same times.
//! * Nothing is sent any more, and nothing is held.
//! * A write that nobody overruled is there. Whoever overruled it has to count: some server knows of it in the end, or
//!   another server than the writer's did before a restore took it away.
//! * Where all began with the same rows, nothing was restored and nothing held, no row is there that was overruled.

use super::ledger::{Image, KEYS};
use super::record::{Mark, Tally};
use super::rules::Rules;
use super::world::World;

/// What is wrong with a world.
#[derive(Debug)]
struct Fault {
    /// With which key, where it is one.
    key: Option<usize>,
    what: String,
}

/// Lives a world through, and says what is wrong with its end.
pub(super) fn run(seed: u64, rules: Rules) -> Result<Tally, String> {
    let mut world = World::new(seed, rules);
    world.live();
    match end(&mut world) {
        Ok(()) => Ok(world.record.tally),
        Err(Fault { what, .. }) => Err(format!("seed {seed}, {:?}: {what}", world.climate)),
    }
}

/// Says what is wrong with the end of a world that was played already.
pub(super) fn judge(mut world: World) -> Result<(), String> {
    end(&mut world).map_err(|fault| fault.what)
}

/// What happened in the world of a seed to the key that is wrong in the end.
pub(super) fn story(seed: u64) -> String {
    let live = |key| {
        let mut world = World::new(seed, Rules::all());
        world.record.story = Some((key, Vec::new()));
        world.live();
        let key = end(&mut world).err().and_then(|fault| fault.key);
        (key, world.record.story.unwrap_or_default().1)
    };
    match live(0) {
        (Some(key), _) if key != 0 => live(key).1.join("\n"),
        (_, story) => story.join("\n"),
    }
}

fn end(world: &mut World) -> Result<(), Fault> {
    settle(world)?;
    if let Some(server) = world.servers.iter().find(|server| server.ledger.held.iter().any(Option::is_some)) {
        return Err(Fault { key: None, what: format!("{} still holds rows", server.name) });
    }
    all_equal(world)?;
    nothing_lost(world)?;
    nothing_revived(world)
}

/// Delivers until nothing moves any more.
fn settle(world: &mut World) -> Result<(), Fault> {
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
    Err(Fault { key: None, what: "something still circles".to_owned() })
}

/// Every server sends to every peer; gives whether anything moved.
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

/// The rows of a server with the times of their versions.
fn images(world: &World, server: usize) -> [Option<(Image, u64)>; KEYS] {
    let ledger = &world.servers[server].ledger;
    std::array::from_fn(|key| {
        let image = ledger.rows[key].image.filter(|image| image.value.is_some())?;
        Some((image, ledger.version_of(key).time.micros()))
    })
}

fn all_equal(world: &World) -> Result<(), Fault> {
    let first = images(world, 0);
    for server in 1..world.servers.len() {
        let other = images(world, server);
        for key in 0..KEYS {
            let seen = |row: Option<(Image, u64)>| row.map(|(image, time)| (image.value, time));
            if seen(first[key]) != seen(other[key]) {
                let rows = (first[key], other[key]);
                let what = format!("S0 and S{server} differ in key {key}: {rows:?}");
                return Err(Fault { key: Some(key), what });
            }
        }
    }
    Ok(())
}

fn nothing_lost(world: &World) -> Result<(), Fault> {
    let is_known = |mark: Mark| world.servers.iter().any(|server| server.ledger.seen.has(mark));
    let counts = |mark: Mark| is_known(mark) || world.record.delivered.has(mark);
    let rows = images(world, 0);
    for (number, write) in world.record.writes.iter().enumerate() {
        let mark = Mark::try_from(number).unwrap();
        if !is_known(mark) || world.record.followers(mark).into_iter().any(counts) {
            continue;
        }
        let there = rows[write.key].map(|(image, _)| image);
        let fine = match write.value {
            Some(_) => there.is_some_and(|image| image.value == write.value),
            // Of a deletion whose tombstone is gone, whoever joins late, was restored or holds rows may never hear.
            None => there.is_none() || (world.record.tally.purged > 0 && !is_calm(world)),
        };
        if !fine {
            let what = format!("write {mark} of key {} is lost: {write:?}, {there:?}", write.key);
            return Err(Fault { key: Some(write.key), what });
        }
    }
    Ok(())
}

fn nothing_revived(world: &World) -> Result<(), Fault> {
    // Equal images overrule each other both ways, which is of no consequence.
    let can_tell = is_calm(world) && !world.climate.equal_images;
    for (key, row) in images(world, 0).into_iter().enumerate() {
        let Some((image, _)) = row.filter(|_| can_tell) else { continue };
        let followers = world.record.followers(image.mark);
        if !followers.is_empty() {
            let what = format!("write {} is there, and {followers:?} came after it", image.mark);
            return Err(Fault { key: Some(key), what });
        }
    }
    Ok(())
}

/// All began with the same rows, nothing was restored and nothing held.
fn is_calm(world: &World) -> bool {
    let climate = &world.climate;
    climate.in_step && !climate.restores && !climate.holds
}
