//! A loop's head as text, both ways:
//! `loop trips n limit slot 0 while slot 1 from in 2 iteration slot 3 carry [(in 0 -> slot 4, slot 5 size 8 as 0, 1)]
//! move [(read in 1 step 4 as 2)] loc("/Loop") {`

use super::{buffer, location, parse_location};
use crate::core::{Attr, ParseError, Parser};
use crate::program::{Carried, Condition, Loop, Moving};
use std::fmt;

pub(super) fn print(l: &Loop, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "loop trips {}", l.trips)?;
    if let Some(b) = l.limit {
        write!(f, " limit {b}")?;
    }
    if let Some(c) = &l.condition {
        write!(f, " while {} from {}", c.place, c.initial)?;
    }
    if let Some(b) = l.iteration {
        write!(f, " iteration {b}")?;
    }
    let comma = |k: usize| if k > 0 { ", " } else { "" };
    f.write_str(" carry [")?;
    for (k, c) in l.carried.iter().enumerate() {
        let Carried { initial, result, spare, bytes, current, next } = c;
        write!(f, "{}({initial} -> {result}, {spare} size {bytes} as {current}, {next})", comma(k))?;
    }
    f.write_str("] move [")?;
    for (k, m) in l.moving.iter().enumerate() {
        let how = if m.written { "write" } else { "read" };
        write!(f, "{}({how} {} step {} as {})", comma(k), m.base, m.step, m.local)?;
    }
    f.write_str("]")?;
    location(f, &l.loc)?;
    f.write_str(" {")
}

/// After the word `loop`.
pub(super) fn parse(p: &mut Parser<'_>) -> Result<Loop, ParseError> {
    p.expect("trips")?;
    let trips = p.dim()?;
    let limit = if p.eat("limit") { Some(buffer(p)?) } else { None };
    let mut condition = None;
    if p.eat("while") {
        let place = buffer(p)?;
        p.expect("from")?;
        condition = Some(Condition { initial: buffer(p)?, place });
    }
    let iteration = if p.eat("iteration") { Some(buffer(p)?) } else { None };
    p.expect("carry")?;
    let carried = p.list('[', ']', |p| {
        p.expect("(")?;
        let initial = buffer(p)?;
        p.expect("->")?;
        let result = buffer(p)?;
        p.expect(",")?;
        let spare = buffer(p)?;
        p.expect("size")?;
        let bytes = p.dim()?;
        p.expect("as")?;
        let current = u32::parse(p)?;
        p.expect(",")?;
        let next = u32::parse(p)?;
        p.expect(")")?;
        Ok(Carried { initial, result, spare, bytes, current, next })
    })?;
    p.expect("move")?;
    let moving = p.list('[', ']', |p| {
        p.expect("(")?;
        let written = p.eat("write");
        if !written {
            p.expect("read")?;
        }
        let base = buffer(p)?;
        p.expect("step")?;
        let step = p.dim()?;
        p.expect("as")?;
        let local = u32::parse(p)?;
        p.expect(")")?;
        Ok(Moving { base, step, local, written })
    })?;
    let loc = parse_location(p)?;
    p.expect("{")?;
    Ok(Loop { trips, limit, condition, iteration, carried, moving, loc })
}
