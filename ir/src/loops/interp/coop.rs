//! Matrices that a subgroup holds together: read, multiplied and written as one, which only works where all its invocations come and
//! ask for the same.

use super::InterpError;
use super::machine::{Held, Machine};
use super::race::{Kind, MANY};
use crate::core::{Binary, OpSet, Scalar, Value};
use crate::loops::{Coop, LoopType, Operation, Role};
use std::rc::Rc;

/// What each subgroup holds: elements row by row.
pub(super) type Matrices = Vec<Rc<Vec<Scalar>>>;

/// Machines read and write lines that start at multiples of so many bytes.
const ALIGN: i64 = 16;

impl Machine<'_, '_> {
    pub fn coop_type(&self, v: Value) -> Result<Coop, InterpError> {
        match self.ty(v)? {
            LoopType::Coop(c) => Ok(c),
            t => Err(self.malformed(format!("{v} is {t}, no matrix"))),
        }
    }
    fn matrices(&self, v: Value) -> Result<&Matrices, InterpError> {
        match self.held(v)? {
            Held::Coop(m) => Ok(m),
            Held::Lanes(_) | Held::Ptr(_) => Err(self.malformed(format!("{v} is no matrix"))),
        }
    }
    /// What was the same for all, for each.
    pub fn spread(&self, m: &Matrices) -> Matrices {
        let groups = self.width.div_ceil(self.subgroup());
        match m.as_slice() {
            [one] => vec![one.clone(); groups],
            _ => m.clone(),
        }
    }
    /// First invocations of the subgroups that take part, each as a whole; an error if one is torn apart, or not full.
    fn subgroups(&self, op: &Operation) -> Result<Vec<Option<usize>>, InterpError> {
        let size = self.subgroup();
        if !self.width.is_multiple_of(size) {
            return Err(self.malformed(format!("{} invocations are no whole subgroups of {size}", self.width)));
        }
        let group = |first: usize| {
            let here = (first..first + size).filter(|k| self.takes_part(*k)).count();
            match here {
                0 => Ok(None),
                n if n == size => Ok(Some(first)),
                _ => Err(self.divergence(op)),
            }
        };
        (0..self.width).step_by(size).map(group).collect()
    }
    /// A number that the subgroup from invocation `first` on agrees on.
    fn agreed(&self, op: &Operation, v: Value, first: usize) -> Result<i64, InterpError> {
        let x = self.lanes(v)?;
        let mine = x.at(first, 1).as_i64();
        let alike = (first..first + self.subgroup()).all(|k| x.at(k, 1).as_i64() == mine);
        if alike { Ok(mine) } else { Err(self.divergence(op)) }
    }

    pub fn coop_fill(&self, x: Value, c: Coop) -> Result<Held, InterpError> {
        let x = self.lanes(x)?;
        let n = (c.rows * c.columns) as usize;
        let each = (0..if x.each { self.width } else { 1 }).step_by(self.subgroup());
        Ok(Held::Coop(each.map(|k| Rc::new(vec![x.at(k, 1); n])).collect()))
    }

    pub fn coop_load(&mut self, op: &Operation, [p, at, stride]: [Value; 3], c: Coop) -> Result<Held, InterpError> {
        let mut out: Matrices = vec![];
        for group in self.subgroups(op)? {
            let mut data = vec![];
            for offset in self.lines(op, group, at, stride, c)? {
                let (t, lanes) = (LoopType::Scalar(c.memory().0), c.lines().1);
                let mut bytes = vec![];
                for k in 0..i64::from(lanes) {
                    let (memory, range) = self.place(op, p, offset + k, t)?;
                    self.touch(op, p, memory, &range, MANY, Kind::Read)?;
                    bytes.extend_from_slice(self.bytes(op, memory, range)?);
                }
                data.extend(bytes.chunks_exact(c.dtype.size()).filter_map(|b| Scalar::read(c.dtype, b)));
            }
            if c.role == Role::B {
                let (rows, columns) = (c.rows as usize, c.columns as usize);
                data = (0..data.len()).filter_map(|k| data.get(k % columns * rows + k / columns).copied()).collect();
            }
            out.push(Rc::new(data));
        }
        Ok(Held::Coop(out))
    }

    pub fn coop_store(&mut self, op: &Operation, [p, at, stride]: [Value; 3], v: Value) -> Result<(), InterpError> {
        let (c, all) = (self.coop_type(v)?, self.spread(self.matrices(v)?));
        for (group, data) in self.subgroups(op)?.into_iter().zip(all) {
            let mut data = data.iter();
            for offset in self.lines(op, group, at, stride, c)? {
                for (k, x) in (0..i64::from(c.columns)).zip(data.by_ref()) {
                    let (memory, range) = self.place(op, p, offset + k, LoopType::Scalar(c.dtype))?;
                    self.touch(op, p, memory, &range, MANY, Kind::Write)?;
                    let mut bytes = vec![];
                    x.write(c.dtype, &mut bytes);
                    self.write(memory, range, &bytes);
                }
            }
        }
        Ok(())
    }

    /// Offsets of a matrix's lines; none for a subgroup that is elsewhere.
    fn lines(&self, op: &Operation, group: Option<usize>, at: Value, stride: Value, c: Coop) -> Result<Vec<i64>, InterpError> {
        let Some(first) = group else { return Ok(vec![]) };
        let (at, stride) = (self.agreed(op, at, first)?, self.agreed(op, stride, first)?);
        let per = ALIGN / c.memory().0.size() as i64;
        if at % per != 0 || stride % per != 0 {
            let message =
                format!("{} ({}): lines from {at} on, {stride} apart, do not start at 16 bytes each", op.op.info().mnemonic, op.loc);
            return Err(self.malformed(message));
        }
        Ok((0..i64::from(c.lines().0)).map(|k| at.saturating_add(k.saturating_mul(stride))).collect())
    }

    pub fn coop_mma(&self, op: &Operation, [a, b, acc]: [Value; 3]) -> Result<Held, InterpError> {
        self.subgroups(op)?;
        let (x, z) = (self.coop_type(a)?, self.coop_type(acc)?);
        let (depth, columns, d) = (x.columns as usize, z.columns as usize, z.dtype);
        let get = |m: &[Scalar], k: usize| m.get(k).copied().unwrap_or(Scalar::Int(0)).cast(x.dtype, d);
        let product = |a: &[Scalar], b: &[Scalar], acc: &[Scalar]| {
            let element = |(k, sum): (usize, &Scalar)| {
                let (i, j) = (k / columns, k % columns);
                let term = |l: usize| Binary::Mul.eval(d, get(a, i * depth + l), get(b, l * columns + j));
                (0..depth).fold(*sum, |sum, l| Binary::Add.eval(d, sum, term(l)))
            };
            Rc::new(acc.iter().enumerate().map(element).collect::<Vec<_>>())
        };
        let [a, b, acc] = [self.matrices(a)?, self.matrices(b)?, self.matrices(acc)?].map(|m| self.spread(m));
        Ok(Held::Coop(a.iter().zip(&b).zip(&acc).map(|((a, b), c)| product(a, b, c)).collect()))
    }
}
