//! Random numbers that a seed tells wholly: SplitMix64, a few instructions a number.

/// A row of random numbers.
pub(super) struct Dice(u64);

impl Dice {
    /// The numbers of that seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.next()) * u128::try_from(end).unwrap();
        usize::try_from(wide >> 64).unwrap()
    }

    /// Yes in so many of a thousand cases.
    pub(super) fn permille(&mut self, yes: usize) -> bool {
        self.below(1000) < yes
    }

    /// One of them.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
