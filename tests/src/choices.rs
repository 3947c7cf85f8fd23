//! Where generators get their decisions from: a finite tape of numbers. A tape that has run out answers 0, and every generator
//! puts its simplest choice first, so cutting or zeroing the tape (what proptest's shrinking and a fuzzer do) simplifies the module.

/// A tape of choices, read once from front to back.
#[derive(Clone, Debug)]
pub struct Choices {
    tape: Vec<u32>,
    at: usize,
}

impl Choices {
    pub fn new(tape: Vec<u32>) -> Self {
        Choices { tape, at: 0 }
    }
    /// A fuzzer's bytes as a tape, two bytes a choice.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Choices::new(bytes.chunks(2).map(|b| b.iter().fold(0, |n, &x| n << 8 | u32::from(x))).collect())
    }
    /// The same tape for the same seed, on every machine.
    pub fn from_seed(seed: u64, length: usize) -> Self {
        let mut state = seed;
        let mut next = || {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z >> 32) as u32
        };
        Choices::new((0..length).map(|_| next()).collect())
    }

    fn next(&mut self) -> u32 {
        let x = self.tape.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        x
    }
    /// One of `0..n` (0 when `n` is 0).
    pub fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n.max(1)
    }
    /// One of `lo..=hi`, `lo` being the simplest.
    pub fn between(&mut self, lo: i64, hi: i64) -> i64 {
        lo + self.below(usize::try_from(hi - lo + 1).unwrap_or(1)) as i64
    }
    /// One item, the first being the simplest.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
    /// True `percent` times of a hundred; false is the simpler answer.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }
    /// A random order of `0..n`; in order is the simplest.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut p: Vec<usize> = (0..n).collect();
        for k in 0..n {
            p.swap(k, k + self.below(n - k));
        }
        p
    }
}
