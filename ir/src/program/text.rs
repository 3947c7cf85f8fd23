//! Programs as text, both ways.
//!
//! ```text
//! program "mlp" {
//!   dim n in 1..4096 from "x" 0
//!   const #0 : f32[2] = [f 1.0, f 2.0]
//!   input "x" : f32[n, 2]
//!   output "y" : f32[n, 2] = slot 0
//!   check n - 2 "f32[n - 2] /Conv"
//!   arena 64*n
//!   slot 0 at 0 size 8*n "f32[n, 2] /Add"
//!   dispatch 0 (in 0, #0) -> (slot 0) dims [n] grid n grain 1 scratch 0 loc("/Add")
//!   func @add(…) {…}
//! }
//! ```

mod control;

use super::{BufferRef, Check, Command, Port, Program, Slot};
use crate::core::{
    Attr, Blobs, ConstId, Loc, ParseError, Parser, TensorType, Type, parse_declarations, parse_func, print_declarations, print_func,
};
use std::fmt::{self, Display};

impl Display for BufferRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BufferRef::Input(k) => write!(f, "in {k}"),
            BufferRef::Const { id, offset: 0 } => write!(f, "#{}", id.0),
            BufferRef::Const { id, offset } => write!(f, "#{} + {offset}", id.0),
            BufferRef::Arena(k) => write!(f, "slot {k}"),
            BufferRef::Output(k) => write!(f, "out {k}"),
            BufferRef::Local(k) => write!(f, "local {k}"),
        }
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" : {}", self.name.escape_debug(), self.ty)
    }
}

fn list<T: Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(k, x)| write!(f, "{}{x}", if k > 0 { ", " } else { "" }))
}

impl Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reads, writes) = self.accesses();
        match self {
            Command::Dispatch { kernel, dims, grid, grain, scratch, bytes, loc, .. } => {
                write!(f, "dispatch {kernel} (")?;
                list(f, &reads)?;
                f.write_str(") -> (")?;
                list(f, &writes)?;
                f.write_str(") dims [")?;
                list(f, dims)?;
                write!(f, "] grid {grid} grain {grain} scratch {scratch}")?;
                if !bytes.is_empty() {
                    f.write_str(" bytes [")?;
                    list(f, bytes)?;
                    f.write_str("]")?;
                }
                location(f, loc)
            }
            Command::Copy { src, dst, bytes } => write!(f, "copy {src} to {dst} size {bytes}"),
            Command::Size { size, from } => write!(f, "size {size} from {from}"),
            Command::If { condition, loc } => {
                write!(f, "if {condition}")?;
                location(f, loc)?;
                f.write_str(" {")
            }
            Command::Else => f.write_str("} else {"),
            Command::Loop(l) => control::print(l, f),
            Command::End => f.write_str("}"),
        }
    }
}

fn location(f: &mut fmt::Formatter<'_>, loc: &Loc) -> fmt::Result {
    if loc.0.is_empty() {
        return Ok(());
    }
    f.write_str(" loc(")?;
    list(f, &loc.0.iter().map(|n| format!("\"{}\"", n.escape_debug())).collect::<Vec<_>>())?;
    f.write_str(")")
}

impl Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program \"{}\" {{", self.name.escape_debug())?;
        print_declarations(&self.symbols, &self.in_range, &self.consts, f)?;
        for p in &self.inputs {
            writeln!(f, "  input {p}")?;
        }
        for (p, b) in &self.outputs {
            writeln!(f, "  output {p} = {b}")?;
        }
        for c in &self.checks {
            writeln!(f, "  check {} \"{}\"", c.size, c.what.escape_debug())?;
        }
        writeln!(f, "  arena {}", self.arena_bytes)?;
        for (k, s) in self.slots.iter().enumerate() {
            let within = s.within.map_or(String::new(), |w| format!("within {w} "));
            writeln!(f, "  slot {k} at {} size {} {within}\"{}\"", s.offset, s.bytes, s.note.escape_debug())?;
        }
        let mut depth = 1usize;
        for c in &self.commands {
            if matches!(c, Command::Else | Command::End) {
                depth = depth.saturating_sub(1);
            }
            writeln!(f, "{}{c}", "  ".repeat(depth))?;
            if matches!(c, Command::If { .. } | Command::Else | Command::Loop(_)) {
                depth += 1;
            }
        }
        for (k, note) in self.notes.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            writeln!(f, "  note {k} \"{}\"", note.escape_debug())?;
        }
        for k in &self.kernels {
            f.write_str(&print_func(k, 1))?;
        }
        writeln!(f, "}}")
    }
}

