//! Loops that stack what they compute and may end early. How many iterations there were is counted along; the stacked results have
//! room for the most that there can be, and are cut to the count, which becomes a size.

use super::control::{Form, Given, build, scalar};
use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::BinaryFn;

/// As [`build`], for a form with a limit or a condition.
pub fn collect(c: &mut Call, form: Form, what: &str, fill: impl FnOnce(&mut Call, &Val, &[Val], &[Val]) -> Got<Given>) -> Out {
    let room = i64::try_from(c.build.limits().trips).unwrap_or(i64::MAX);
    // Models write "as long as it takes" as a very large number.
    let cut = form.trips.as_const().is_some_and(|n| n > room);
    let most = if cut { Dim::from(room) } else { form.trips.clone() };
    let (own, limit, ends) = (form.carried.len(), form.limit.clone(), form.condition.is_some());
    let mut carried = form.carried;
    carried.push(Val::scalar(DType::I64, 0.0));
    carried.extend(form.condition.clone());
    let form = Form { trips: most.clone(), carried, ..form };
    let mut results = build(c, form, what, |c, number, carried, elements| {
        let mut given = fill(c, number, carried.get(..own).unwrap_or(carried), elements)?;
        given.carried.push(c.plus(number, 1.0)?);
        if let (true, Some(go_on)) = (ends, &given.condition) {
            let go_on = scalar(c, go_on, DType::Bool, "the condition that the body gives")?;
            given.carried.push(go_on);
        }
        Ok(given)
    })?;
    let mut counted = results.split_off(own.min(results.len())).into_iter();
    let mut count = counted.next().ok_or_else(|| operand("has no count"))?;
    let go_on = if ends { counted.next() } else { None };
    if cut {
        // A loop that would have gone on says a count that is refused: nothing is lost in silence.
        let mut more = c.with(BinaryFn::Ge, &count, room as f64)?;
        for holds in limit.map(|l| c.with(BinaryFn::Gt, &l, room as f64)).transpose()?.iter().chain(&go_on) {
            more = c.all(&more, holds)?;
        }
        count = c.choose(&more, &Val::scalar(DType::I64, room as f64 + 1.0), &count)?;
    }
    let size = c.build.count(&count, &most)?;
    for v in counted {
        results.push(c.part(&v, 0, Dim::ZERO, size.clone())?);
    }
    Ok(results)
}
