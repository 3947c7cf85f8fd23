//! Weights of a few bits in blocks that share a scale, unpacked where they are used.

use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op};

/// `[…, n]` bytes as `[…, n * 8 / bits]` numbers, the lowest bits first.
fn unpacked(c: &mut Call, x: &Val, bits: i64) -> Got<Val> {
    if x.dtype() != DType::U8 {
        return Err(operand(format!("packed weights are {}, must be bytes", x.ty)));
    }
    if bits == 8 {
        return Ok(x.clone());
    }
    crate::import::packed::unpack(c.build, x, bits as u32)
}

/// How wide a number is and how many share a scale.
struct Blocks {
    bits: i64,
    size: i64,
}

impl Blocks {
    fn of(c: &Call, size: i64) -> Got<Blocks> {
        let bits = c.attrs.int_or("bits", 4)?;
        let size = c.attrs.int_or("block_size", size)?;
        if ![2, 4, 8].contains(&bits) {
            return Err(bad("bits", format!("is {bits}; supported: 2, 4, 8")));
        }
        if !(8..=1 << 20).contains(&size) || size & (size - 1) != 0 {
            return Err(bad("block_size", format!("is {size}, must be a power of two from 8 on")));
        }
        Ok(Blocks { bits, size })
    }

    /// `(numbers - zero points) * scales`, for `numbers[…, blocks, size]` and one scale a block.
    fn scale(&self, c: &mut Call, numbers: &Val, scales: &Val, zeros: Option<Val>) -> Got<Val> {
        let dtype = scales.dtype();
        let wide = c.cast(numbers, dtype)?;
        let centred = match zeros {
            Some(z) => {
                let z = c.cast(&z, dtype)?;
                c.sub(&wide, &z)?
            }
            None => c.with(BinaryFn::Sub, &wide, f64::from(1u32 << (self.bits - 1)))?,
        };
        c.mul(&centred, scales)
    }
}

/// `A * B'`, where `B` is `[N, blocks, bytes]`.
pub fn mat_mul(c: &mut Call) -> Out {
    c.attrs.ignore(&["accuracy_level", "weight_prepacked"]);
    let (k, n) = (c.count("K")?, c.count("N")?);
    let by = Blocks::of(c, 0)?;
    let (a, b, scales) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let blocks = (k - 1) / by.size + 1;
    let total = Dim::from(n) * blocks;
    let bytes = by.size * by.bits / 8;
    c.equal(&b.ty.elements(), &(&total * bytes), "bytes of the weight")?;
    c.equal(&scales.ty.elements(), &total, "scales and blocks")?;
    let b = c.reshape(&b, vec![Dim::from(n), Dim::from(blocks), Dim::from(bytes)])?;
    let numbers = unpacked(c, &b, by.bits)?;
    let each = vec![Dim::from(n), Dim::from(blocks), Dim::ONE];
    let scales = c.reshape(&scales, each.clone())?;
    let zeros = match c.opt(3) {
        // Rows of packed zero points start at whole bytes.
        Some(z) if z.dtype() == DType::U8 => {
            let row = (blocks * by.bits - 1) / 8 + 1;
            let z = c.reshape_checked(&z, vec![Dim::from(n), Dim::from(row)], "the zero points")?;
            let z = unpacked(c, &z, by.bits)?;
            let z = c.part(&z, 1, Dim::ZERO, Dim::from(blocks))?;
            Some(c.reshape(&z, each)?)
        }
        Some(z) => Some(c.reshape_checked(&z, each, "the zero points")?),
        None => None,
    };
    let weight = match c.opt(4) {
        None => by.scale(c, &numbers, &scales, zeros)?,
        Some(group) => {
            // Each row of the weight names the block whose scale it has.
            let numbers = c.reshape(&numbers, vec![Dim::from(n), Dim::from(blocks * by.size)])?;
            let numbers = c.part(&numbers, 1, Dim::ZERO, Dim::from(k))?;
            c.want_indices(&group, "block numbers")?;
            let listed = c.fixed(&group, 0, "the number of block numbers")?;
            if group.rank() != 1 || listed < k {
                return Err(operand(format!("block numbers are {}, needs {k}", group.ty)));
            }
            let group = c.part(&group, 0, Dim::ZERO, Dim::from(k))?;
            let own = |c: &mut Call, v: &Val| {
                let v = c.reshape(v, vec![Dim::from(n), Dim::from(blocks)])?;
                c.emit(Op::Gather { axis: 1 }, &[&v, &group], v.dtype(), vec![Dim::from(n), Dim::from(k)])
            };
            let scales = own(c, &scales)?;
            let zeros = zeros.map(|z| own(c, &z)).transpose()?;
            by.scale(c, &numbers, &scales, zeros)?
        }
    };
    let columns = if weight.rank() == 3 { c.reshape(&weight, vec![Dim::from(n), Dim::from(blocks * by.size)])? } else { weight };
    let columns = c.part(&columns, 1, Dim::ZERO, Dim::from(k))?;
    let columns = c.cast(&columns, a.dtype())?;
    let b = c.transpose(&columns, vec![1, 0])?;
    let mut y = c.product(&a, &b)?;
    if let Some(bias) = c.opt(5) {
        y = c.add(&y, &bias)?;
    }
    Ok(vec![y])
}

