//! A world of servers in virtual time. One seed tells all of it: who there is, who is linked to whom, what happens.
//!
//! In random order the shops write, in transactions that may stay open while others pack, the servers pack, send, lose,
//! repeat and apply backups, receive old files, purge tombstones, cannot apply some rows for a while, join late, and are
//! restored from old copies. Then everything is delivered, and the world is judged.

use std::rc::Rc;

use branchline_core::id::{Epoch, Generation};
use branchline_core::knowledge::Knowledge;
use branchline_core::standing::Standing;
use branchline_core::version::{ChangeTime, Dot, Life};

use super::backup::Backup;
use super::dice::Dice;
use super::ledger::{Image, KEYS, Ledger, Row, told, told_knowledge};
use super::record::Record;
use super::rules::Rules;
use super::server::{Conditions, Guard, Open, Server};

/// How servers are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The first with each other one, and it relays.
    Star,
    /// Each with the next, and all relay.
    Ring,
    /// Each with each; some relay.
    Mesh,
}

/// What a world is like.
#[derive(Debug, Clone)]
pub(super) struct Climate {
    /// Much goes wrong at once, in few rows.
    pub(super) rough: bool,
    pub(super) shape: Shape,
    pub(super) servers: usize,
    pub(super) guard: Guard,
    /// All start with the same rows and know it, as after a first full backup.
    pub(super) in_step: bool,
    pub(super) late_joiners: bool,
    pub(super) restores: bool,
    pub(super) holds: bool,
    pub(super) transactions: bool,
    /// The first backup of a pair that starts anew is full.
    pub(super) anew_by_full: bool,
    /// Several writes may make the same image.
    pub(super) equal_images: bool,
    pub(super) steps: usize,
    /// A new life marks the changes that the life before has carried; clocks never step back then.
    pub(super) marks_carried: bool,
    /// How many keys are written.
    pub(super) keys: usize,
    /// How often, in a thousand steps, a database is restored where that happens at all.
    pub(super) restores_permille: usize,
}

impl Climate {
    fn roll(dice: &mut Dice) -> Self {
        let rough = dice.permille(300);
        Self {
            rough,
            shape: *dice.pick(&[Shape::Star, Shape::Ring, Shape::Mesh]),
            servers: 2 + dice.below(if rough { 2 } else { 4 }),
            guard: if dice.permille(700) { Guard::Chain } else { Guard::Lives },
            in_step: dice.permille(300),
            late_joiners: dice.permille(400),
            restores: rough || dice.permille(450),
            holds: rough || dice.permille(350),
            transactions: dice.permille(400),
            anew_by_full: dice.permille(300),
            equal_images: dice.permille(200),
            steps: 20 + dice.below(130),
            marks_carried: dice.permille(500),
            keys: 1 + dice.below(if rough { 2 } else { KEYS }),
            restores_permille: *dice.pick(if rough { &[30, 60, 90] } else { &[10, 20, 40] }),
        }
    }

    fn relays(&self, server: usize, dice: &mut Dice) -> bool {
        match self.shape {
            Shape::Star => server == 0,
            Shape::Ring => true,
            Shape::Mesh => dice.permille(500),
        }
    }

    /// The pairs of servers that are linked, once both are there.
    fn links(&self) -> Vec<(usize, usize)> {
        let n = self.servers;
        let mut links: Vec<(usize, usize)> = match self.shape {
            Shape::Star => (1..n).map(|leaf| (0, leaf)).collect(),
            Shape::Ring => (0..n).map(|one| (one, (one + 1) % n)).collect(),
            Shape::Mesh => (0..n).flat_map(|one| (one + 1..n).map(move |other| (one, other))).collect(),
        };
        links.iter_mut().for_each(|link| *link = (link.0.min(link.1), link.0.max(link.1)));
        links.sort_unstable();
        links.dedup();
        links
    }
}

/// The world.
pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) climate: Climate,
    pub(super) servers: Vec<Server>,
    pub(super) record: Record,
    dice: Dice,
    now: u64,
    links: Vec<(usize, usize)>,
    joined: Vec<bool>,
    files: Vec<Rc<Backup>>,
    copies: Vec<(usize, Ledger)>,
}

