//! TfIdfVectorizer: every n-gram of the pool is compared with every place of a row, all at once.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::compose::table;
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, ReduceFn};

pub fn tf_idf(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let texts = c.attrs.strs("pool_strings")?.filter(|l| !l.is_empty());
    if texts.is_some() != (x.dtype() == DType::Str) {
        return Err(operand(format!("the operand is {}, which the pool does not fit", x.ty)));
    }
    let need = |name: &str| -> Got<Vec<i64>> { c.attrs.ints(name)?.map(<[i64]>::to_vec).ok_or_else(|| bad(name, "is required")) };
    let pool = match texts {
        Some(list) => list.into_iter().map(|t| c.build.string(t)).collect(),
        None => need("pool_int64s")?,
    };
    let (counts, places) = (need("ngram_counts")?, need("ngram_indexes")?);
    let (shortest, longest) = (c.attrs.required_int("min_gram_length")?, c.attrs.required_int("max_gram_length")?);
    let skips = c.attrs.required_int("max_skip_count")?;
    let (weighted, counted) = match c.attrs.str("mode")? {
        Some("TF") => (false, true),
        Some("IDF") => (true, false),
        Some("TFIDF") => (true, true),
        other => return Err(bad("mode", format!("is {other:?}; supported: TF, IDF, TFIDF"))),
    };
    if !(1..=longest).contains(&shortest) || longest > 64 || !(0..=256).contains(&skips) {
        return Err(bad("min_gram_length", format!("{shortest}, max_gram_length {longest} and max_skip_count {skips} do not fit")));
    }
    let columns = places.iter().max().map_or(0, |m| m.saturating_add(1));
    if !(1..=1 << 24).contains(&columns) || places.iter().any(|p| *p < 0) {
        return Err(bad("ngram_indexes", format!("is {places:?}")));
    }
    let (rows, single) = match x.shape() {
        [n] => (vec![Dim::ONE, n.clone()], true),
        [b, n] => (vec![b.clone(), n.clone()], false),
        _ => return Err(operand(format!("needs one or two axes, is {}", x.ty))),
    };
    let x = c.reshape(&x, rows.clone())?;
    let x = if x.dtype() == DType::Str { x } else { c.convert(&x, DType::I64)? };
    let [batch, length] = rows.as_slice() else { return Err(operand("has no rows")) };
    // The pool holds the grams of length 1, then those of length 2, and so on.
    let mut found: Option<Val> = None;
    let mut first_gram = 0usize;
    for (k, start) in counts.iter().enumerate() {
        let n = k + 1;
        let end = counts.get(k + 1).copied().unwrap_or(pool.len() as i64);
        let grams = usize::try_from(*start).ok().zip(usize::try_from(end).ok()).and_then(|(a, b)| pool.get(a..b));
        let grams = grams.filter(|g| g.len() % n == 0).ok_or_else(|| bad("ngram_counts", format!("is {counts:?}")))?;
        let count = grams.len() / n;
        let own = places.get(first_gram..first_gram + count).ok_or_else(|| bad("ngram_indexes", "has too few entries"))?;
        first_gram += count;
        if (count as i64).saturating_mul(columns) > 1 << 24 {
            return Err(unsupported_use(format!("{count} grams over {columns} columns are too many")));
        }
        if count == 0 || !(shortest..=longest).contains(&(n as i64)) {
            continue;
        }
        for distance in 1..=if n == 1 { 1 } else { skips + 1 } {
            let span = distance * (n as i64 - 1);
            let starts = c.build.dims.simplify(&(length - span));
            if starts.as_const().is_some_and(|v| v < 1) {
                continue;
            }
            if !c.build.dims.ranges.lt(&Dim::ZERO, &starts) {
                return Err(
                    unsupported_use(format!("rows of {length} elements may be shorter than a gram")).help("bound the size with --dim")
                );
            }
            let mut all: Option<Val> = None;
            for j in 0..n {
                let part = c.part(&x, 1, Dim::from(j as i64 * distance), starts.clone())?;
                let part = c.unsqueeze(&part, 2)?;
                let wanted = table(x.dtype(), &[count as i64], grams.chunks_exact(n).filter_map(|g| g.get(j)).map(|v| *v as f64));
                let hit = c.binary(BinaryFn::Eq, &part, &wanted)?;
                all = Some(match all {
                    Some(a) => c.all(&a, &hit)?,
                    None => hit,
                });
            }
            let Some(all) = all else { continue };
            let hits = c.convert(&all, DType::F32)?;
            let hits = c.reduce(ReduceFn::Sum, &hits, &[1], false)?;
            // To the grams' columns: a table of as many columns would be made here, which few bytes of a file may ask for.
            let own = table(DType::I64, &[count as i64], own.iter().map(|p| *p as f64));
            let on = table(DType::F32, &[2], [0.0, 1.0]);
            let spread = c.emit(Op::OneHot { axis: 1 }, &[&own, &on], DType::F32, vec![Dim::from(count as i64), Dim::from(columns)])?;
            let hits = c.matmul(&hits, &spread)?;
            found = Some(match found {
                Some(f) => c.add(&f, &hits)?,
                None => hits,
            });
        }
    }
    let mut y = match found {
        Some(v) => v,
        None => c.expand(&Val::scalar(DType::F32, 0.0), vec![batch.clone(), Dim::from(columns)])?,
    };
    if !counted {
        let some = c.with(BinaryFn::Gt, &y, 0.0)?;
        y = c.convert(&some, DType::F32)?;
    }
    if let Some(w) = c.attrs.floats("weights")?.filter(|_| weighted) {
        let w = table(DType::F32, &[w.len() as i64], w.iter().map(|v| f64::from(*v)));
        y = c.mul(&y, &w)?;
    }
    Ok(vec![if single { c.reshape(&y, vec![Dim::from(columns)])? } else { y }])
}
