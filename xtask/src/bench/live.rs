//! `bench live`: how long after its commit at the store a row is there at the head office, and what the store costs
//! while nothing happens.
//!
//! One private cluster with PostgreSQL's default settings (fsync on) holds both databases. Both servers serve, each a
//! process of its own on loopback; the store's schedule has one entry, of kind `live`.
//!
//! **Latency.** A client of the store commits payments one by one, each a transaction of its own, at random gaps from
//! 5 ms to 2 s (as many short ones as long ones, by their logarithm, so that the store also meets changes after it had
//! come to rest). It does not wait for their arrival. Each row carries `clock_timestamp()` of the moment of its insert,
//! just before the commit. At the head office a session looks for the next row by its key every millisecond, each time
//! with a new snapshot, and takes `clock_timestamp()` when it sees it, so after the commit there. It is the same clock,
//! and both ends err against us: the store's own commit and up to a millisecond of looking are counted in.
//!
//! **Idle.** Then nothing is committed. Processor time, user and system, of the store's process over that time, from
//! `/proc`; beside it that of the store's connections to its database, whose work it is too. A last payment says how
//! long the first change after the rest takes.
//!
//! At last both databases are proven equal.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::databases::{self, OWNER};
use super::machine::{self, processor_seconds};
use super::report::rounded;
use super::servers::{Capture, Pair};
use super::serving::Serving;
use super::{Size, equality, median, percentile};
use crate::dataset;
use crate::failure::{Doing, Failure};
use crate::install;
use crate::postgres::{Cluster, Durability, Session};
use crate::program;

const STORE: &str = "shop";
const OFFICE: &str = "office";

const SCHEDULE: &str = "[[schedule]]\nname = \"live\"\nkind = \"live\"\n";

/// Between two transactions.
const GAP_MIN: Duration = Duration::from_millis(5);
const GAP_MAX: Duration = Duration::from_secs(2);

/// The fewest transactions, however short the run.
const TRANSACTIONS_MIN: usize = 20;

/// How long a row may take, before the bench gives up on it.
const ARRIVAL: Duration = Duration::from_secs(60);

/// What comes to rest after the last arrival is not counted as idle.
const REST: Duration = Duration::from_secs(2);

/// For how long nothing happens: as long as there was trade, within these bounds.
const IDLE_MIN: u64 = 20;
const IDLE_MAX: u64 = 60;

/// What was measured.
struct Measured {
    latencies_ms: Vec<f64>,
    after_idle_ms: f64,
    idle: Duration,
    /// Of one core.
    idle_percent: f64,
    idle_database_percent: f64,
}

pub(super) fn run(size: &Size) -> Result<(), Failure> {
    install::test_needs()?;
    let binary = program::release_binary()?;
    let cluster = Cluster::start(Durability::Defaults)?;
    databases::create_roles(&cluster, &[OWNER])?;
    databases::create(&cluster, STORE)?;
    size.say(&format!("Making a shop with {} sales.", size.orders));
    dataset::fill(&cluster, OWNER, STORE, size.orders)?;
    cluster.query(STORE, "VACUUM ANALYZE")?;
    databases::create_like(&cluster, STORE, OFFICE)?;
    let pair = Pair::start(
        &binary,
        &cluster.scratch("homes"),
        &cluster.url_of(OWNER, STORE),
        &cluster.url_of(OWNER, OFFICE),
        Capture::On,
    )?;
    pair.sync("full")?;
    let store = pair.serve_store(SCHEDULE)?;
    let measured = measure(&cluster, &store, size).map_err(|failure| {
        Failure::new(format!(
            "{failure}\nthe store says:\n{}\nthe head office says:\n{}",
            store.says(),
            pair.office_says()
        ))
    })?;
    drop(store);
    equality::prove(&cluster, STORE, OFFICE)?;
    size.say(&table(&cluster, &measured));
    println!("{}", json_line(&cluster, &measured));
    Ok(())
}

