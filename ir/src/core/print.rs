//! Modules as text. One printer for all levels; the op tables print attributes. See `parse.rs` for the way back.
//!
//! ```text
//! graph module "mlp" {
//!   dim n in 1..4096 from "x" 0
//!   const #0 : f32[2] = [f 1.0, f 2.0]
//!   func @main(%0 "x": f32[n, 2]) {
//!     %1 = constant {value = #0} : f32[2]
//!     %2 = binary {op = add} %0, %1 : f32[n, 2] loc("/Add")
//!     yield %2 "y"
//!   }
//! }
//! ```

use super::attr::Attr;
use super::dim::Sym;
use super::func::{Block, Func, Operation, Value};
use super::in_range::InRange;
use super::module::{Const, Module, Symbol};
use super::ops::{Level, OpSet};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

/// Constants up to this many elements stand in the text; longer ones by hash, their bytes kept beside it.
pub const INLINE_ELEMENTS: usize = 64;

struct Printer<'a, L: Level> {
    func: &'a Func<L>,
    out: String,
    indent: usize,
}

impl<L: Level> Printer<'_, L> {
    fn line_start(&mut self) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
    }
    fn values(&mut self, vs: &[Value]) {
        for (k, v) in vs.iter().enumerate() {
            let _ = write!(self.out, "{}{v}", if k > 0 { ", " } else { "" });
        }
    }
    fn typed(&mut self, v: Value) {
        let _ = match self.func.types.get(v.index()) {
            Some(t) => write!(self.out, "{v}: {t}"),
            None => write!(self.out, "{v}: ?"),
        };
    }
    fn operation(&mut self, op: &Operation<L>) {
        self.line_start();
        if !op.results.is_empty() {
            self.values(&op.results);
            self.out.push_str(" = ");
        }
        self.out.push_str(op.op.info().mnemonic);
        op.op.print_attrs(&mut self.out);
        if !op.operands.is_empty() {
            self.out.push(' ');
            self.values(&op.operands);
        }
        for r in &op.regions {
            self.out.push_str(" (");
            for (k, a) in r.args.iter().enumerate() {
                if k > 0 {
                    self.out.push_str(", ");
                }
                self.typed(*a);
            }
            self.out.push_str(") {\n");
            self.indent += 1;
            self.body(r);
            self.line_start();
            self.out.push_str("yield");
            if !r.yields.is_empty() {
                self.out.push(' ');
                self.values(&r.yields);
            }
            self.out.push('\n');
            self.indent -= 1;
            self.line_start();
            self.out.push('}');
        }
        for (k, r) in op.results.iter().enumerate() {
            self.out.push_str(if k == 0 { " : " } else { ", " });
            let _ = match self.func.types.get(r.index()) {
                Some(t) => write!(self.out, "{t}"),
                None => write!(self.out, "?"),
            };
        }
        if !op.loc.0.is_empty() {
            self.out.push_str(" loc(");
            for (k, n) in op.loc.0.iter().enumerate() {
                let _ = write!(self.out, "{}\"{}\"", if k > 0 { ", " } else { "" }, n.escape_debug());
            }
            self.out.push(')');
        }
        self.out.push('\n');
    }
    fn body(&mut self, b: &Block<L>) {
        for op in &b.ops {
            self.operation(op);
        }
    }
}

/// One function as text, indented by `indent` steps.
pub fn print_func<L: Level>(func: &Func<L>, indent: usize) -> String {
    let mut p = Printer { func, out: String::new(), indent };
    p.line_start();
    let _ = write!(p.out, "func @{}(", func.name);
    let no_name = String::new();
    for (k, v) in func.body.args.iter().enumerate() {
        let name = func.param_names.get(k).unwrap_or(&no_name);
        let _ = write!(p.out, "{}{v} \"{}\": ", if k > 0 { ", " } else { "" }, name.escape_debug());
        let _ = match func.types.get(v.index()) {
            Some(t) => write!(p.out, "{t}"),
            None => write!(p.out, "?"),
        };
    }
    p.out.push_str(") {\n");
    p.indent += 1;
    p.body(&func.body);
    p.line_start();
    p.out.push_str("yield");
    for (k, v) in func.body.yields.iter().enumerate() {
        let name = func.result_names.get(k).unwrap_or(&no_name);
        let _ = write!(p.out, "{} {v} \"{}\"", if k > 0 { "," } else { "" }, name.escape_debug());
    }
    p.out.push('\n');
    p.indent -= 1;
    p.line_start();
    p.out.push_str("}\n");
    p.out
}

fn print_const(c: &Const, out: &mut String) {
    let _ = write!(out, "{} = ", c.tensor_type());
    if c.elements() <= INLINE_ELEMENTS {
        c.scalars().collect::<Vec<_>>().print(out);
    } else {
        let _ = write!(out, "blob ");
        hex(&c.hash()).print(out);
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// The `dim` and `const` lines.
pub(crate) fn print_declarations(
    symbols: &BTreeMap<Sym, Symbol>,
    in_range: &[InRange],
    consts: &[Const],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (s, k) in symbols {
        write!(f, "  dim {s} in {}..", k.lo)?;
        if let Some(hi) = k.hi {
            write!(f, "{hi}")?;
        }
        if k.multiple_of != 1 {
            write!(f, " multiple {}", k.multiple_of)?;
        }
        if let Some(most) = &k.most {
            write!(f, " most {most}")?;
        }
        if let Some(o) = &k.origin {
            write!(f, " from \"{}\" {}", o.input.escape_debug(), o.axis)?;
        }
        writeln!(f)?;
    }
    for c in in_range {
        writeln!(f, "  {}", c.print())?;
    }
    for (k, c) in consts.iter().enumerate() {
        let mut s = String::new();
        print_const(c, &mut s);
        writeln!(f, "  const #{k} : {s}")?;
    }
    Ok(())
}

impl<L: Level> Display for Module<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} module \"{}\" {{", L::NAME, self.name.escape_debug())?;
        for (k, s) in self.strings.iter().enumerate() {
            writeln!(f, "  string #{k} = \"{}\"", s.escape_debug())?;
        }
        print_declarations(&self.symbols, &self.in_range, &self.consts, f)?;
        for func in &self.funcs {
            f.write_str(&print_func(func, 1))?;
        }
        writeln!(f, "}}")
    }
}
