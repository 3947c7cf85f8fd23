//! The forms that a program could have, and the one that it gets: the fastest by the cost model, and under a memory budget the
//! fastest that keeps it.

use crate::passes;
use crate::pipeline::{CompileError, OptLevel, Options, Stage, bug, sound};
use crate::problem::Problem;
use crate::progress::Report;
use odc_ir::program::Program;
use odc_ir::{graph, tensor};
use odc_passes::cost::{self, Count, Rates};
use odc_passes::egraph::Group;
use odc_passes::fuse::{self, Arm};
use odc_passes::{Machine, join, lower_tensor, merge, plan};

/// How much dearer bytes are made for the search to find forms with fewer of them: about as dear as an exponential, and dearer.
const DEARER: [f64; 2] = [8.0, 64.0];

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
    fn time(&self, rates: &Rates) -> f64 {
        self.dispatches.funcs.iter().map(|f| cost::func_time(&self.dispatches, f, rates)).sum()
    }

    fn arena_bytes(&self) -> i64 {
        let mut m = self.dispatches.clone();
        join::best(&mut m);
        plan::peak(&m).unwrap_or(i64::MAX)
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
    let fusion = fuse::Options { arm, ..options.fusion.clone() };
    if *machine != Machine::Cpu || arm != Arm::Choose {
        return Ok((Formed::new(graph, machine, &fusion, report)?, vec![]));
    }
    let rates = &options.fusion.rates;
    let mut forms = vec![];
    // Where nothing else decides the first is taken. Fewer products: less code, and fewer times that threads wait for each other.
    let merged = fusion.groups.contains(&Group::Merge).then(|| merged(graph.clone())).transpose()?.filter(|(_, products)| *products > 0);
    let graphs: Vec<_> = merged.iter().map(|(g, _)| (g, ", products merged")).chain([(graph, "")]).collect();
    for (graph, how) in &graphs {
        forms.push((format!("chosen by time{how}"), Formed::new(graph, machine, &fusion, report)?));
    }
    let Some(budget) = options.mem_budget else {
        forms.sort_by(|(_, a), (_, b)| a.time(rates).total_cmp(&b.time(rates)));
        let best = forms.into_iter().next().map(|(_, form)| form);
        return Ok((best.ok_or_else(nothing)?, vec![]));
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
        let candidate = Candidate { how, nanoseconds: form.time(rates), arena_bytes: form.arena_bytes() };
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
