//! The one case that the executable model failed, a ring of four relays of which one is restored, as the model played it.
//!
//! `seed_71083.txt` holds what happened, a line each:
//!
//! | line | meaning |
//! |---|---|
//! | `w S K live T`, `w S K dead T` | server S writes or deletes key K at time T |
//! | `x A B lost -`, `x A B sent receiptlost`, `x A B sent answered` | A sends to B |
//! | `f N` | the backup of the N-th exchange is brought as a file |
//! | `p S` | S purges |
//! | `c S`, `r N` | S is copied; the N-th copy is put back, and a new life begins |

use branchline_core::version::ChangeTime;

use super::rules::Rules;
use super::world::World;

/// Plays it.
pub(super) fn ring_of_four(rules: Rules) -> World {
    let mut world = World::ring_of_four(rules);
    for line in include_str!("seed_71083.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse::<usize>().unwrap();
        match words[0] {
            "w" => {
                let image = world.image(number(2), words[3] == "live").unwrap();
                let time = ChangeTime::from_micros(words[4].parse().unwrap());
                world.make_visible(number(1), number(2), image, time);
            }
            "x" => {
                let (lost, receipt_lost) = (words[3] == "lost", words[4] != "answered");
                world.exchange(number(1), number(2), false, lost, receipt_lost);
            }
            "f" => world.bring_file(number(1)),
            "p" => world.purge(number(1)),
            "c" => world.copy(number(1)),
            "r" => {
                let server = world.restore(number(1));
                world.begin_life(server);
            }
            other => panic!("what is {other}?"),
        }
    }
    world
}