impl World {
    /// The world of a seed, before anything has happened.
    pub(super) fn new(seed: u64, rules: Rules) -> Self {
        let mut dice = Dice::new(seed);
        let climate = Climate::roll(&mut dice);
        let mut world = Self::empty(climate, dice, rules);
        world.populate();
        world
    }

    /// The ring of four relaying servers in which the executable model found that it lacked a rule. All are in step, and
    /// hold nothing.
    pub(super) fn ring_of_four(rules: Rules) -> Self {
        let climate = Climate {
            rough: false,
            shape: Shape::Ring,
            servers: 4,
            guard: Guard::Lives,
            in_step: true,
            late_joiners: false,
            restores: true,
            holds: false,
            transactions: false,
            anew_by_full: false,
            equal_images: false,
            steps: 0,
            marks_carried: true,
            keys: KEYS,
            restores_permille: 0,
        };
        let mut world = Self::empty(climate, Dice::new(0), rules);
        (0..4).for_each(|index| world.settle_in(index, 0, Default::default()));
        (0..4).for_each(|index| world.join(index));
        world
    }

    fn empty(climate: Climate, dice: Dice, rules: Rules) -> Self {
        Self {
            rules,
            links: climate.links(),
            joined: vec![false; climate.servers],
            servers: Vec::new(),
            record: Record::default(),
            now: 1000,
            files: Vec::new(),
            copies: Vec::new(),
            climate,
            dice,
        }
    }

    fn populate(&mut self) {
        let common: [Option<Image>; KEYS] = std::array::from_fn(|key| self.base_image(key));
        for index in 0..self.climate.servers {
            let rows = std::array::from_fn(|key| {
                let image = if self.climate.in_step { common[key] } else { self.own_base(key, common[key]) };
                Row { image, ..Row::default() }
            });
            let skew = *self.dice.pick(&[0, 0, 5, -5, 400]);
            self.settle_in(index, skew, rows);
        }
        for index in 0..self.climate.servers {
            let late = self.climate.late_joiners && !self.climate.in_step && index > 0;
            if !(late && self.dice.permille(400)) {
                self.join(index);
            }
        }
    }

    fn settle_in(&mut self, index: usize, skew: i64, rows: [Row; KEYS]) {
        let own = Life::new(format!("S{index}").parse().unwrap(), Epoch::new(1));
        let mut ledger = Ledger::new(own, rows);
        if self.climate.in_step {
            let zero = Life::new("ZERO".parse().unwrap(), Epoch::new(1));
            ledger.bases = [zero.clone(), zero.clone()];
            ledger.knowledge.add(Dot::base(zero));
        }
        let relay = self.climate.relays(index, &mut self.dice);
        self.servers.push(Server::new(index, relay, skew, ledger));
    }

    fn base_image(&mut self, key: usize) -> Option<Image> {
        if self.dice.permille(400) {
            return None;
        }
        self.image(key, true)
    }

    /// What a server holds of a key before it meets anybody: nothing, what others hold too, or something else.
    fn own_base(&mut self, key: usize, common: Option<Image>) -> Option<Image> {
        match self.dice.below(4) {
            0 => self.base_image(key),
            1 => None,
            _ => common,
        }
    }

    /// An image that somebody writes; nothing where there were too many.
    pub(super) fn image(&mut self, key: usize, live: bool) -> Option<Image> {
        let next = u16::try_from(self.record.writes.len()).ok()?;
        let value = if self.climate.equal_images { next % 2 } else { next };
        let value = live.then_some(value);
        Some(Image { mark: self.record.write(key, value)?, value })
    }

    /// A server meets those that it is linked with and that are there.
    fn join(&mut self, index: usize) {
        self.joined[index] = true;
        for (one, other) in self.links.clone() {
            if (one == index || other == index) && self.joined[one] && self.joined[other] {
                self.pair(one, other);
                self.pair(other, one);
            }
        }
    }

    fn pair(&mut self, server: usize, peer: usize) {
        let mut acknowledged = Knowledge::new();
        if self.climate.in_step {
            let zero = &self.servers[peer].ledger.bases[0];
            acknowledged = [(zero.clone(), Generation::new(0))].into_iter().collect();
        }
        let name = self.servers[peer].name.clone();
        self.servers[server].pair_with(peer, name, acknowledged);
    }

    /// Both directions of each link that is there.
    pub(super) fn directed(&self) -> Vec<(usize, usize)> {
        let there = self.links.iter().filter(|(one, other)| self.joined[*one] && self.joined[*other]);
        there.flat_map(|(one, other)| [(*one, *other), (*other, *one)]).collect()
    }

