//! The forms that a program could have, and the one that it gets: the fastest by the cost model, and under a memory budget the
//! fastest that keeps it.

use crate::passes;
use crate::pipeline::{CompileError, OptLevel, Options, Stage, Weights, bug, sound};
use crate::problem::Problem;
use crate::progress::Report;
use odc_ir::program::Program;
use odc_ir::{graph, tensor};
use odc_passes::cost::{self, Count, Rates};
use odc_passes::egraph::Group;
use odc_passes::fuse::{self, Arm};
use odc_passes::{Cpu, Machine, join, lower_tensor, merge, plan};

/// How much dearer bytes are made for the search to find forms with fewer of them: about as dear as an exponential, and dearer.
const DEARER: [f64; 2] = [8.0, 64.0];

/// How much larger than with greedy fusion the arena may be for less time, whatever that is worth.
const LARGER: f64 = 1.02;

/// The first form of a graph whose products were not merged.
const GIVEN: &str = "chosen by time";

/// A graph lowered to tensor ops, and these formed into dispatches.
pub struct Formed {
    pub tensor: tensor::Module,
    pub dispatches: tensor::Module,
    pub decisions: Vec<fuse::Decision>,
}

/// What a form was weighed by; only a budget asks for more than one.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub how: String,
    /// Predicted.
    pub nanoseconds: f64,
    pub arena_bytes: i64,
}

impl Formed {
    fn new(graph: &graph::Module, machine: &Machine, fusion: &fuse::Options, report: Report<'_>) -> Result<Formed, CompileError> {
        report("lowering to tensor ops", 0, 0);
        let failed = |e: lower_tensor::LowerError| CompileError::one(Problem::new("ODC0300", &e).at(&e.loc));
        let tensor = lower_tensor::lower(graph).map_err(failed)?;
        sound(Stage::Tensor, tensor::verify(&tensor))?;
        report("forming dispatches", 0, 0);
        let mut dispatches = tensor.clone();
        let decisions = fuse::fuse_for(&mut dispatches, machine, fusion);
        Ok(Formed { tensor, dispatches, decisions })
    }

    /// Predicted nanoseconds of all functions.
    fn time(&self, cpu: Cpu, rates: &Rates) -> f64 {
        self.dispatches.funcs.iter().map(|f| cost::func_time(&self.dispatches, f, cpu, rates)).sum()
    }

    fn arena_bytes(&self) -> i64 {
        let mut m = self.dispatches.clone();
        join::best(&mut m);
        plan::planned(&m).unwrap_or(i64::MAX)
    }

    /// Is nothing formed otherwise than greedily, but for the products that became one?
    fn is_greedy(&self) -> bool {
        !self.decisions.iter().any(fuse::Decision::taken)
    }
}

