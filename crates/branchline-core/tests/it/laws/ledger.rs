//! One application database with its ledger: rows with their versions, the change log, knowledge, held rows. All of it is
//! what a copy of the database holds, so that a restore brings all of it back.
//!
//! Rows are seven keys in two tables. An image is a value, or the lack of one; besides it carries the *mark* of the write
//! that made it, by which the world finds out at the end whether anybody's write went missing. The code under test never
//! sees marks.

use std::collections::BTreeMap;

use branchline_core::id::Generation;
use branchline_core::knowledge::Knowledge;
use branchline_core::merge::{LocalRow, Pending};
use branchline_core::pack::{Position, seen_in};
use branchline_core::restore::{FoundLife, RememberedLife, begin_life};
use branchline_core::version::{ChangeTime, Dot, Life, Version, stamp_time};

use super::backup::Applied;
use super::record::{Mark, Marks, Record};
use super::rules::{Rule, Rules};

/// How many keys there are.
pub(super) const KEYS: usize = 7;
/// How many tables they are in.
pub(super) const TABLES: usize = 2;

/// The table of a key.
pub(super) const fn table_of(key: usize) -> usize {
    key % TABLES
}

/// What a write made of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Image {
    /// Which write.
    pub(super) mark: Mark,
    /// The row's columns; nothing where it was deleted.
    pub(super) value: Option<u16>,
}

impl Image {
    /// In short, for a story.
    pub(super) fn told(self) -> String {
        match self.value {
            Some(value) => format!("#{}={value}", self.mark),
            None => format!("#{} deleted", self.mark),
        }
    }
}

/// A version in short, for a story.
pub(super) fn told(version: &Version) -> String {
    let was =
        version.was.as_ref().map_or(String::new(), |was| format!(" was {}:{}", was.life, was.generation));
    format!("{}:{} @{}{was}", version.dot.life, version.dot.generation, version.time.micros())
}

/// Knowledge in short, for a story.
pub(super) fn told_knowledge(knowledge: &Knowledge) -> String {
    let known: Vec<String> = knowledge.iter().map(|(life, held)| format!("{life}:{held}")).collect();
    format!("[{}]", known.join(" "))
}

/// What there is of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// The row, or what was deleted; nothing where it was never here, or its tombstone is gone.
    pub(super) image: Option<Image>,
    /// The version in the ledger.
    pub(super) version: Option<Version>,
    /// The change in the log.
    pub(super) pending: Option<Pending>,
}

impl Row {
    /// In short, for a story.
    pub(super) fn told(&self) -> String {
        let image = self.image.map_or("nothing".to_owned(), Image::told);
        let version = self.version.as_ref().map_or(String::new(), told);
        let pending = self.pending.as_ref().map_or(String::new(), |pending| {
            format!(
                " pending @{} was {:?}",
                pending.time.micros(),
                pending.was.as_ref().map(|was| (was.life.to_string(), was.generation.value()))
            )
        });
        format!("{image} {version}{pending}")
    }

    /// The time that a change of it is stamped with.
    fn stamped(&self, change: &Pending, forgotten: ChangeTime) -> ChangeTime {
        stamp_time(change.time, change.was.as_ref(), self.version.as_ref(), forgotten)
    }

    /// As the merge sees it, beside what comes in.
    pub(super) fn beside(&self, incoming: Option<Image>, forgotten: ChangeTime) -> LocalRow {
        let value = self.image.and_then(|image| image.value);
        let pending = self.pending.clone();
        let pending = pending.map(|pending| Pending { time: self.stamped(&pending, forgotten), ..pending });
        LocalRow {
            present: value.is_some(),
            version: self.version.clone(),
            pending,
            same: incoming.is_some_and(|incoming| incoming.value == value),
            in_part: false,
        }
    }
}

/// A row that waits for what it lacks.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// What it is.
    pub(super) image: Image,
    /// Its version.
    pub(super) version: Version,
    /// What the sender of its backup knew.
    pub(super) theirs: Knowledge,
    /// What was decided against it, and is not here either until it goes in.
    pub(super) stands_for: Vec<Dot>,
}

impl Held {
    /// A row that has just come in.
    pub(super) fn new(image: Image, version: Version, theirs: Knowledge) -> Self {
        Self { image, version, theirs, stands_for: Vec::new() }
    }

    /// All that we may not claim to have while it is held.
    pub(super) fn dots(&self) -> impl Iterator<Item = &Dot> {
        self.version.dots().chain(&self.stands_for)
    }
}

/// The database.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) own: Life,
    pub(super) generation: Generation,
    pub(super) clock: ChangeTime,
    pub(super) knowledge: Knowledge,
    pub(super) purged: Knowledge,
    /// No deletion whose tombstone was purged, here or wherever our horizon comes from, is later.
    pub(super) forgotten: ChangeTime,
    /// The life whose base each table holds.
    pub(super) bases: [Life; TABLES],
    pub(super) rows: [Row; KEYS],
    pub(super) held: [Option<Held>; KEYS],
    pub(super) applied: BTreeMap<usize, Applied>,
    /// Every write that was ever seen here.
    pub(super) seen: Marks,
    /// Deletions, and rows, that went from here, or from whoever told us so, without a trace.
    pub(super) gone: Marks,
}

