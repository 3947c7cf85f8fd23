//! Text back to modules: the inverse of `print.rs` for every level. Checks form only; meaning is the verifier's.

use super::attr::Attr;
use super::dim::Sym;
use super::dtype::Scalar;
use super::func::{Block, Func, Loc, Operation, Value};
use super::in_range::InRange;
use super::module::{Const, Module, Origin, Symbol, element_count};
use super::ops::{Level, OpSet};
use super::print::INLINE_ELEMENTS;
use super::text::{ParseError, Parser};
use super::types::{TensorType, Type};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Finds the bytes of constants that the text names by hash (64 hexadecimal digits).
pub type Blobs<'a> = &'a dyn Fn(&str) -> Option<Bytes>;

/// For text without blobs.
pub fn no_blobs(_: &str) -> Option<Bytes> {
    None
}

/// The level that a text says it is (`graph`, `tensor`, `loop`), if it starts like a module.
pub fn level_name(text: &str) -> Option<String> {
    Parser::new(text).ident().ok().map(str::to_string)
}

/// A value number past this is refused rather than allocated.
const MAX_VALUES: u32 = 1 << 24;

pub fn parse_module<L: Level>(text: &str, blobs: Blobs<'_>) -> Result<Module<L>, ParseError> {
    let mut p = Parser::new(text);
    p.expect(L::NAME)?;
    p.expect("module")?;
    let mut m = Module::new(&p.string()?);
    p.expect("{")?;
    while p.eat("string") {
        p.expect("#")?;
        if p.index()? != m.strings.len() {
            return Err(p.error(format!("strings are numbered in order: expected #{}", m.strings.len())));
        }
        p.expect("=")?;
        m.strings.push(p.string()?);
    }
    (m.symbols, m.in_range, m.consts) = parse_declarations(&mut p, blobs)?;
    while p.peek("func") {
        m.funcs.push(parse_func(&mut p)?);
    }
    p.expect("}")?;
    if p.at_end() { Ok(m) } else { Err(p.error("unexpected text after the module")) }
}

type Declarations = (BTreeMap<Sym, Symbol>, Vec<InRange>, Vec<Const>);

/// The `dim`, `in_range` and `const` lines.
pub(crate) fn parse_declarations(p: &mut Parser<'_>, blobs: Blobs<'_>) -> Result<Declarations, ParseError> {
    let (mut symbols, mut in_range, mut consts) = (BTreeMap::new(), vec![], vec![]);
    while p.eat("dim") {
        let (s, k) = symbol(p)?;
        symbols.insert(s, k);
    }
    while p.eat("in_range") {
        in_range.push(InRange::parse(p)?);
    }
    while p.eat("const") {
        p.expect("#")?;
        let k = p.index()?;
        if k != consts.len() {
            return Err(p.error(format!("constants are numbered in order: expected #{}", consts.len())));
        }
        p.expect(":")?;
        consts.push(constant(p, blobs)?);
    }
    Ok((symbols, in_range, consts))
}

fn symbol(p: &mut Parser<'_>) -> Result<(Sym, Symbol), ParseError> {
    let s = Sym::new(p.ident()?);
    p.expect("in")?;
    let lo = p.int()?;
    p.expect("..")?;
    let mut k = Symbol { lo, ..Symbol::default() };
    let after = ["dim", "multiple", "most", "from", "in_range", "const", "func", "input", "output", "check", "arena", "}"];
    if !after.iter().any(|w| p.peek(w)) {
        k.hi = Some(p.int()?);
    }
    if p.eat("multiple") {
        k.multiple_of = p.int()?;
    }
    if p.eat("most") {
        k.most = Some(p.dim()?);
    }
    if p.eat("from") {
        k.origin = Some(Origin { input: p.string()?, axis: p.index()? });
    }
    Ok((s, k))
}

fn constant(p: &mut Parser<'_>, blobs: Blobs<'_>) -> Result<Const, ParseError> {
    let ty = TensorType::parse(p)?;
    let shape = ty.static_shape().ok_or_else(|| p.error("a constant's shape must be numbers"))?;
    let n = element_count(&shape).ok_or_else(|| p.error("a constant's shape must be non-negative and fit memory"))?;
    p.expect("=")?;
    let bytes = if p.eat("blob") {
        let hash = p.string()?;
        blobs(&hash).ok_or_else(|| p.error(format!("no bytes for constant {hash} beside this text")))?
    } else {
        let values = Vec::<Scalar>::parse(p)?;
        if n > INLINE_ELEMENTS || values.len() != n {
            return Err(p.error(format!("{n} elements expected, {} given", values.len())));
        }
        Const::from_scalars(ty.dtype, &shape, values).bytes
    };
    Const::new(ty.dtype, shape, bytes).ok_or_else(|| p.error("the constant's bytes do not fit its shape"))
}

