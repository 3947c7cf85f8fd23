//! Branches and loops of a plan while it runs: which step comes next, and where the locals of the loops around lie now.

use crate::{
    RunError,
    bind::{Place, Plan, Sizes},
};
use alloc::{format, vec::Vec};
use odc_format::{BufferRef, Loop};

/// A loop whose places are known.
#[derive(Debug, Default)]
pub(crate) struct LoopPlan {
    /// Its command.
    at: usize,
    trips: i64,
    limit: Option<Place>,
    /// Initial value, and where the body leaves the next one.
    condition: Option<(Place, Place)>,
    iteration: Option<Place>,
    carried: Vec<CarriedPlan>,
    moving: Vec<(Place, usize)>,
    /// Its first local.
    locals: usize,
}

#[derive(Debug)]
struct CarriedPlan {
    initial: Place,
    result: Place,
    spare: Place,
    bytes: usize,
}

impl LoopPlan {
    pub(crate) fn is_at(&self, command: usize) -> bool {
        self.at == command
    }

    /// Every byte that an iteration may touch through a local lies in its buffer: checked here, once. Bound again it allocates
    /// nothing.
    pub(crate) fn bind(&mut self, plan: &Plan, sizes: &Sizes, l: &Loop, at: usize) -> Result<(), RunError> {
        let optional = |b: Option<BufferRef>, bytes| b.map(|b| plan.place(sizes, b, bytes)).transpose();
        (self.at, self.locals) = (at, plan.locals.len());
        self.trips = sizes.value(l.trips)?;
        self.condition = match &l.condition {
            Some(c) => Some((plan.place(sizes, c.initial, 1)?, plan.place(sizes, c.place, 1)?)),
            None => None,
        };
        self.carried.clear();
        for c in &l.carried {
            let bytes = sizes.size(c.bytes, "a carried value")?;
            let place = |b| plan.place(sizes, b, bytes);
            self.carried.push(CarriedPlan { initial: place(c.initial)?, result: place(c.result)?, spare: place(c.spare)?, bytes });
        }
        self.moving.clear();
        for m in &l.moving {
            let step = sizes.size(m.step, "a step")?;
            let all = usize::try_from(self.trips.max(0)).ok().and_then(|n| n.checked_mul(step));
            let all = all.ok_or_else(|| RunError::BadPlan { what: format!("{} steps of {step} bytes", self.trips) })?;
            self.moving.push((plan.place(sizes, m.base, all)?, step));
        }
        (self.limit, self.iteration) = (optional(l.limit, 8)?, optional(l.iteration, 8)?);
        Ok(())
    }

    /// Bytes of its locals, in order.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = usize> + '_ {
        self.carried.iter().flat_map(|c| [c.bytes; 2]).chain(self.moving.iter().map(|m| m.1))
    }
}

/// Where the memory of a run lies.
pub(crate) struct Places<'a> {
    pub weights: *const u8,
    pub arena: *mut u8,
    pub inputs: &'a [*const u8],
}

#[derive(Debug, Clone, Copy, Default)]
struct Running {
    iteration: i64,
    trips: i64,
}

/// The state of all loops of a plan; allocated when the plan is bound.
#[derive(Debug, Default)]
pub(crate) struct Control {
    locals: Vec<*mut u8>,
    running: Vec<Running>,
}

impl Control {
    pub(crate) fn prepare(&mut self, plan: &Plan) {
        self.locals.clear();
        self.locals.resize(plan.locals.len(), core::ptr::null_mut());
        self.running.clear();
        self.running.resize(plan.loops.len(), Running::default());
    }

    /// Binding has checked the offsets. Kernels do not write to inputs and weights.
    pub(crate) fn get(&self, places: &Places, place: Place) -> *mut u8 {
        match place {
            Place::Input(i) => places.inputs.get(i).map_or(core::ptr::null_mut(), |p| p.cast_mut()),
            Place::Weight(at) => places.weights.wrapping_add(at).cast_mut(),
            Place::Arena(at) => places.arena.wrapping_add(at),
            Place::Local(k) => self.locals.get(k).copied().unwrap_or(core::ptr::null_mut()),
        }
    }

