//! Knowledge: of each life, the highest generation that is held here.
//!
//! To know a generation is to know all before it, in whatever order transactions committed. A change that was not
//! packed yet has no dot, and is in nobody's knowledge. Knowing a life at all is knowing its base.

use std::collections::BTreeMap;
use std::collections::btree_map;

use crate::id::Generation;
use crate::version::{Dot, Life, Version};

/// The highest generation held of each life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Knowledge(BTreeMap<Life, Generation>);

impl Knowledge {
    /// Knowledge of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The highest generation held of a life; nothing where the life is not known at all.
    #[must_use]
    pub fn generation(&self, life: &Life) -> Option<Generation> {
        self.0.get(life).copied()
    }

    /// Whether the changes of that dot are held.
    #[must_use]
    pub fn has(&self, dot: &Dot) -> bool {
        self.generation(&dot.life).is_some_and(|held| held >= dot.generation)
    }

    /// Whether the change behind that version is held, under this dot or the one that it had in the life before.
    #[must_use]
    pub fn knows(&self, version: &Version) -> bool {
        self.has(&version.dot) || version.was.as_ref().is_some_and(|was| self.has(was))
    }

    /// Takes in all changes up to that dot.
    pub fn add(&mut self, dot: Dot) {
        let held = self.0.entry(dot.life).or_insert(dot.generation);
        *held = dot.generation.max(*held);
    }

    /// Takes in all that the other holds.
    pub fn join(&mut self, other: &Self) {
        for (life, generation) in other.iter() {
            self.add(Dot::new(life.clone(), generation));
        }
    }

    /// Whether all of it is in the other.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.iter().all(|(life, generation)| other.generation(life).is_some_and(|held| held >= generation))
    }

    /// What of it is about lives that `keep` says yes to.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Life) -> bool) -> Self {
        self.iter().filter(|(life, _)| keep(life)).map(|(life, held)| (life.clone(), held)).collect()
    }

    /// What is left of it where rows of those dots are held back: of their lives what is before the first of them. It is what
    /// a server that holds rows may tell its peers that it has.
    #[must_use]
    pub fn without<'a>(&self, held_back: impl IntoIterator<Item = &'a Dot>) -> Self {
        let mut rest = self.clone();
        held_back.into_iter().for_each(|dot| rest.end_before(dot));
        rest
    }

    fn end_before(&mut self, dot: &Dot) {
        if !self.has(dot) {
            return;
        }
        match dot.generation.value().checked_sub(1) {
            Some(before) => self.0.insert(dot.life.clone(), Generation::new(before)),
            None => self.0.remove(&dot.life),
        };
    }

    /// Each life with its highest generation, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Life, Generation)> {
        self.0.iter().map(|(life, generation)| (life, *generation))
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many lives are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<(Life, Generation)> for Knowledge {
    fn from_iter<I: IntoIterator<Item = (Life, Generation)>>(known: I) -> Self {
        let mut knowledge = Self::new();
        for (life, generation) in known {
            knowledge.add(Dot::new(life, generation));
        }
        knowledge
    }
}

impl IntoIterator for Knowledge {
    type Item = (Life, Generation);
    type IntoIter = btree_map::IntoIter<Life, Generation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Epoch;
    use crate::version::ChangeTime;

    fn life(server: &str, epoch: u64) -> Life {
        Life::new(server.parse().unwrap(), Epoch::new(epoch))
    }

    fn dot(server: &str, epoch: u64, generation: u64) -> Dot {
        Dot::new(life(server, epoch), Generation::new(generation))
    }

    #[test]
    fn to_know_a_generation_is_to_know_all_before_it_and_the_base() {
        let mut knowledge = Knowledge::new();
        assert!(!knowledge.has(&Dot::base(life("A", 1))));
        knowledge.add(dot("A", 1, 3));
        knowledge.add(dot("A", 1, 2));
        for (generation, known) in [(0, true), (1, true), (3, true), (4, false)] {
            assert_eq!(knowledge.has(&dot("A", 1, generation)), known, "{generation}");
        }
        assert!(!knowledge.has(&dot("A", 2, 0)));
    }

    #[test]
    fn a_change_is_known_by_the_dot_of_the_life_before_too() {
        let knowledge: Knowledge = [(life("A", 1), Generation::new(5))].into_iter().collect();
        let again = |was| Version { dot: dot("A", 2, 1), time: ChangeTime::from_micros(7), was };
        assert!(knowledge.knows(&again(Some(dot("A", 1, 5)))));
        assert!(!knowledge.knows(&again(Some(dot("A", 1, 6)))));
        assert!(!knowledge.knows(&again(None)));
    }

    #[test]
    fn joining_takes_the_higher_of_each() {
        let mut one: Knowledge = [(life("A", 1), Generation::new(5))].into_iter().collect();
        let other: Knowledge =
            [(life("A", 1), Generation::new(3)), (life("B", 1), Generation::new(1))].into_iter().collect();
        assert!(!other.is_within(&one));
        one.join(&other);
        assert!(other.is_within(&one));
        assert_eq!((one.len(), one.generation(&life("A", 1))), (2, Some(Generation::new(5))));
        let only_b = one.only(|life| life.server.as_str() == "B");
        assert_eq!(only_b, [(life("B", 1), Generation::new(1))].into_iter().collect());
    }
}