fn measure(cluster: &Cluster, store: &Serving, size: &Size) -> Result<Measured, Failure> {
    let mut till = Till::open(cluster)?;
    let mut watch = Watch::open(cluster)?;
    // The first one waits until both have found each other.
    watch.expect(1, 1)?;
    till.ring()?;
    watch.arrived()?;
    let gaps = gaps(Duration::from_secs(size.seconds));
    size.say(&format!("{} payments in about {} s.", gaps.len(), size.seconds));
    watch.expect(2, 1 + gaps.len())?;
    for gap in &gaps {
        sleep(*gap);
        till.ring()?;
    }
    let latencies_ms = watch.arrived()?;
    sleep(REST);
    let idle = Duration::from_secs(size.seconds.clamp(IDLE_MIN, IDLE_MAX));
    size.say(&format!("Nothing for {} s.", idle.as_secs()));
    let (idle_percent, idle_database_percent) = idle_percents(cluster, store, idle)?;
    watch.expect(2 + gaps.len(), 2 + gaps.len())?;
    till.ring()?;
    let after_idle_ms = median(&watch.arrived()?);
    Ok(Measured { latencies_ms, after_idle_ms, idle, idle_percent, idle_database_percent })
}

/// The client of the store.
struct Till {
    session: Session,
    rung: usize,
}

impl Till {
    fn open(cluster: &Cluster) -> Result<Self, Failure> {
        let mut session = cluster.session(STORE)?;
        session.query(&format!("SET ROLE {OWNER}"))?;
        Ok(Self { session, rung: 0 })
    }

    /// Commits the next payment.
    fn ring(&mut self) -> Result<(), Failure> {
        self.rung += 1;
        let statement = format!(
            "INSERT INTO payments (id, sale_id, kind, paid, trace, paid_at, changed_at)
             VALUES ({}, md5('branchline sale 1')::uuid, 'chip', {}, 'live', clock_timestamp(), now())",
            id_of(&self.rung.to_string()),
            self.rung
        );
        self.session.query(&statement).map(drop)
    }
}

/// The session that looks for them at the head office.
struct Watch {
    session: Session,
}

impl Watch {
    fn open(cluster: &Cluster) -> Result<Self, Failure> {
        let mut session = cluster.session(OFFICE)?;
        session.query(
            "CREATE TEMPORARY TABLE seen (number int PRIMARY KEY, latency_ms double precision NOT NULL)",
        )?;
        Ok(Self { session })
    }

    /// Begins to look for the payments of these numbers, in their order: none arrives before one that was committed
    /// earlier.
    fn expect(&mut self, first: usize, last: usize) -> Result<(), Failure> {
        let limit = ARRIVAL.as_secs();
        self.session.send(&format!(
            "DO $watch$
             DECLARE
                 number int := {first};
                 made_at timestamptz;
                 until timestamptz := clock_timestamp() + interval '{limit} seconds';
             BEGIN
                 WHILE number <= {last} LOOP
                     SELECT paid_at INTO made_at FROM payments WHERE id = {};
                     IF FOUND THEN
                         INSERT INTO seen VALUES (number, 1000 * extract(epoch FROM clock_timestamp() - made_at));
                         number := number + 1;
                         until := clock_timestamp() + interval '{limit} seconds';
                     ELSIF clock_timestamp() > until THEN
                         RAISE 'payment % has not arrived after {limit} seconds', number;
                     ELSE
                         COMMIT;
                         PERFORM pg_sleep(0.001);
                     END IF;
                 END LOOP;
             END $watch$",
            id_of("number")
        ))
    }

    /// Waits for all that were expected, and gives their latencies in milliseconds.
    fn arrived(&mut self) -> Result<Vec<f64>, Failure> {
        self.session.receive()?;
        let latencies = self.session.query(
            "WITH taken AS (DELETE FROM seen RETURNING number, latency_ms)
             SELECT latency_ms FROM taken ORDER BY number",
        )?;
        latencies.lines().map(|line| line.parse().doing(|| format!("read a latency from {line:?}"))).collect()
    }
}

/// The id of a payment by its number, in SQL.
fn id_of(number: &str) -> String {
    format!("md5('live payment ' || {number})::uuid")
}