    /// The bool at a place.
    pub(crate) fn bool(&self, places: &Places, place: Place) -> bool {
        // SAFETY: binding found the byte inside its memory.
        unsafe { self.get(places, place).read() != 0 }
    }

    /// Starts loop `index`; is there a first iteration?
    pub(crate) fn begin(&mut self, plan: &Plan, places: &Places, index: usize) -> bool {
        let Some(l) = plan.loops.get(index) else { return false };
        let mut trips = l.trips;
        if let Some(limit) = l.limit {
            // SAFETY: binding found eight bytes inside their memory.
            trips = trips.min(unsafe { self.get(places, limit).cast::<i64>().read_unaligned() });
        }
        if let Some((initial, place)) = l.condition {
            // SAFETY: binding found both bytes; the second one is in the arena.
            unsafe { core::ptr::copy(self.get(places, initial), self.get(places, place), 1) };
        }
        for (k, c) in l.carried.iter().enumerate() {
            // With a known number of iterations the last one writes the result.
            let first = if trips.rem_euclid(2) == 1 { c.result } else { c.spare };
            let (current, next) = (self.get(places, c.initial), self.get(places, first));
            self.set(l.locals + 2 * k, current);
            self.set(l.locals + 2 * k + 1, next);
        }
        if let Some(r) = self.running.get_mut(index) {
            *r = Running { iteration: 0, trips };
        }
        self.iterate(l, places, index)
    }

    /// Ends an iteration of loop `index`; is there another one?
    pub(crate) fn next(&mut self, plan: &Plan, places: &Places, index: usize) -> bool {
        let Some(l) = plan.loops.get(index) else { return false };
        if let Some(r) = self.running.get_mut(index) {
            r.iteration = r.iteration.saturating_add(1);
        }
        for (k, c) in l.carried.iter().enumerate() {
            let written = self.get(places, Place::Local(l.locals + 2 * k + 1));
            let (result, spare) = (self.get(places, c.result), self.get(places, c.spare));
            self.set(l.locals + 2 * k, written);
            self.set(l.locals + 2 * k + 1, if written == result { spare } else { result });
        }
        self.iterate(l, places, index)
    }

    fn set(&mut self, local: usize, to: *mut u8) {
        if let Some(p) = self.locals.get_mut(local) {
            *p = to;
        }
    }

    fn iterate(&mut self, l: &LoopPlan, places: &Places, index: usize) -> bool {
        let Running { iteration, trips } = self.running.get(index).copied().unwrap_or_default();
        if iteration >= trips || l.condition.is_some_and(|(_, place)| !self.bool(places, place)) {
            self.finish(l, places);
            return false;
        }
        if let Some(place) = l.iteration {
            // SAFETY: binding found eight bytes in the arena.
            unsafe { self.get(places, place).cast::<i64>().write_unaligned(iteration) };
        }
        for (k, (base, step)) in l.moving.iter().enumerate() {
            // Less than the trips, whose bytes binding has checked.
            let at = self.get(places, *base).wrapping_add((iteration as usize).wrapping_mul(*step));
            self.set(l.locals + 2 * l.carried.len() + k, at);
        }
        true
    }

    /// What was written last becomes the result.
    fn finish(&self, l: &LoopPlan, places: &Places) {
        for (k, c) in l.carried.iter().enumerate() {
            let (from, to) = (self.get(places, Place::Local(l.locals + 2 * k)), self.get(places, c.result));
            if from != to && c.bytes > 0 {
                // SAFETY: binding found the bytes of the initial value, the result and the spare place inside their memory.
                unsafe { core::ptr::copy(from, to, c.bytes) };
            }
        }
    }
}