/// The best form for the machine, and what was weighed under a budget, the best first.
pub fn best(
    graph: &graph::Module,
    machine: &Machine,
    options: &Options,
    report: Report<'_>,
) -> Result<(Formed, Vec<Candidate>), CompileError> {
    let arm = if options.level < OptLevel::O2 { options.fusion.arm.min(Arm::Greedy) } else { options.fusion.arm };
    let mut fusion = fuse::Options { arm, ..options.fusion.clone() };
    // Only packed weights are read by two products in one kernel, and half floats are widened instead.
    fusion.groups.retain(|g| *g != Group::Gate || options.weights != Weights::F16);
    let Some(cpu) = machine.cpu().filter(|_| arm == Arm::Choose) else {
        return Ok((Formed::new(graph, machine, &fusion, report)?, vec![]));
    };
    let rates = &options.fusion.rates;
    let mut forms = vec![];
    // Where nothing else decides the first is taken. Fewer products: less code, and fewer times that threads wait for each other.
    let merged = fusion.groups.contains(&Group::Merge).then(|| merged(graph.clone())).transpose()?.filter(|(_, products)| *products > 0);
    let graphs: Vec<_> = merged.iter().map(|(g, _)| (g, ", products merged")).chain([(graph, "")]).collect();
    for (graph, how) in &graphs {
        forms.push((format!("{GIVEN}{how}"), Formed::new(graph, machine, &fusion, report)?));
    }
    let Some(budget) = options.mem_budget else {
        forms.sort_by(|(_, a), (_, b)| a.time(cpu, rates).total_cmp(&b.time(cpu, rates)));
        // What is as it was given needs no comparison.
        if forms.first().is_some_and(|(how, form)| how == GIVEN && form.is_greedy()) {
            return Ok((forms.swap_remove(0).1, vec![]));
        }
        let greedy = fuse::Options { arm: Arm::Greedy, ..fusion.clone() };
        let greedy = Formed::new(graph, machine, &greedy, report)?;
        let of_greedy = (greedy.time(cpu, rates), greedy.arena_bytes());
        let pays = |form: &Formed| pays((form.time(cpu, rates), form.arena_bytes()), of_greedy);
        if let Some(best) = forms.into_iter().map(|(_, form)| form).find(&pays) {
            return Ok((best, vec![]));
        }
        // What greedy fusion formed, with products that became one.
        let rules = [Group::Views, Group::Epilogue, Group::Prologue, Group::Recompute];
        let given = fuse::Options { groups: fusion.groups.iter().copied().filter(|g| !rules.contains(g)).collect(), ..fusion };
        let given = Formed::new(graph, machine, &given, report)?;
        return Ok((if pays(&given) { given } else { greedy }, vec![]));
    };
    for (graph, how) in &graphs {
        for dearer in DEARER {
            let mut scarce = *rates;
            scarce.0[Count::Bytes as usize] *= dearer;
            let fusion = fuse::Options { rates: scarce, ..fusion.clone() };
            forms.push((format!("bytes {dearer} times as dear{how}"), Formed::new(graph, machine, &fusion, report)?));
        }
    }
    let greedy = fuse::Options { arm: Arm::Greedy, ..fusion };
    forms.push(("greedy".into(), Formed::new(graph, machine, &greedy, report)?));
    let priced = |(how, form): (String, Formed)| {
        let candidate = Candidate { how, nanoseconds: form.time(cpu, rates), arena_bytes: form.arena_bytes() };
        (candidate, form)
    };
    let mut forms: Vec<_> = forms.into_iter().map(priced).collect();
    let over = |c: &Candidate| u64::try_from(c.arena_bytes).unwrap_or(0).saturating_sub(budget);
    forms.sort_by(|(a, _), (b, _)| over(a).cmp(&over(b)).then(a.nanoseconds.total_cmp(&b.nanoseconds)));
    let (weighed, mut forms): (Vec<_>, Vec<_>) = forms.into_iter().unzip();
    if forms.is_empty() {
        return Err(nothing());
    }
    Ok((forms.swap_remove(0), weighed))
}

/// Is a form of this time and arena better than that one? A larger arena must pay for itself with as much less time.
fn pays((time, bytes): (f64, i64), (than_time, than_bytes): (f64, i64)) -> bool {
    let more = bytes as f64 / (than_bytes as f64).max(1.0);
    more <= LARGER || time * more <= than_time
}

fn nothing() -> CompileError {
    CompileError::one(bug(Stage::Dispatches, "no form was made"))
}

/// Does the plan keep the budget?
pub fn keeps(program: &Program, budget: Option<u64>, weighed: usize) -> Result<(), CompileError> {
    let Some(budget) = budget else { return Ok(()) };
    let found = plan::report(program).map_err(|e| CompileError::one(Problem::new("ODC0320", e)))?;
    let bytes = u64::try_from(found.arena_bytes).unwrap_or(0);
    if bytes <= budget {
        return Ok(());
    }
    let dims: Vec<String> = found.at.0.iter().map(|(s, n)| format!("{s} = {n}")).collect();
    let at = if dims.is_empty() { String::new() } else { format!(" at {}", dims.join(", ")) };
    let of = if weighed > 1 { format!(", the least of {weighed} forms,") } else { String::new() };
    let over = bytes - budget;
    let text = format!("the memory budget of {budget} bytes cannot be kept: the arena{of} takes {bytes} bytes{at}, {over} too many");
    let live: Vec<String> = found.live.iter().take(3).map(|b| format!("{} ({} bytes)", b.note, b.bytes)).collect();
    let help = format!("fullest with {}; make dims smaller with --dim, or raise --mem-budget", live.join(", "));
    Err(CompileError::Budget(Problem::new("ODC0321", text).help(help)))
}