    /// Everything that happens until all is delivered.
    pub(super) fn live(&mut self) {
        for _ in 0..self.climate.steps {
            self.now += u64::try_from(self.dice.below(4)).unwrap();
            self.step();
        }
        for index in 0..self.climate.servers {
            if !self.joined[index] {
                self.join(index);
            }
            while !self.servers[index].open.is_empty() {
                self.commit(index);
            }
            self.servers[index].obstacles = [false; KEYS];
        }
    }

    fn step(&mut self) {
        let server = self.dice.below(self.climate.servers);
        if self.climate.restores
            && !self.copies.is_empty()
            && self.dice.permille(self.climate.restores_permille)
        {
            let copy = self.dice.below(self.copies.len());
            self.restore(copy);
            return;
        }
        match self.dice.below(1000) {
            0..380 => self.write(server),
            780..850 => self.purge(server),
            850..880 => self.bring_old_file(),
            880..910 if self.climate.transactions => self.begin(server),
            910..940 if self.climate.transactions => self.commit(server),
            940..955 if self.climate.holds => self.toggle_obstacle(server),
            380..420 if self.climate.rough => self.toggle_obstacle(server),
            420..500 if self.climate.rough => self.purge(server),
            380..780 => self.exchange_some(),
            955..960 if !self.joined[server] => self.join(server),
            960..985 => self.copy(server),
            _ => self.exchange_some(),
        }
    }

    /// A row of that key cannot be applied from now on, or can again.
    fn toggle_obstacle(&mut self, server: usize) {
        let key = self.dice.below(self.climate.keys);
        let obstacle = &mut self.servers[server].obstacles[key];
        *obstacle = !*obstacle;
    }

    fn write(&mut self, server: usize) {
        let key = self.dice.below(self.climate.keys);
        if self.servers[server].is_locked(key) {
            return;
        }
        let Some((image, time)) = self.change(server, key) else { return };
        self.make_visible(server, key, image, time);
    }

    /// A change that a shop makes, and its time.
    fn change(&mut self, server: usize, key: usize) -> Option<(Image, ChangeTime)> {
        let is_live = |row: &Row| row.image.is_some_and(|image| image.value.is_some());
        let deletes = is_live(&self.servers[server].ledger.rows[key]) && self.dice.permille(500);
        let image = self.image(key, !deletes)?;
        let server = &self.servers[server];
        Some((image, server.wall(self.now)))
    }

    pub(super) fn make_visible(&mut self, server: usize, key: usize, image: Image, time: ChangeTime) {
        let ledger = &mut self.servers[server].ledger;
        let before = ledger.rows[key].image;
        before.into_iter().for_each(|before| self.record.overrule(before.mark, image.mark));
        if before.is_none_or(|before| before.value.is_none()) {
            self.record.overrule_all(&ledger.gone, key, image.mark);
        }
        ledger.write(key, image, time);
        self.record.tell(key, || format!("{} writes {} @{}", ledger.own, image.told(), time.micros()));
    }