impl Ledger {
    /// A database whose rows are all of its own base.
    pub(super) fn new(own: Life, rows: [Row; KEYS]) -> Self {
        let mut seen = Marks::default();
        rows.iter().filter_map(|row| row.image).for_each(|image| seen.add(image.mark));
        Self {
            generation: Generation::new(0),
            clock: ChangeTime::default(),
            knowledge: [(own.clone(), Generation::new(0))].into_iter().collect(),
            purged: Knowledge::new(),
            forgotten: ChangeTime::default(),
            bases: [own.clone(), own.clone()],
            own,
            rows,
            held: Default::default(),
            applied: BTreeMap::new(),
            seen,
            gone: Marks::default(),
        }
    }

    /// The time of a change that an apply makes: later than all that anybody here has heard of. What a trigger notes is
    /// the wall clock alone.
    pub(super) fn time(&self, wall: ChangeTime) -> ChangeTime {
        wall.max(self.clock.next())
    }

    /// A change of the shop's becomes visible. `time` is when it was made.
    pub(super) fn write(&mut self, key: usize, image: Image, time: ChangeTime) {
        self.seen.add(image.mark);
        let row = &mut self.rows[key];
        // Whatever was written before in this key is part of it, and so is its time.
        let time = row.pending.as_ref().map_or(time, |before| before.time.max(time));
        row.image = Some(image);
        row.pending = Some(Pending { time, was: None });
    }

    /// The version of a row or tombstone here.
    pub(super) fn version_of(&self, key: usize) -> Version {
        let base = || Version::base(self.bases[table_of(key)].clone());
        self.rows[key].version.clone().unwrap_or_else(base)
    }

    /// What may be told to peers.
    pub(super) fn told_knowledge(&self, rules: Rules) -> Knowledge {
        let held = self.held.iter().flatten().filter(|_| rules.hold(Rule::HeldLowers));
        self.knowledge.without(held.flat_map(Held::dots))
    }

    /// Takes a position: the changes in the log get the next generation.
    pub(super) fn take_position(&mut self, rules: Rules) -> Position {
        if self.rows.iter().any(|row| row.pending.is_some()) {
            self.generation = self.generation.next();
            let dot = Dot::new(self.own.clone(), self.generation);
            self.knowledge.add(dot.clone());
            for row in &mut self.rows {
                let Some(pending) = row.pending.take() else { continue };
                let forgotten = if rules.hold(Rule::StampedAfterForgotten) {
                    self.forgotten
                } else {
                    ChangeTime::default()
                };
                let time = row.stamped(&pending, forgotten);
                self.clock = self.clock.max(time);
                row.version = Some(Version { dot: dot.clone(), time, was: pending.was });
            }
        }
        let knowledge = self.told_knowledge(rules);
        let mut newest = Knowledge::new();
        let versions = self.rows.iter().filter_map(|row| row.version.as_ref());
        versions.for_each(|version| newest.add(version.dot.clone()));
        let seen = seen_in(&self.knowledge, &newest, self.held.iter().flatten().flat_map(Held::dots));
        Position {
            day: Vec::new(),
            own: self.own.clone(),
            generation: self.generation,
            seen,
            purged: self.purged.up_to(&knowledge),
            knowledge,
            clock: self.clock,
        }
    }

    /// Removes the tombstones that everybody knows.
    pub(super) fn purge(&mut self, known_to_all: &Knowledge, record: &mut Record) {
        let name = &self.own;
        for (key, row) in self.rows.iter_mut().enumerate() {
            let is_tombstone = row.image.is_some_and(|image| image.value.is_none()) && row.pending.is_none();
            let gone = row.version.as_ref().filter(|version| is_tombstone && known_to_all.knows(version));
            if let Some(version) = gone {
                self.purged.add(version.dot.clone());
                self.forgotten = self.forgotten.max(version.time);
                record.tell(key, || format!("{name} purges {}", row.told()));
                record.tally.purged += 1;
                row.image.into_iter().for_each(|image| self.gone.add(image.mark));
                *row = Row::default();
            }
        }
    }

    /// This database was restored from a copy.
    pub(super) fn begin_life(&mut self, remembered: &RememberedLife, rules: Rules) {
        let found = FoundLife { life: self.own.clone(), generation: self.generation, clock: self.clock };
        let new = begin_life(&found, remembered);
        if let Some(carried) = new.carried {
            let pending = self.rows.iter_mut().filter_map(|row| row.pending.as_mut());
            for pending in pending.filter(|pending| pending.was.is_none() && pending.time <= carried.until) {
                pending.was = Some(carried.by.clone());
            }
        }
        if rules.hold(Rule::Epoch) {
            self.generation = Generation::new(0);
            self.knowledge.add(Dot::base(new.own.clone()));
            self.own = new.own;
        }
        self.clock = new.clock;
    }
}