/// The gaps between transactions that fill so much time. They are the same each time: a generator of Marsaglia's
/// (xorshift) with a fixed seed.
fn gaps(time: Duration) -> Vec<Duration> {
    let range = GAP_MAX.as_secs_f64() / GAP_MIN.as_secs_f64();
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut gaps: Vec<Duration> = Vec::new();
    let mut filled = Duration::ZERO;
    while filled < time || gaps.len() < TRANSACTIONS_MIN {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The upper 32 bits as a number from 0 to 1.
        let share = f64::from(u32::try_from(state >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        let gap = GAP_MIN.mul_f64(range.powf(share));
        filled += gap;
        gaps.push(gap);
    }
    gaps
}

/// Processor time of the store and of its connections to the database, as percentages of one core.
fn idle_percents(cluster: &Cluster, store: &Serving, idle: Duration) -> Result<(f64, f64), Failure> {
    let mut session = cluster.session("postgres")?;
    let mut connections = || -> Result<BTreeMap<u32, f64>, Failure> {
        let answer = session.query(&format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{STORE}' AND application_name = 'branchline'"
        ))?;
        let process = |line: &str| line.parse::<u32>().doing(|| format!("read a process from {line:?}"));
        answer.lines().map(|line| process(line).and_then(|one| Ok((one, processor_seconds(one)?)))).collect()
    };
    let (before, start) = (connections()?, Instant::now());
    let ours_before = processor_seconds(store.process())?;
    sleep(idle);
    let (seconds, ours) = (start.elapsed().as_secs_f64(), processor_seconds(store.process())? - ours_before);
    // One that came meanwhile began with nothing; one that went takes its last moments with it.
    let spent = |(process, after): (&u32, &f64)| after - before.get(process).copied().unwrap_or(0.0);
    let database: f64 = connections()?.iter().map(spent).sum();
    Ok((100.0 * ours / seconds, 100.0 * database / seconds))
}

fn table(cluster: &Cluster, measured: &Measured) -> String {
    let of = |percent: usize| percentile(&measured.latencies_ms, percent);
    format!(
        "\n{} payments, PostgreSQL {}, {}\n\n\
         commit at the store to commit at the head office, ms\n\
         {:>10}{:>10}{:>10}{:>10}{:>10}{:>22}\n{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>22.1}\n\n\
         idle for {} s: the store {:.2} % of a core, its connections to the database {:.2} %",
        measured.latencies_ms.len(),
        cluster.version(),
        machine::describe(),
        "least",
        "50 %",
        "90 %",
        "99 %",
        "most",
        "the first after idle",
        of(0),
        of(50),
        of(90),
        of(99),
        of(100),
        measured.after_idle_ms,
        measured.idle.as_secs(),
        measured.idle_percent,
        measured.idle_database_percent
    )
}

fn json_line(cluster: &Cluster, measured: &Measured) -> String {
    let of = |percent: usize| rounded(percentile(&measured.latencies_ms, percent));
    // Written by hand: the order of the members is for people.
    format!(
        "{{\"bench\":\"live\",\"p50_ms\":{},\"p99_ms\":{},\"max_ms\":{},\"after_idle_ms\":{},\
         \"idle_core_percent\":{},\"idle_database_core_percent\":{},\"idle_s\":{},\"transactions\":{},\"pg\":\"{}\"}}",
        of(50),
        of(99),
        of(100),
        rounded(measured.after_idle_ms),
        rounded(measured.idle_percent),
        rounded(measured.idle_database_percent),
        measured.idle.as_secs(),
        measured.latencies_ms.len(),
        cluster.version()
    )
}

#[cfg(test)]
mod tests {
    use super::{GAP_MAX, GAP_MIN, TRANSACTIONS_MIN, gaps};
    use std::time::Duration;

    #[test]
    fn gaps_fill_the_time_within_their_bounds() {
        let made = gaps(Duration::from_secs(100));
        assert!(made.iter().all(|gap| (GAP_MIN..=GAP_MAX).contains(gap)));
        assert!((200..500).contains(&made.len()), "{}", made.len());
        assert!(made.iter().filter(|gap| **gap > Duration::from_secs(1)).count() > 20);
        assert_eq!(gaps(Duration::from_secs(1)).len(), TRANSACTIONS_MIN);
    }
}
