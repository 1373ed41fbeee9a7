//! The laws of merging, as cases.

mod apply;
mod backup;
mod dice;
mod judge;
mod ledger;
mod record;
mod rules;
mod server;
mod world;

use record::Tally;
use rules::Rules;

#[test]
fn explore() {
    let get = |name: &str, default: u64| std::env::var(name).map_or(default, |v| v.parse().unwrap());
    let (start, cases) = (get("START", 0), get("CASES", 2000));
    let mut tally = Tally::default();
    let mut failed = 0;
    for seed in start..start + cases {
        let rules = Rules::all();
        match judge::run(seed, rules) {
            Ok(t) => tally.add(&t),
            Err(e) => {
                failed += 1;
                if failed < 12 {
                    println!("{e}");
                }
            }
        }
    }
    println!("{failed} failed; {tally:?}");
    assert_eq!(failed, 0);
}
#[test]
fn tell() {
    let get = |name: &str| std::env::var(name).map_or(0, |v| v.parse().unwrap());
    for line in judge::story(get("SEED"), Rules::all(), get("KEY") as usize) {
        println!("{line}");
    }
}
