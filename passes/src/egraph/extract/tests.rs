//! Extraction against all choices there are, on problems of a few classes.

use super::*;

fn c(cost: f64, children: &[usize]) -> Candidate {
    Candidate { cost, children: children.to_vec() }
}

/// All choices: an oracle for problems of a few classes.
fn least(p: &Problem) -> f64 {
    let mut best = f64::INFINITY;
    let mut chosen = vec![0; p.classes.len()];
    loop {
        best = best.min(cost(p, &chosen));
        let Some(k) = (0..chosen.len()).find(|k| chosen[*k] + 1 < p.classes[*k].len()) else { return best };
        chosen[k] += 1;
        chosen[..k].fill(0);
    }
}

#[test]
fn what_is_shared_is_paid_once() {
    // Two users of an expensive value: each alone would rather compute it itself, together they share it.
    let p = Problem {
        classes: vec![vec![c(0.0, &[])], vec![c(10.0, &[0])], vec![c(12.0, &[0]), c(3.0, &[1])], vec![c(12.0, &[0]), c(3.0, &[1])]],
        roots: vec![2, 3],
    };
    let chosen = extract(&p, &[0, 0, 1, 1]);
    assert_eq!((cost(&p, &chosen), least(&p)), (16.0, 16.0));
}

#[test]
fn all_users_change_together() {
    // For one user alone it does not pay, as the value stays for the other.
    let p = Problem {
        classes: vec![vec![c(0.0, &[])], vec![c(5.0, &[0])], vec![c(4.0, &[0]), c(3.0, &[1])], vec![c(4.0, &[0]), c(3.0, &[1])]],
        roots: vec![2, 3],
    };
    let chosen = extract(&p, &[0, 0, 1, 1]);
    assert_eq!(chosen[2..], [0, 0]);
    assert_eq!(cost(&p, &chosen), least(&p));
}

/// Random problems: never worse than given, and nearly always the least there is.
#[test]
fn near_the_optimum_of_small_problems() {
    let mut state = 7u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let (mut optimal, rounds) = (0, 300);
    for _ in 0..rounds {
        let n = 4 + random(5);
        let mut classes = vec![vec![c(0.0, &[])]];
        for k in 1..n {
            let candidates = 1 + random(3);
            let one = |random: &mut dyn FnMut(usize) -> usize| {
                let mut children: Vec<usize> = (0..1 + random(2)).map(|_| random(k)).collect();
                children.sort_unstable();
                children.dedup();
                c((1 + random(20)) as f64, &children)
            };
            classes.push((0..candidates).map(|_| one(&mut random)).collect());
        }
        let p = Problem { classes, roots: vec![n - 1, n - 2] };
        let given = vec![0; n];
        let found = cost(&p, &extract(&p, &given));
        assert!(found <= cost(&p, &given) && found >= least(&p) - 1e-6);
        optimal += usize::from(found <= least(&p) + 1e-6);
    }
    assert!(optimal * 100 >= rounds * 95, "{optimal} of {rounds} are optimal");
}