/// The inverse of printing. Checks form only; [`super::verify_program`] checks meaning.
pub fn parse_program(text: &str, blobs: Blobs<'_>) -> Result<Program, ParseError> {
    let mut p = Parser::new(text);
    p.expect("program")?;
    let mut prog = Program::new(&p.string()?);
    p.expect("{")?;
    (prog.symbols, prog.in_range, prog.consts) = parse_declarations(&mut p, blobs)?;
    while p.eat("input") {
        prog.inputs.push(port(&mut p)?);
    }
    while p.eat("output") {
        let port = port(&mut p)?;
        p.expect("=")?;
        prog.outputs.push((port, buffer(&mut p)?));
    }
    while p.eat("check") {
        let size = p.dim()?;
        prog.checks.push(Check { size, what: p.string()? });
    }
    p.expect("arena")?;
    prog.arena_bytes = p.dim()?;
    while p.eat("slot") {
        if p.index()? != prog.slots.len() {
            return Err(p.error(format!("slots are numbered in order: expected {}", prog.slots.len())));
        }
        p.expect("at")?;
        let offset = p.dim()?;
        p.expect("size")?;
        let bytes = p.dim()?;
        let within = if p.eat("within") { Some(u32::parse(&mut p)?) } else { None };
        prog.slots.push(Slot { offset, bytes, within, note: p.string()? });
    }
    let mut depth = 0usize;
    loop {
        if p.eat("dispatch") {
            prog.commands.push(dispatch(&mut p)?);
        } else if p.eat("copy") {
            let src = buffer(&mut p)?;
            p.expect("to")?;
            let dst = buffer(&mut p)?;
            p.expect("size")?;
            prog.commands.push(Command::Copy { src, dst, bytes: p.dim()? });
        } else if p.eat("size") {
            let size = p.dim()?;
            p.expect("from")?;
            prog.commands.push(Command::Size { size, from: buffer(&mut p)? });
        } else if p.eat("if") {
            let condition = buffer(&mut p)?;
            let loc = parse_location(&mut p)?;
            p.expect("{")?;
            prog.commands.push(Command::If { condition, loc });
            depth += 1;
        } else if p.eat("loop") {
            prog.commands.push(Command::Loop(control::parse(&mut p)?));
            depth += 1;
        } else if depth > 0 {
            p.expect("}")?;
            if p.eat("else") {
                p.expect("{")?;
                prog.commands.push(Command::Else);
            } else {
                prog.commands.push(Command::End);
                depth -= 1;
            }
        } else {
            break;
        }
    }
    let mut notes = vec![];
    while p.eat("note") {
        notes.push((p.index()?, p.string()?));
    }
    while p.peek("func") {
        prog.kernels.push(parse_func(&mut p)?);
    }
    prog.notes = vec![String::new(); prog.kernels.len()];
    for (k, text) in notes {
        *prog.notes.get_mut(k).ok_or_else(|| p.error(format!("note {k} is of no kernel")))? = text;
    }
    p.expect("}")?;
    if p.at_end() { Ok(prog) } else { Err(p.error("unexpected text after the program")) }
}

fn port(p: &mut Parser<'_>) -> Result<Port, ParseError> {
    let name = p.string()?;
    p.expect(":")?;
    Ok(Port { name, ty: TensorType::parse(p)? })
}

fn buffer(p: &mut Parser<'_>) -> Result<BufferRef, ParseError> {
    if p.eat("in") {
        return Ok(BufferRef::Input(u32::parse(p)?));
    }
    if p.eat("slot") {
        return Ok(BufferRef::Arena(u32::parse(p)?));
    }
    if p.eat("out") {
        return Ok(BufferRef::Output(u32::parse(p)?));
    }
    if p.eat("local") {
        return Ok(BufferRef::Local(u32::parse(p)?));
    }
    let id = ConstId::parse(p)?;
    let offset = if p.eat("+") { p.index()? as u64 } else { 0 };
    Ok(BufferRef::Const { id, offset })
}

