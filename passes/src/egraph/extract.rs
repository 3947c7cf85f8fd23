//! Extraction with DAG cost: what several users share is paid once. It begins with a given choice and takes only steps that lower
//! the whole cost, so it is never worse than where it began; each step costs as much as what it changes.
//!
//! Two kinds of steps: another node for one class, and doing without a class, for which all its users change at once (what one user
//! alone would pay for is often worth it for all).

/// One way to compute a class.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub cost: f64,
    pub children: Vec<usize>,
}

/// A choice among candidates for each class. Children stand before their users: positions are an order of execution.
#[derive(Clone, Debug)]
pub struct Problem {
    pub classes: Vec<Vec<Candidate>>,
    pub roots: Vec<usize>,
}

/// Sweeps over all classes; a few suffice.
const SWEEPS: usize = 6;
/// Costs closer than this are the same: what was given stays.
const MARGIN: f64 = 1e-9;

struct State<'p> {
    p: &'p Problem,
    chosen: Vec<usize>,
    /// How many chosen nodes and roots need the class.
    needs: Vec<u32>,
    /// Classes with a candidate that reads the class.
    readers: Vec<Vec<usize>>,
    total: f64,
}

impl<'p> State<'p> {
    fn new(p: &'p Problem, given: &[usize]) -> Self {
        let n = p.classes.len();
        let mut readers = vec![vec![]; n];
        for (user, candidates) in p.classes.iter().enumerate() {
            for child in candidates.iter().flat_map(|c| &c.children) {
                if let Some(list) = readers.get_mut(*child).filter(|l: &&mut Vec<usize>| l.last() != Some(&user)) {
                    list.push(user);
                }
            }
        }
        let mut chosen = given.to_vec();
        chosen.resize(n, 0);
        let mut s = State { p, chosen, needs: vec![0; n], readers, total: 0.0 };
        p.roots.iter().for_each(|r| s.need(*r));
        s
    }
}

/// The position of the chosen candidate of each class: the better end of two ways down, one from `given`, one from what each class
/// would cost if nothing were shared.
pub fn extract(p: &Problem, given: &[usize]) -> Vec<usize> {
    let (first, least) = descend(p, given);
    let (second, other) = descend(p, &as_trees(p));
    if other < least - MARGIN { second } else { first }
}

/// The cheapest candidate of each class, with all that it needs counted for itself.
fn as_trees(p: &Problem) -> Vec<usize> {
    let mut costs: Vec<f64> = vec![];
    let mut chosen = vec![];
    for candidates in &p.classes {
        let cost = |c: &Candidate| c.cost + c.children.iter().filter_map(|k| costs.get(*k)).sum::<f64>();
        let best = candidates.iter().map(cost).enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        let (k, cost) = best.unwrap_or((0, 0.0));
        chosen.push(k);
        costs.push(cost);
    }
    chosen
}

fn descend(p: &Problem, given: &[usize]) -> (Vec<usize>, f64) {
    let n = p.classes.len();
    let mut s = State::new(p, given);
    for _ in 0..SWEEPS {
        let before = s.total;
        // From the results down: what a class needs is decided when its users are.
        (0..n).rev().for_each(|class| s.improve(class));
        (0..n).rev().for_each(|class| s.do_without(class));
        if s.total >= before - MARGIN {
            break;
        }
    }
    (s.chosen, s.total)
}

/// What the choice costs: every needed class once.
pub fn cost(p: &Problem, chosen: &[usize]) -> f64 {
    State::new(p, chosen).total
}

/// The classes that the choice computes.
pub fn needed(p: &Problem, chosen: &[usize]) -> Vec<usize> {
    State::new(p, chosen).needs.iter().enumerate().filter(|(_, n)| **n > 0).map(|(k, _)| k).collect()
}

impl State<'_> {
    fn candidate(&self, class: usize) -> Option<&Candidate> {
        self.p.classes.get(class)?.get(*self.chosen.get(class)?)
    }

    fn need(&mut self, class: usize) {
        let mut open = vec![class];
        while let Some(c) = open.pop() {
            self.needs[c] += 1;
            if self.needs[c] == 1
                && let Some(k) = self.candidate(c)
            {
                open.extend(&k.children);
                self.total += k.cost;
            }
        }
    }

    fn release(&mut self, class: usize) {
        let mut open = vec![class];
        while let Some(c) = open.pop() {
            self.needs[c] = self.needs[c].saturating_sub(1);
            if self.needs[c] == 0
                && let Some(k) = self.candidate(c)
            {
                open.extend(&k.children);
                self.total -= k.cost;
            }
        }
    }

    /// Chooses candidate `k` for a needed class.
    fn choose(&mut self, class: usize, k: usize) {
        let Some(new) = self.p.classes.get(class).and_then(|c| c.get(k)) else { return };
        let new_cost = new.cost;
        for child in &new.children {
            self.need(*child);
        }
        let old = self.candidate(class).map(|c| (c.cost, c.children.clone()));
        self.chosen[class] = k;
        self.total += new_cost;
        if let Some((cost, children)) = old {
            self.total -= cost;
            children.into_iter().for_each(|c| self.release(c));
        }
    }

    fn improve(&mut self, class: usize) {
        if self.needs[class] == 0 {
            return;
        }
        for k in 0..self.p.classes[class].len() {
            let (before, was) = (self.total, self.chosen[class]);
            if k == was {
                continue;
            }
            self.choose(class, k);
            if self.total >= before - MARGIN {
                self.choose(class, was);
                self.total = before;
            }
        }
    }

    /// Changes all users of `class` to their cheapest candidates that do not read it, if that is better together.
    fn do_without(&mut self, class: usize) {
        if self.needs[class] == 0 || self.p.roots.contains(&class) {
            return;
        }
        let reads = |c: &Candidate| c.children.contains(&class);
        let users: Vec<usize> =
            self.readers[class].iter().copied().filter(|u| self.needs[*u] > 0 && self.candidate(*u).is_some_and(reads)).collect();
        let before = self.total;
        let mut undo = vec![];
        for u in users {
            let was = self.chosen[u];
            let mut best: Option<(f64, usize)> = None;
            for k in 0..self.p.classes[u].len() {
                if reads(&self.p.classes[u][k]) {
                    continue;
                }
                let at = self.total;
                self.choose(u, k);
                if best.is_none_or(|(cost, _)| self.total < cost - MARGIN) {
                    best = Some((self.total, k));
                }
                self.choose(u, was);
                self.total = at;
            }
            match best {
                Some((_, k)) => {
                    self.choose(u, k);
                    undo.push((u, was));
                }
                None => break,
            }
        }
        if self.total >= before - MARGIN {
            undo.into_iter().rev().for_each(|(u, was)| self.choose(u, was));
            self.total = before;
        }
    }
}

#[cfg(test)]
mod tests;
