//! What was written in a world, by whom it was overruled, and what the world saw: only for judging it at the end.

/// The number of a write, from 0.
pub(super) type Mark = u8;

/// A set of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks([u64; 4]);

impl Marks {
    /// Takes one in.
    pub(super) fn add(&mut self, mark: Mark) {
        self.0[usize::from(mark) / 64] |= 1 << (mark % 64);
    }

    /// Takes all of another set in.
    pub(super) fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(into, from)| *into |= from);
    }

    /// Whether it is in.
    pub(super) fn has(&self, mark: Mark) -> bool {
        self.0[usize::from(mark) / 64] & (1 << (mark % 64)) != 0
    }
}

/// A write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    /// Of which key.
    pub(super) key: usize,
    /// What it made of it.
    pub(super) value: Option<u16>,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) conflicts: u64,
    pub(super) taken_as_ours: u64,
    /// Of these, rows of keys that were not here.
    pub(super) revived: u64,
    pub(super) counted_as_new: u64,
    pub(super) removed: u64,
    pub(super) held: u64,
    pub(super) released: u64,
    pub(super) blocked: u64,
    pub(super) adopted: u64,
    pub(super) restored: u64,
    pub(super) purged: u64,
    pub(super) fulls: u64,
    pub(super) refused: u64,
}

impl Tally {
    /// Whether whatever can happen has happened.
    pub(super) fn reached_everything(&self) -> bool {
        let counts = [
            self.conflicts,
            self.taken_as_ours,
            self.revived,
            self.counted_as_new,
            self.removed,
            self.held,
            self.released,
            self.blocked,
            self.adopted,
            self.restored,
            self.purged,
            self.fulls,
            self.refused,
        ];
        counts.iter().all(|count| *count > 0)
    }

    /// Adds another world's.
    pub(super) fn add(&mut self, other: &Self) {
        self.conflicts += other.conflicts;
        self.taken_as_ours += other.taken_as_ours;
        self.revived += other.revived;
        self.counted_as_new += other.counted_as_new;
        self.removed += other.removed;
        self.held += other.held;
        self.released += other.released;
        self.blocked += other.blocked;
        self.adopted += other.adopted;
        self.restored += other.restored;
        self.purged += other.purged;
        self.fulls += other.fulls;
        self.refused += other.refused;
    }
}

/// All writes, and which of them made another one vanish: it was written over it, or won a recorded conflict.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) writes: Vec<Write>,
    /// The one that vanished, and the one in its place.
    pub(super) overruled: Vec<(Mark, Mark)>,
    /// Those that another server than the writer's has ever seen.
    pub(super) delivered: Marks,
    pub(super) tally: Tally,
    /// The key whose story is told, and the story so far.
    pub(super) story: Option<(usize, Vec<String>)>,
}

impl Record {
    /// Tells what happened to a key, where its story is wanted.
    pub(super) fn tell(&mut self, key: usize, line: impl FnOnce() -> String) {
        if let Some((_, story)) = self.story.as_mut().filter(|(wanted, _)| *wanted == key) {
            story.push(line());
        }
    }

    /// Tells what happened to all keys.
    pub(super) fn tell_all(&mut self, line: impl FnOnce(usize) -> String) {
        if let Some((key, story)) = &mut self.story {
            story.push(line(*key));
        }
    }

    /// A new write; nothing where there were too many to tell apart.
    pub(super) fn write(&mut self, key: usize, value: Option<u16>) -> Option<Mark> {
        let mark = Mark::try_from(self.writes.len()).ok()?;
        self.writes.push(Write { key, value });
        Some(mark)
    }

    /// A row is written where others of its key went without a trace.
    pub(super) fn overrule_all(&mut self, gone: &Marks, key: usize, by: Mark) {
        for number in 0..self.writes.len() {
            let mark = Mark::try_from(number).unwrap_or(by);
            if self.writes[number].key == key && gone.has(mark) {
                self.overrule(mark, by);
            }
        }
    }

    /// All writes that came in the place of one, straight away or by others between.
    pub(super) fn followers(&self, mark: Mark) -> Vec<Mark> {
        let mut found = vec![mark];
        let mut next = 0;
        while next < found.len() {
            let of = found[next];
            for (_, by) in self.overruled.iter().filter(|(vanished, _)| *vanished == of) {
                if !found.contains(by) {
                    found.push(*by);
                }
            }
            next += 1;
        }
        found.split_off(1)
    }

    /// One write made another one vanish.
    pub(super) fn overrule(&mut self, vanished: Mark, by: Mark) {
        if vanished != by {
            self.overruled.push((vanished, by));
        }
    }
}