fn parse_location(p: &mut Parser<'_>) -> Result<Loc, ParseError> {
    let mut loc = Loc::none();
    if p.eat("loc") {
        loc.0 = p.list('(', ')', |p| p.string().map(Into::into))?;
    }
    Ok(loc)
}

fn dispatch(p: &mut Parser<'_>) -> Result<Command, ParseError> {
    let kernel = u32::parse(p)?;
    let mut buffers = p.list('(', ')', buffer)?;
    let reads = buffers.len() as u32;
    p.expect("->")?;
    buffers.extend(p.list('(', ')', buffer)?);
    p.expect("dims")?;
    let dims = p.list('[', ']', Parser::dim)?;
    p.expect("grid")?;
    let grid = p.dim()?;
    p.expect("grain")?;
    let grain = p.dim()?;
    p.expect("scratch")?;
    let scratch = p.dim()?;
    let bytes = if p.eat("bytes") { p.list('[', ']', Parser::dim)? } else { vec![] };
    let loc = parse_location(p)?;
    Ok(Command::Dispatch { kernel, buffers, reads, dims, grid, grain, scratch, bytes, loc })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::no_blobs;
    use crate::program::verify_program;

    const TEXT: &str = r#"program "a \"model\"" {
  dim n in 1.. multiple 2 from "x" 0
  const #0 : f32[2] = [f 1.0, f 2.0]
  input "x" : f32[n, 2]
  output "y" : f32[n - 1, 2] = slot 1
  output "x again" : f32[n, 2] = in 0
  output "sum" : f32[n, 2] = out 2
  check n - 1 "f32[n - 1, 2] /Slice"
  arena 128*floordiv(n + 7, 8)
  slot 0 at 0 size 8*n "f32[n, 2] /Add"
  slot 1 at 64*floordiv(n + 7, 8) size 8*n - 8 ""
  dispatch 0 (in 0, #0 + 4) -> (slot 0) dims [n] grid n grain 16 scratch 64 loc("/Add", "/Mul")
  dispatch 0 (in 0, #0 + 4) -> (out 2) dims [n] grid n grain 16 scratch 64 bytes [8*n, 4, 8*n]
  copy slot 0 to slot 1 size 8*n - 8
  note 0 "loops {vector 4}"
  func @Add(%0 "a": ptr<f32, global>, %1 "b": ptr<f32, global>, %2 "c": ptr<f32, global>, %3 "n": index) {
    yield
  }
}
"#;

    #[test]
    fn text_goes_both_ways() {
        let p = parse_program(TEXT, &no_blobs).unwrap();
        let printed = p.to_string();
        assert_eq!(parse_program(&printed, &no_blobs).unwrap(), p, "{printed}");
        assert_eq!(printed.lines().count(), TEXT.lines().count(), "{printed}");
        assert_eq!(verify_program(&p), []);
        assert_eq!(p.kernel_loc(0).0.len(), 2);
    }

    #[test]
    fn damaged_text_is_an_error() {
        for end in (0..TEXT.len() - 2).filter(|k| TEXT.is_char_boundary(*k)) {
            assert!(parse_program(&TEXT[..end], &no_blobs).is_err(), "cut at {end}");
        }
        let wrong = [("slot 1 at", "slot 7 at"), ("in 0,", "into 0,"), ("const #0", "const #1"), ("dims [n]", "dims n")];
        for (from, to) in wrong {
            assert!(parse_program(&TEXT.replacen(from, to, 1), &no_blobs).is_err(), "{to}");
        }
        for (from, to) in [
            ("slot 1\n", "slot 9\n"),
            ("in 0,", "in 5,"),
            ("in 0,", "out 2,"),
            ("#0 + 4", "#0 + 9"),
            ("dispatch 0", "dispatch 3"),
            ("dims [n]", "dims []"),
            ("= out 2", "= out 1"),
            ("-> (out 2)", "-> (out 1)"),
            ("-> (out 2)", "-> (out 9)"),
            ("bytes [8*n, 4, 8*n]", "bytes [4]"),
            ("bytes [8*n, 4, 8*n]", "bytes [8*n, 8, 8*n]"),
        ] {
            let p = parse_program(&TEXT.replacen(from, to, 1), &no_blobs).unwrap();
            assert!(!verify_program(&p).is_empty(), "{to}");
        }
    }
}