    fn begin(&mut self, server: usize) {
        let mut changes: Vec<(usize, Image, ChangeTime)> = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let key = self.dice.below(self.climate.keys);
            let taken = changes.iter().any(|(locked, ..)| *locked == key);
            if !taken && !self.servers[server].is_locked(key) {
                let change = self.change(server, key);
                changes.extend(change.map(|(image, time)| (key, image, time)));
            }
        }
        self.servers[server].open.push(Open { changes });
    }

    fn commit(&mut self, server: usize) {
        let open = &mut self.servers[server].open;
        if open.is_empty() {
            return;
        }
        let which = self.dice.below(open.len());
        for (key, image, time) in open.remove(which).changes {
            self.make_visible(server, key, image, time);
        }
    }

    fn exchange_some(&mut self) {
        let directed = self.directed();
        if directed.is_empty() {
            return;
        }
        let (from, to) = *self.dice.pick(&directed);
        if [from, to].iter().any(|server| self.servers[*server].is_rewound) && self.dice.permille(600) {
            // Nobody has said yet that the restored database goes on.
            return;
        }
        let wanted_full = self.dice.permille(30);
        let lost = self.dice.permille(300);
        let receipt_lost = self.dice.permille(300);
        self.exchange(from, to, wanted_full, lost, receipt_lost);
    }

    fn conditions(&self) -> Conditions {
        let Climate { guard, anew_by_full, .. } = self.climate;
        Conditions { rules: self.rules, guard, anew_by_full, now: self.now }
    }

    /// One server sends to another what it lacks.
    pub(super) fn exchange(
        &mut self,
        from: usize,
        to: usize,
        wanted_full: bool,
        lost: bool,
        receipt_lost: bool,
    ) -> Rc<Backup> {
        for server in [from, to] {
            self.begin_life(server);
        }
        let conditions = self.conditions();
        for (server, peer) in [(from, to), (to, from)] {
            let [server, peer] = self.servers.get_disjoint_mut([server, peer]).unwrap();
            server.meet(peer, &conditions);
        }
        let backup = self.servers[from].pack(to, self.files.len(), wanted_full, &conditions);
        self.files.push(Rc::clone(&backup));
        self.tell_of(&backup, lost, receipt_lost);
        if lost {
            return backup;
        }
        let refused = self.record.tally.refused;
        let receipt = self.deliver(&backup);
        if refused < self.record.tally.refused {
            self.servers[from].start_chain_anew(to);
        }
        if let Some(receipt) = receipt.filter(|_| !receipt_lost) {
            self.servers[from].acknowledge(&backup, &receipt, &conditions);
        }
        backup
    }

    fn tell_of(&mut self, backup: &Backup, lost: bool, receipt_lost: bool) {
        self.record.tell_all(|key| {
            let (own, to) = (&self.servers[backup.source].ledger.own, backup.target);
            let way = format!("{own} to S{to}, full {}", backup.packed.full);
            let known = [&backup.above, &backup.packed.covers, &backup.knowledge, &backup.purged];
            let known = known.map(told_knowledge);
            let row = backup.rows.iter().find(|sent| sent.key == key);
            let row =
                row.map_or("-".to_owned(), |sent| format!("{} {}", sent.image.told(), told(&sent.version)));
            format!("{way}, lost {lost}/{receipt_lost}: {row}; above, covers, knowledge, purged {known:?}")
        });
    }

    pub(super) fn begin_life(&mut self, server: usize) {
        if self.servers[server].is_rewound {
            self.servers[server].begin_life(self.climate.marks_carried, self.rules);
        }
    }

    fn deliver(&mut self, backup: &Backup) -> Option<Standing> {
        if self.servers[backup.target].is_rewound {
            return None;
        }
        let conditions = self.conditions();
        self.servers[backup.target].receive(backup, &conditions, &mut self.record)
    }

    fn bring_old_file(&mut self) {
        if !self.files.is_empty() {
            let file = Rc::clone(self.dice.pick(&self.files));
            self.deliver(&file);
        }
    }

    pub(super) fn bring_file(&mut self, number: usize) {
        let file = Rc::clone(&self.files[number]);
        self.deliver(&file);
    }

    pub(super) fn purge(&mut self, server: usize) {
        if self.servers[server].is_rewound {
            return;
        }
        self.servers[server].purge(self.rules, &mut self.record);
    }

    pub(super) fn copy(&mut self, server: usize) {
        self.copies.push((server, self.servers[server].ledger.clone()));
    }

    /// Puts a copy back; gives the server whose it is.
    pub(super) fn restore(&mut self, copy: usize) -> usize {
        let (server, ledger) = &self.copies[copy];
        let server = *server;
        self.record.tally.restored += 1;
        self.record.tell_all(|key| {
            let before = &self.servers[server].ledger;
            let known = [&before.knowledge, &ledger.knowledge].map(told_knowledge);
            let rows = [&before.rows[key], &ledger.rows[key]].map(Row::told);
            format!("S{server} is restored: {rows:?}, {known:?}")
        });
        self.servers[server].restore(ledger);
        if !self.climate.marks_carried && self.dice.permille(300) {
            // The clock of a machine that was rebuilt may be anything.
            self.servers[server].skew = *self.dice.pick(&[0, -30, -400, 50]);
        }
        server
    }

    pub(super) fn chance(&mut self, permille: usize) -> bool {
        self.dice.permille(permille)
    }

    pub(super) fn some_server(&mut self) -> usize {
        self.dice.below(self.climate.servers)
    }
}
