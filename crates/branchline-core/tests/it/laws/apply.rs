//! Applying a backup to a database: every decision is made by the real rules, and this does what they say.
//!
//! A row that is decided to go in may meet an *obstacle* (a parent that is missing, a child that forbids a deletion): then
//! it is held, and tried again with each later apply.

use branchline_core::knowledge::Knowledge;
use branchline_core::merge::{
    Absence, LocalRow, Parties, Pending, Verdict, decide, decide_absent, decide_beside_held, decide_held,
};
use branchline_core::version::{ChangeTime, Version};

use super::backup::{Backup, Sent};
use super::ledger::{Held, Image, KEYS, Ledger, Row, table_of, told, told_knowledge};
use super::record::Record;
use super::rules::{Rule, Rules};

/// What is so where and when a backup is applied.
pub(super) struct Site<'a> {
    pub(super) rules: Rules,
    pub(super) wall: ChangeTime,
    /// Keys whose rows cannot go in now.
    pub(super) obstacles: &'a [bool; KEYS],
}

impl Ledger {
    /// Applies a backup that fits.
    pub(super) fn apply(&mut self, backup: &Backup, site: &Site<'_>, record: &mut Record) {
        self.clock = self.clock.max(backup.clock);
        self.try_held(site, record);
        let parties = self.parties(&backup.knowledge, &backup.purged, site.rules);
        self.adopt_bases(backup, record);
        for sent in &backup.rows {
            self.seen.add(sent.image.mark);
            record.delivered.add(sent.image.mark);
            self.receive(sent, &parties, site, record);
        }
        if backup.packed.full {
            self.gone.join(&backup.gone);
            for key in (0..KEYS).filter(|key| backup.rows.iter().all(|sent| sent.key != *key)) {
                self.receive_nothing(key, &parties, site, record);
            }
            if site.rules.hold(Rule::Horizon) {
                self.purged.join(&backup.purged);
                if !backup.purged.is_empty() {
                    self.forgotten = self.forgotten.max(backup.clock);
                }
            }
        }
        self.knowledge.join(&backup.packed.covers);
    }

    fn parties(&self, theirs: &Knowledge, purged_there: &Knowledge, rules: Rules) -> Parties {
        let nothing = Knowledge::new();
        let purged_here = if rules.hold(Rule::BehindCountsAsNew) { &self.purged } else { &nothing };
        let purged_there = if rules.hold(Rule::AbsentCountsAsNew) { purged_there } else { &nothing };
        Parties::new(self.own.clone(), self.knowledge.clone(), theirs.clone(), purged_here, purged_there)
    }

    /// A table without rows takes over the base that comes in, so that its rows need no versions.
    fn adopt_bases(&mut self, backup: &Backup, record: &mut Record) {
        for (table, base) in backup.bases.iter().enumerate() {
            let of_table = |key: usize| table_of(key) == table;
            let is_empty = (0..KEYS)
                .filter(|key| of_table(*key))
                .all(|key| self.rows[key].image.is_none_or(|image| image.value.is_none()));
            let brings = backup
                .rows
                .iter()
                .any(|sent| of_table(sent.key) && sent.version == Version::base(base.clone()));
            if is_empty && brings && self.bases[table] != *base {
                self.bases[table] = base.clone();
                record.tally.adopted += 1;
            }
        }
    }

    fn try_held(&mut self, site: &Site<'_>, record: &mut Record) {
        for key in 0..KEYS {
            if site.obstacles[key] {
                continue;
            }
            let Some(held) = self.held[key].take() else { continue };
            let parties = self.parties(&held.theirs, &Knowledge::new(), site.rules);
            let local = self.local(key, held.image, site.rules, &parties);
            let verdict = decide_held(&held.version, &local, &self.bases[table_of(key)], &parties);
            record.tally.released += 1;
            self.settle(key, verdict, held, site, record);
        }
    }

    fn receive(&mut self, sent: &Sent, parties: &Parties, site: &Site<'_>, record: &mut Record) {
        let key = sent.key;
        let mut incoming = Held::new(sent.image, sent.version.clone(), parties.theirs.clone());
        let local = self.local(key, sent.image, site.rules, parties);
        let base = &self.bases[table_of(key)];
        let verdict = match self.held[key].as_mut().filter(|_| site.rules.hold(Rule::HeldYields)) {
            None => decide(&sent.version, &local, base, parties),
            Some(held) => {
                let same = held.image.value == sent.image.value;
                let beside = decide_beside_held(&sent.version, &held.version, same, parties);
                if !beside.takes() {
                    if beside != Verdict::Old {
                        held.stands_for.extend(sent.version.dots().cloned());
                        record.overrule(sent.image.mark, held.image.mark);
                    }
                    return;
                }
                record.overrule(held.image.mark, sent.image.mark);
                incoming.stands_for = held.dots().cloned().collect();
                self.held[key] = None;
                decide_held(&sent.version, &local, base, parties)
            }
        };
        self.settle(key, verdict, incoming, site, record);
    }