/// The graph with products merged, and how many are gone.
pub fn merged(mut graph: graph::Module) -> Result<(graph::Module, usize), CompileError> {
    let products = merge::merge(&mut graph);
    passes::renumber(&mut graph);
    sound(Stage::Canonical, graph::verify(&graph))?;
    Ok((graph, products))
}

#[cfg(test)]
mod tests {
    use super::pays;
    use crate::{Options, compile_graph};
    use odc_ir::core::{no_blobs, parse_module};
    use odc_ir::graph;

    /// An expensive value that two far ends of the program read: stored it is computed once, but alive all the while.
    const KEPT: &str = r#"graph module "m" {
  func @main(%0 "x": f32[256, 1], %1 "y": f32[1, 256], %2 "w": f32[256, 256]) {
    %3 = binary {f = add} %0, %1 : f32[256, 256] loc("outer")
    %4 = unary {f = erf} %3 : f32[256, 256] loc("kept")
    %5 = matmul %4, %2 : f32[256, 256] loc("first")
    %6 = matmul %5, %2 : f32[256, 256] loc("second")
    %7 = matmul %6, %2 : f32[256, 256] loc("third")
    %8 = binary {f = add} %7, %4 : f32[256, 256] loc("again")
    %9 = reduce {f = sum, axes = [0], keep = false} %8 : f32[256] loc("sum")
    yield %9 "z"
  }
}
"#;

    #[test]
    fn a_larger_arena_must_pay_for_itself() {
        let greedy = (100.0, 1000);
        assert!(pays((100.0, 1000), greedy) && pays((99.9, 1019), greedy) && pays((25.0, 1170), greedy));
        assert!(!pays((99.9, 1030), greedy) && !pays((95.0, 1100), greedy));
    }

    /// The arena that forms are compared by is the one that the program gets, with symbols and without.
    #[test]
    fn forms_are_compared_by_their_real_arenas() {
        let open = KEPT.replace("  func @main", "  dim n in 1.. from \"x\" 0\n  func @main").replace("f32[256, 1]", "f32[n, 1]");
        let open = open.replace("f32[256, 256] loc", "f32[n, 256] loc");
        for text in [KEPT, &open] {
            let graph: graph::Module = parse_module(text, &no_blobs).unwrap();
            let compiled = compile_graph(graph, &Options::default()).unwrap();
            let build = compiled.builds().next().unwrap();
            let found = odc_passes::plan::report(&build.program).unwrap();
            assert_eq!(odc_passes::plan::planned(&build.dispatches).unwrap(), found.arena_bytes, "{text}");
        }
    }

    #[test]
    fn a_budget_changes_the_choice() {
        let compile = |mem_budget| {
            let graph: graph::Module = parse_module(KEPT, &no_blobs).unwrap();
            compile_graph(graph, &Options { mem_budget, ..Options::default() })
        };
        let arena = |c: &crate::Compiled| c.program().arena_bytes.as_const().unwrap() as u64;
        let free = compile(None).unwrap();
        assert!(free.builds().all(|b| b.weighed.is_empty()));
        let most = arena(&free);
        let same = compile(Some(most)).unwrap();
        assert_eq!(same.program().to_string(), free.program().to_string());

        let tight = compile(Some(most - 1)).unwrap();
        assert!(arena(&tight) < most, "{} of {most}", arena(&tight));
        let weighed = &tight.builds().next().unwrap().weighed;
        assert!(weighed[0].arena_bytes < weighed.iter().map(|c| c.arena_bytes).max().unwrap(), "{weighed:?}");

        let e = compile(Some(1000)).unwrap_err().to_string();
        let over = arena(&tight) - 1000;
        assert!(e.contains("ODC0321") && e.contains(&format!("{over} too many")) && e.contains("fullest with"), "{e}");
    }
}
