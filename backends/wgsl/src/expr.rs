//! Expressions as text with their binding strength, put together by WGSL's grammar, which is stricter than C's: shifts and bitwise
//! operators do not mix with others without parentheses, and `a < b, c > d` in an argument list would read as a template.

/// How tightly the outermost operator binds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Atom,
    Unary,
    Mul,
    Add,
    Shift,
    And,
    Or,
    Xor,
    Compare,
}

use Level::{Add, And, Atom, Compare, Mul, Or, Shift, Unary, Xor};

#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    pub text: String,
    pub level: Level,
    /// Depends on memory: must not move past a store or a barrier.
    pub reads: bool,
    /// A name, a literal or a component: as cheap to repeat as to name.
    pub simple: bool,
    /// The lanes of a vector that is written out.
    pub lanes: Option<Vec<Expr>>,
}

impl Expr {
    pub fn new(text: String, level: Level) -> Expr {
        Expr { text, level, reads: false, simple: false, lanes: None }
    }
    /// A name.
    pub fn name(text: &str) -> Expr {
        Expr { simple: true, ..Expr::new(text.to_owned(), Atom) }
    }
    pub fn literal(text: String) -> Expr {
        let level = if text.starts_with('-') { Unary } else { Atom };
        Expr { simple: true, ..Expr::new(text, level) }
    }
    pub fn call(function: &str, args: &[&Expr]) -> Expr {
        let list: Vec<_> = match args {
            [one] => vec![one.text.clone()],
            many => many.iter().map(|a| a.argument()).collect(),
        };
        Expr { reads: args.iter().any(|a| a.reads), ..Expr::new(format!("{function}({})", list.join(", ")), Atom) }
    }
    /// A vector of written-out lanes.
    pub fn vector(ty: &str, lanes: Vec<Expr>) -> Expr {
        let e = Expr::call(ty, &lanes.iter().collect::<Vec<_>>());
        Expr { lanes: Some(lanes), ..e }
    }
    /// `- ! ~`
    pub fn prefix(op: char, x: &Expr) -> Expr {
        Expr { reads: x.reads, ..Expr::new(format!("{op}{}", x.inside(&[Atom])), Unary) }
    }
    pub fn infix(a: &Expr, op: &str, b: &Expr) -> Expr {
        let level = match op {
            "*" | "/" | "%" => Mul,
            "+" | "-" => Add,
            "<<" | ">>" => Shift,
            "&" => And,
            "|" => Or,
            "^" => Xor,
            _ => Compare,
        };
        let (left, right): (&[Level], &[Level]) = match level {
            Mul => (&[Atom, Unary, Mul], &[Atom, Unary]),
            Add => (&[Atom, Unary, Mul, Add], &[Atom, Unary, Mul]),
            And => (&[Atom, Unary, And], &[Atom, Unary]),
            Or => (&[Atom, Unary, Or], &[Atom, Unary]),
            Xor => (&[Atom, Unary, Xor], &[Atom, Unary]),
            Compare => (&[Atom, Unary, Mul, Add], &[Atom, Unary, Mul, Add]),
            Atom | Unary | Shift => (&[Atom, Unary], &[Atom, Unary]),
        };
        Expr { reads: a.reads || b.reads, ..Expr::new(format!("{} {op} {}", a.inside(left), b.inside(right)), level) }
    }
    /// `v.x`
    pub fn lane(&self, k: u32) -> Expr {
        if let Some(e) = self.lanes.as_ref().and_then(|l| l.get(k as usize)) {
            return e.clone();
        }
        let component = ["x", "y", "z", "w"].get(k as usize).copied().unwrap_or("w");
        Expr { simple: self.simple, reads: self.reads, ..Expr::new(format!("{}.{component}", self.inside(&[Atom])), Atom) }
    }
    pub fn reading(self) -> Expr {
        Expr { reads: true, ..self }
    }

    /// The text where only some operators may stand without parentheses.
    pub fn inside(&self, levels: &[Level]) -> String {
        if levels.contains(&self.level) { self.text.clone() } else { format!("({})", self.text) }
    }
    fn argument(&self) -> String {
        self.inside(&[Atom, Unary, Mul, Add, Shift, And, Or, Xor])
    }
    /// Is `name` one of the words of this expression?
    pub fn mentions(&self, name: &str) -> bool {
        self.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|w| w == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(s: &str) -> Expr {
        Expr::name(s)
    }

    #[test]
    fn parentheses_where_the_grammar_wants_them() {
        let sum = Expr::infix(&n("a"), "+", &n("b"));
        let less = Expr::infix(&n("a"), "<", &sum);
        assert_eq!(Expr::infix(&sum, "*", &sum).text, "(a + b) * (a + b)");
        assert_eq!(Expr::infix(&sum, "-", &sum).text, "a + b - (a + b)");
        assert_eq!(Expr::infix(&sum, "<<", &n("c")).text, "(a + b) << c");
        assert_eq!(Expr::infix(&less, "&", &less).text, "(a < a + b) & (a < a + b)");
        assert_eq!(Expr::call("f", &[&less, &sum]).text, "f((a < a + b), a + b)");
        assert_eq!(Expr::prefix('-', &Expr::literal("-1".into())).text, "-(-1)");
        assert_eq!(sum.lane(1).text, "(a + b).y");
        assert!(sum.mentions("a") && !Expr::name("ab").mentions("a"));
    }
}