    /// What the merge sees of the row here.
    fn local(&self, key: usize, incoming: Image, rules: Rules, parties: &Parties) -> LocalRow {
        let mut local = self.rows[key].beside(Some(incoming), self.forgotten);
        if let Some(pending) = local.pending.as_mut().filter(|_| !rules.hold(Rule::PendingUnknown)) {
            // As if the sender held the change.
            pending.was = parties
                .theirs
                .iter()
                .next()
                .map(|(life, held)| branchline_core::version::Dot::new(life.clone(), held));
        }
        local
    }

    /// Does what was decided for a row that came in.
    fn settle(&mut self, key: usize, verdict: Verdict, incoming: Held, site: &Site<'_>, record: &mut Record) {
        record.tell(key, || {
            let (own, before, knowledge) =
                (&self.own, self.rows[key].told(), told_knowledge(&self.knowledge));
            format!(
                "{own} {knowledge} has {before}, gets {} {}: {verdict:?}",
                incoming.image.told(),
                told(&incoming.version)
            )
        });
        let verdict = match verdict {
            Verdict::TakeAsOurs
                if self.rows[key].image.is_some() && !site.rules.hold(Rule::BaseCountsAsNew) =>
            {
                Verdict::Keep
            }
            verdict => verdict,
        };
        let mine = self.rows[key].image;
        if !verdict.takes() {
            if let Some(mine) = mine.filter(|_| verdict != Verdict::Old) {
                record.tally.conflicts += u64::from(verdict.is_conflict());
                record.overrule(incoming.image.mark, mine.mark);
            }
            return;
        }
        if site.obstacles[key] {
            record.tally.held += 1;
            self.held[key] = Some(incoming);
            return;
        }
        if let Some(mine) = mine {
            record.tally.conflicts += u64::from(verdict.is_conflict());
            record.overrule(mine.mark, incoming.image.mark);
        }
        let time = self.time(site.wall);
        let base = Version::base(self.bases[table_of(key)].clone());
        let row = &mut self.rows[key];
        row.image = Some(incoming.image);
        if verdict == Verdict::TakeAsOurs {
            record.tally.taken_as_ours += 1;
            record.tally.revived += u64::from(mine.is_none());
            row.pending = Some(Pending { time, was: None });
        } else {
            row.pending = None;
            row.version = Some(incoming.version).filter(|version| *version != base);
        }
    }

    /// Does what is decided for what is here and a full backup lacks.
    fn receive_nothing(&mut self, key: usize, parties: &Parties, site: &Site<'_>, record: &mut Record) {
        let base = &self.bases[table_of(key)];
        if let Some(held) = self.held[key].as_mut() {
            let local =
                LocalRow { present: true, version: Some(held.version.clone()), ..LocalRow::default() };
            if decide_absent(&local, base, parties) == Absence::Remove {
                // What is held from now on is its deletion.
                held.image.value = None;
                held.theirs.join(&parties.theirs);
            }
        }
        let mut local = self.rows[key].beside(None, self.forgotten);
        if !site.rules.hold(Rule::PendingUnknown) && local.pending.is_some() {
            return;
        }
        local.same = false;
        let absence = decide_absent(&local, base, parties);
        record.tell(key, || {
            let (own, knowledge) = (&self.own, told_knowledge(&self.knowledge));
            format!("{own} {knowledge} has {}, a full backup lacks it: {absence:?}", self.rows[key].told())
        });
        match absence {
            Absence::Stays => {}
            Absence::Remove if !site.obstacles[key] => {
                if site.rules.hold(Rule::FullRemoves) {
                    record.tally.removed += 1;
                    self.rows[key] = Row::default();
                }
            }
            Absence::Remove | Absence::CountsAsNew => {
                record.tally.counted_as_new += 1;
                let time = self.time(site.wall);
                self.rows[key].pending = Some(Pending { time, was: None });
            }
        }
    }
}