struct FuncParser<L: Level> {
    types: Vec<Option<L::Type>>,
}

impl<L: Level> FuncParser<L> {
    fn value(&mut self, p: &mut Parser<'_>) -> Result<Value, ParseError> {
        p.expect("%")?;
        let n = p.int()?;
        match u32::try_from(n) {
            Ok(v) if v < MAX_VALUES => Ok(Value(v)),
            _ => Err(p.error("value number out of range")),
        }
    }
    fn define(&mut self, p: &Parser<'_>, v: Value, ty: L::Type) -> Result<(), ParseError> {
        if self.types.len() <= v.index() {
            self.types.resize(v.index() + 1, None);
        }
        match self.types.get_mut(v.index()) {
            Some(slot @ None) => {
                *slot = Some(ty);
                Ok(())
            }
            _ => Err(p.error(format!("{v} is defined twice"))),
        }
    }
    fn values(&mut self, p: &mut Parser<'_>) -> Result<Vec<Value>, ParseError> {
        let mut vs = vec![];
        while p.peek("%") {
            vs.push(self.value(p)?);
            if !p.eat(",") {
                break;
            }
        }
        Ok(vs)
    }
    fn block_rest(&mut self, p: &mut Parser<'_>, block: &mut Block<L>) -> Result<(), ParseError> {
        p.expect("{")?;
        while !p.peek("yield") {
            let op = p.nested(|p| self.operation(p))?;
            block.ops.push(op);
        }
        p.expect("yield")
    }
    fn operation(&mut self, p: &mut Parser<'_>) -> Result<Operation<L>, ParseError> {
        let results = self.values(p)?;
        if !results.is_empty() {
            p.expect("=")?;
        }
        let name = p.ident()?;
        let op = L::Op::parse(name, p).ok_or_else(|| p.error(format!("`{name}` is no {} op", L::NAME)))??;
        // An op without operands may stand before another's results.
        let operands = if op.info().operands.1 > 0 { self.values(p)? } else { vec![] };
        let mut regions = vec![];
        while p.peek("(") {
            let mut b = Block::default();
            for (v, ty) in p.list('(', ')', |p| {
                let v = self.value(p)?;
                p.expect(":")?;
                Ok((v, L::Type::parse(p)?))
            })? {
                self.define(p, v, ty)?;
                b.args.push(v);
            }
            self.block_rest(p, &mut b)?;
            b.yields = self.values(p)?;
            p.expect("}")?;
            regions.push(b);
        }
        for (k, r) in results.iter().enumerate() {
            p.expect(if k == 0 { ":" } else { "," })?;
            let ty = L::Type::parse(p)?;
            self.define(p, *r, ty)?;
        }
        let mut loc = Loc::none();
        if p.eat("loc") {
            loc.0 = p.list('(', ')', |p| p.string().map(Into::into))?;
        }
        Ok(Operation { op, operands, results, regions, loc })
    }
}

pub(crate) fn parse_func<L: Level>(p: &mut Parser<'_>) -> Result<Func<L>, ParseError> {
    p.expect("func")?;
    p.expect("@")?;
    let mut f = Func::new(p.ident()?);
    let mut fp = FuncParser::<L> { types: vec![] };
    let params = p.list('(', ')', |p| {
        let v = fp.value(p)?;
        let name = p.string()?;
        p.expect(":")?;
        let ty = L::Type::parse(p)?;
        fp.define(p, v, ty)?;
        Ok((v, name))
    })?;
    (f.body.args, f.param_names) = params.into_iter().unzip();
    let mut body = std::mem::take(&mut f.body);
    fp.block_rest(p, &mut body)?;
    while p.peek("%") {
        body.yields.push(fp.value(p)?);
        f.result_names.push(p.string()?);
        if !p.eat(",") {
            break;
        }
    }
    p.expect("}")?;
    f.body = body;
    f.types = fp.types.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| p.error("value numbers have a gap"))?;
    let mut undefined = None;
    f.body.visit_uses(&mut |v| {
        if v.index() >= f.types.len() {
            undefined = Some(v);
        }
    });
    match undefined {
        Some(v) => Err(p.error(format!("{v} is used but not defined in @{}", f.name))),
        None => Ok(f),
    }
}
