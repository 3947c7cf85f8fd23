//! Register tiles of a product: how many rows and columns of the result stay in registers while the depth passes, and how wide the
//! vectors are that they are made of.

use crate::Cpu;

/// `rows` times `columns` accumulators, the columns in vectors of `lanes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tile {
    pub rows: i64,
    pub columns: i64,
    pub lanes: i64,
}

/// Vectors of columns in one tile, at most; more where there is only one row, whose sums would otherwise wait for each other.
const COLUMNS: i64 = 4;
const COLUMNS_OF_ONE_ROW: i64 = 8;
const ROWS: i64 = 14;
/// Steps that a multiply-add takes until its sum can be used, times those that a core begins at once.
const IN_FLIGHT: i64 = 8;

/// The tile for `m` rows and `n` columns, with so many `rows` if they are given; `None` is a number not known before the model runs.
pub fn tile(m: Option<i64>, n: Option<i64>, rows: Option<i64>, cpu: Cpu) -> Tile {
    let lanes = i64::from(cpu.lanes);
    if lanes == i64::from(Cpu::BASELINE.lanes) && cpu.registers <= Cpu::BASELINE.registers {
        return baseline(m, n);
    }
    let (least, most) = rows.map_or((1, ROWS), |r| (r, r));
    let mut best: Option<(i64, Tile)> = None;
    for lanes in [lanes, lanes / 2, lanes / 4].into_iter().filter(|l| *l >= i64::from(Cpu::BASELINE.lanes)) {
        for vectors in 1..=COLUMNS_OF_ONE_ROW {
            for rows in least..=most {
                if vectors > COLUMNS && rows > 1 || !fits(rows, vectors, cpu) {
                    continue;
                }
                let t = Tile { rows, columns: vectors * lanes, lanes };
                let cost = cost(&t, m, n);
                // Of equals the larger tile: it reads less.
                if best.is_none_or(|(c, b)| (cost, -t.rows * t.columns) < (c, -b.rows * b.columns)) {
                    best = Some((cost, t));
                }
            }
        }
    }
    best.map_or_else(|| baseline(m, n), |(_, t)| t)
}

/// Sums, a vector of each column, and a register in which an element of a row is spread.
fn fits(rows: i64, vectors: i64, cpu: Cpu) -> bool {
    let spread = 1;
    rows * vectors + vectors + spread <= i64::from(cpu.registers)
}

/// What an unknown number of rows (steps of a sequence) and of columns (these, or pixels) may well be.
const LIKELY_ROWS: [i64; 6] = [1, 4, 8, 16, 50, 128];
const LIKELY_COLUMNS: [i64; 5] = [50, 128, 196, 784, 3136];

/// Half-cycles that all tiles take for one step of depth, as against the least that so many sums could take, in parts of 2^16.
fn cost(t: &Tile, m: Option<i64>, n: Option<i64>) -> i64 {
    let vectors = t.columns / t.lanes;
    let sums = t.rows * vectors;
    // What is multiplied must be loaded: a vector a column, an element a row.
    let step = sums.max(t.rows + vectors).max(IN_FLIGHT);
    // What is computed for nothing.
    let padded = |size: Option<i64>, likely: &[i64], each: i64| -> i64 {
        let one = |n: i64| ((n + each - 1) / each * each) * 256 / n.max(1);
        match size {
            Some(n) => one(n),
            None => likely.iter().map(|n| one(*n)).sum::<i64>() / likely.len() as i64,
        }
    };
    padded(m, &LIKELY_ROWS, t.rows).saturating_mul(padded(n, &LIKELY_COLUMNS, t.columns)).saturating_mul(step) / (t.rows * t.columns)
}

/// How wide the vectors of a tile with so many columns are.
pub fn lanes(columns: i64, widest: i64) -> i64 {
    let fits = |l: &i64| *l > 0 && columns % *l == 0;
    [widest, widest / 2, widest / 4].into_iter().find(fits).unwrap_or(1)
}

/// Vectors of four, sixteen registers.
fn baseline(m: Option<i64>, n: Option<i64>) -> Tile {
    let [rows, columns] = match (m, n) {
        (Some(1), _) => [1, 32],
        (Some(2), _) => [2, 16],
        (_, Some(1..=4)) => [8, 4],
        _ => [4, 8],
    };
    Tile { rows, columns: n.map_or(columns, |n| columns.min((n + 3) / 4 * 4)), lanes: 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_follow_from_registers_and_shape() {
        let of = |lanes, registers, m, n| {
            let t = tile(m, n, None, Cpu { lanes, registers });
            (t.rows, t.columns, t.lanes)
        };
        assert_eq!(of(4, 16, Some(64), Some(64)), (4, 8, 4));
        assert_eq!(of(8, 16, Some(1 << 12), Some(1 << 12)), (6, 16, 8));
        assert_eq!(of(16, 32, Some(14 << 12), Some(1 << 12)), (14, 32, 16));
        // No row or column is computed for nothing.
        assert_eq!(of(16, 32, Some(64), Some(3136)).0 * 64 % of(16, 32, Some(64), Some(3136)).0, 0);
        assert_eq!(of(16, 32, None, Some(7)).2, 8);
        assert_eq!(of(16, 32, Some(1), Some(1000)).0, 1);
    }
}
