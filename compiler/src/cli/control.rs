//! The branches and loops of a program, as `odc info` shows them.

use odc_format::{Command, Slot, TargetProgram};
use serde_json::{Value, json};

/// A branch or a loop with what is in it.
pub struct Body {
    /// How many others are around it.
    depth: usize,
    /// Of the loop, or of both ways of the branch; those of bodies in it count.
    dispatches: Vec<usize>,
    /// `None` for a branch.
    trips: Option<Trips>,
}

struct Trips {
    /// Where the dims decide it and are known.
    most: Option<i64>,
    /// May it end before?
    early: bool,
}

/// In the order of their beginning.
pub fn bodies(t: &TargetProgram, at: &dyn Fn(Slot) -> Option<i64>) -> Vec<Body> {
    let mut all: Vec<Body> = vec![];
    let mut open: Vec<usize> = vec![];
    for c in &t.commands {
        let trips = match c {
            Command::Loop(l) => Some(Trips { most: at(l.trips), early: l.limit.is_some() || l.condition.is_some() }),
            _ => None,
        };
        match c {
            Command::If { .. } | Command::Loop(_) => {
                open.push(all.len());
                all.push(Body { depth: open.len() - 1, dispatches: vec![0], trips });
            }
            Command::Else => open.last().and_then(|k| all.get_mut(*k)).into_iter().for_each(|b| b.dispatches.push(0)),
            Command::End => drop(open.pop()),
            Command::Dispatch(_) => {
                for k in &open {
                    all.get_mut(*k).and_then(|b| b.dispatches.last_mut()).into_iter().for_each(|n| *n += 1);
                }
            }
            Command::Copy { .. } | Command::Size { .. } => {}
        }
    }
    all
}

impl Body {
    pub fn text(&self) -> String {
        let list: Vec<_> = self.dispatches.iter().map(usize::to_string).collect();
        let what = match &self.trips {
            None => format!("branch: {} dispatches", list.join(" or ")),
            Some(t) => format!("loop: {} dispatches, {}", list.join(" or "), t.text()),
        };
        format!("{}{what}", "  ".repeat(self.depth))
    }

    pub fn json(&self) -> Value {
        let kind = if self.trips.is_some() { "loop" } else { "branch" };
        let trips = self.trips.as_ref();
        let most = trips.and_then(|t| t.most).filter(|n| *n != i64::MAX);
        json!({ "kind": kind, "depth": self.depth, "dispatches": self.dispatches, "trips": most, "may_end_early": trips.map(|t| t.early) })
    }
}

impl Trips {
    fn text(&self) -> String {
        match (self.most, self.early) {
            (Some(i64::MAX), true) => "until data ends it".into(),
            (Some(i64::MAX), false) => "without an end".into(),
            (Some(n), true) => format!("at most {n} times"),
            (Some(n), false) => format!("{n} times"),
            (None, true) => "until data or dims end it".into(),
            (None, false) => "as often as the dims say".into(),
        }
    }
}