/// Rows of a table whose last axis is in blocks.
pub fn gather(c: &mut Call) -> Out {
    let (data, ids, scales) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let by = Blocks::of(c, 128)?;
    c.want_indices(&ids, "indices")?;
    let rank = data.rank();
    if scales.rank() != rank || c.opt(3).is_some_and(|z| z.rank() != rank) {
        return Err(operand(format!("scales {} and zero points must have the rank of {}", scales.ty, data.ty)));
    }
    let (axis, along) = (c.axis(c.attrs.int_or("gather_axis", 0)?, rank)?, c.axis(c.attrs.int_or("quantize_axis", 1)?, rank)?);
    if axis + 1 == rank || along + 1 != rank {
        return Err(unsupported_use("only rows in blocks along the last axis are supported"));
    }
    c.indices_in(&ids, data.shape().get(axis..=axis).unwrap_or(&[]))?;
    let rows = |c: &mut Call, v: &Val| {
        let (head, tail) = v.shape().split_at_checked(axis).unwrap_or((&[], &[]));
        let shape = head.iter().chain(ids.shape()).chain(tail.iter().skip(1)).cloned().collect();
        c.emit(Op::Gather { axis }, &[v, &ids], v.dtype(), shape)
    };
    let packed = rows(c, &data)?;
    let scales = rows(c, &scales)?;
    let numbers = if packed.dtype() == DType::U8 { unpacked(c, &packed, by.bits)? } else { packed };
    let width = c.fixed(&numbers, numbers.rank().saturating_sub(1), "the size of a row")?;
    let blocks = (width - 1).div_euclid(by.size) + 1;
    let spread = |c: &mut Call, v: &Val| {
        let own = c.last_size(v);
        c.equal(&own, &Dim::from(blocks), "scales and blocks")?;
        let mut shape = v.shape().to_vec();
        shape.push(Dim::ONE);
        let column = c.reshape(v, shape.clone())?;
        if let Some(d) = shape.last_mut() {
            *d = Dim::from(by.size);
        }
        let wide = c.expand(&column, shape.clone())?;
        shape.truncate(shape.len().saturating_sub(2));
        shape.push(Dim::from(blocks * by.size));
        let flat = c.reshape(&wide, shape)?;
        c.part(&flat, flat.rank().saturating_sub(1), Dim::ZERO, Dim::from(width))
    };
    let scale = spread(c, &scales)?;
    let zeros = match c.opt(3) {
        Some(z) => {
            let z = rows(c, &z)?;
            let z = if z.dtype() == DType::U8 { unpacked(c, &z, by.bits)? } else { z };
            let last = z.rank().checked_sub(1).ok_or_else(|| Fault::new(Code::BadOperand, "zero points are a scalar"))?;
            if c.fixed(&z, last, "the number of zero points")? < blocks {
                return Err(operand(format!("zero points are {}, needs {blocks} a row", z.ty)));
            }
            let z = c.part(&z, last, Dim::ZERO, Dim::from(blocks))?;
            Some(spread(c, &z)?)
        }
        None if matches!(numbers.dtype(), DType::I8) => Some(Val::scalar(DType::I8, 0.0)),
        None => None,
    };
    by.scale(c, &numbers, &scale, zeros).map(|v| vec![v])
}
