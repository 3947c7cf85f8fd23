//! Random kernels that exchange values through workgroup arrays and a buffer: with the barriers that the pass inserts, the
//! interpreter's race detector finds nothing.

use super::barriers;
use odc_ir::core::{DType, Scalar, no_blobs, parse_module};
use odc_ir::loops::interp::{Buffer, InterpError, Run, SUBGROUP, run};
use odc_ir::loops::{Func, Loop, Op, verify_func};

struct Gen {
    state: u64,
    next: usize,
    text: String,
}

impl Gen {
    fn below(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % n
    }
    fn op(&mut self, text: &str, ty: &str) -> String {
        let v = format!("%{}", self.next);
        self.next += 1;
        self.text += &format!("{v} = {text} : {ty}\n");
        v
    }
    fn bin(&mut self, f: &str, a: &str, b: &str) -> String {
        self.op(&format!("binary {{f = {f}}} {a}, {b}"), "index")
    }
    fn int(&mut self, x: u64) -> String {
        self.op(&format!("const {{value = {x}}}"), "index")
    }

    /// An element of 64 that no other of 16 invocations has, or any.
    fn offset(&mut self, own: bool, counter: Option<&str>) -> String {
        let (c, four, sixteen) = (self.below(4), self.int(4), self.int(16));
        let c = match counter {
            Some(k) if self.below(2) == 0 => k.to_string(),
            _ => self.int(c),
        };
        match self.below(if own { 3 } else { 6 }) {
            0 => {
                let c = self.bin("mul", &c, &sixteen);
                self.bin("add", "%6", &c)
            }
            1 => {
                let t = self.bin("mul", "%6", &four);
                self.bin("add", &t, &c)
            }
            2 => {
                let last = self.int(15);
                let t = self.bin("sub", &last, "%6");
                let c = self.bin("mul", &c, &sixteen);
                self.bin("add", &c, &t)
            }
            3 => c,
            4 => self.bin("div", "%6", &four),
            _ => {
                let t = self.bin("mod", "%6", &four);
                self.bin("add", &t, &c)
            }
        }
    }

    fn step(&mut self, depth: u64, counter: Option<&str>) {
        let array = ["%7", "%8", "%0"][self.below(3) as usize];
        match self.below(if depth > 0 { 9 } else { 6 }) {
            0..=2 => {
                let at = self.offset(true, counter);
                self.text += &format!("store {array}, {at}, %9\n");
            }
            3..=5 => {
                let at = self.offset(false, counter);
                self.op(&format!("load {array}, {at}"), "f32");
            }
            6 | 7 => {
                let (zero, one, four) = (self.int(0), self.int(1), self.int(4));
                let hi = if self.below(2) == 0 { four } else { "%1".into() };
                let k = format!("%{}", self.next);
                self.next += 1;
                self.text += &format!("for {{kind = serial}} {zero}, {hi}, {one} ({k}: index) {{\n");
                self.steps(depth - 1, Some(&k));
                self.text += "yield }\n";
            }
            _ => {
                let eight = self.int(8);
                let x = ["%6", "%1"][self.below(2) as usize];
                let c = self.op(&format!("binary {{f = lt}} {x}, {eight}"), "bool");
                self.text += &format!("if {c} () {{\n");
                self.steps(depth - 1, counter);
                self.text += "yield } () {\n";
                self.steps(depth - 1, counter);
                self.text += "yield }\n";
            }
        }
    }
    fn steps(&mut self, depth: u64, counter: Option<&str>) {
        for _ in 0..1 + self.below(4) {
            self.step(depth, counter);
        }
    }
}

fn kernel(seed: u64) -> Func {
    let head = r#"loop module "t" { func @k(%0 "y": ptr<f32, global>, %1 "n": index) {
        %2 = const {value = 0} : index %3 = const {value = 1} : index %4 = const {value = 16} : index
        %7 = shared {dtype = f32, len = 64} : ptr<f32, workgroup> %8 = shared {dtype = f32, len = 64} : ptr<f32, workgroup>
        for {kind = grid} %2, %3, %3 (%5: index) { for {kind = block} %2, %4, %3 (%6: index) {
        %9 = const {value = f 1.0} : f32
    "#;
    let mut g = Gen { state: seed, next: 10, text: head.into() };
    // The buffer is read, and all of the arrays written.
    g.op("load %0, %6", "f32");
    for array in ["%7", "%8"] {
        for k in 0..4 {
            let k = g.int(16 * k);
            let at = g.bin("add", "%6", &k);
            g.text += &format!("store {array}, {at}, %9\n");
        }
    }
    g.steps(2, None);
    g.steps(2, None);
    g.text += "yield } yield } yield } }";
    parse_module::<Loop>(&g.text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{}", g.text)).funcs.remove(0)
}

fn result(f: &Func) -> Result<(), InterpError> {
    let y = Buffer::from_scalars(DType::F32, (0..64).map(|k| Scalar::Float(f64::from(k))));
    run(f, &mut [y], Run { dims: &[3], scratch: 0, grid: None, fused: true, subgroup: SUBGROUP })
}

#[test]
fn no_race_is_left() {
    let (mut needed, mut refused) = (0, 0);
    for seed in 0..3000 {
        let old = kernel(seed);
        assert_eq!(verify_func(&old), vec![]);
        let mut new = old.clone();
        if barriers(&mut new).is_err() {
            refused += 1;
            continue;
        }
        assert_eq!(verify_func(&new), vec![]);
        result(&new).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", odc_ir::core::print_func(&new, 0)));
        let mut count = 0;
        new.body.visit_ops(&mut |op| count += usize::from(matches!(op.op, Op::Barrier {})));
        needed += usize::from(count > 0 && result(&old).is_err());
    }
    assert!(needed > 500 && refused < 2500, "{needed} needed, {refused} refused");
}
