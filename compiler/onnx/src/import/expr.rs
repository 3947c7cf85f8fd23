//! The integer grammar inside `dim_param` strings and `--dim` values: what torch's exporters write for sizes that depend on
//! others (`2*h`, `past + 1`, `floor(w/8)`, `(s0//2)`, `Max(1, s0)`). Anything else is no expression.

use odc_ir::core::Dim;

/// Nesting that no exporter reaches.
const MAX_DEPTH: u32 = 32;

/// Parses `text`, asking `symbol` for the dims of names; `None` when it is no expression or a name is unknown.
pub fn parse(text: &str, symbol: &mut dyn FnMut(&str) -> Option<Dim>) -> Option<Dim> {
    let mut p = Expr { rest: text, depth: 0, symbol };
    let d = p.sum()?;
    (p.rest.trim_start().is_empty() && !d.is_poison()).then_some(d)
}

/// Is the text a plain name rather than an expression?
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

struct Expr<'a, 's> {
    rest: &'a str,
    depth: u32,
    symbol: &'s mut dyn FnMut(&str) -> Option<Dim>,
}

impl Expr<'_, '_> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
    fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let out = if self.depth > MAX_DEPTH { None } else { f(self) };
        self.depth -= 1;
        out
    }
    fn sum(&mut self) -> Option<Dim> {
        self.nested(|p| {
            let mut sum = p.product()?;
            loop {
                if p.eat("+") {
                    sum = sum + p.product()?;
                } else if p.eat("-") {
                    sum = sum - p.product()?;
                } else {
                    return Some(sum);
                }
            }
        })
    }
    fn product(&mut self) -> Option<Dim> {
        let mut d = self.power()?;
        loop {
            if self.eat("//") {
                d = d.floordiv(&self.power()?);
            } else if self.eat("%") {
                d = d.modulo(&self.power()?);
            } else if self.eat("*") {
                d = d * self.power()?;
            } else {
                return Some(d);
            }
        }
    }
    fn power(&mut self) -> Option<Dim> {
        let base = self.atom()?;
        if !self.eat("**") {
            return Some(base);
        }
        let exponent = self.atom()?.as_const().filter(|e| (0..=8).contains(e))?;
        Some((0..exponent).fold(Dim::ONE, |d, _| d * &base))
    }
    fn atom(&mut self) -> Option<Dim> {
        if self.eat("(") {
            let d = self.sum()?;
            return self.eat(")").then_some(d);
        }
        if self.eat("-") {
            return self.nested(Self::power).map(|d| -d);
        }
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c| !is_name_char(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        if word.is_empty() {
            return None;
        }
        self.rest = rest;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse::<i64>().ok().map(Dim::from);
        }
        if !self.eat("(") {
            return (self.symbol)(word);
        }
        let first = self.sum()?;
        let divide = self.eat("/") || self.eat(",");
        let second = if divide { Some(self.sum()?) } else { None };
        if !self.eat(")") {
            return None;
        }
        Some(match (word, second) {
            ("floor", Some(d)) | ("floordiv" | "FloorDiv", Some(d)) => first.floordiv(&d),
            ("ceil" | "ceiling" | "ceildiv" | "CeilToInt", Some(d)) => first.ceildiv(&d),
            ("Mod" | "mod" | "PythonMod", Some(d)) => first.modulo(&d),
            ("Min" | "min", Some(d)) => first.min_with(&d),
            ("Max" | "max", Some(d)) => first.max_with(&d),
            ("floor" | "ceil" | "ceiling", None) => first,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> Option<String> {
        parse(text, &mut |n| Some(Dim::sym(n))).map(|d| d.to_string())
    }

    #[test]
    fn what_exporters_write() {
        let h = Dim::sym("h");
        let show = |d: Dim| Some(d.to_string());
        assert_eq!(p("2*h"), show(&h * 2));
        assert_eq!(p("past + 1 - past"), Some("1".into()));
        assert_eq!(p("floor(h/8)"), show(h.floordiv(&8.into())));
        assert_eq!(p("((h//2))*4"), show(h.floordiv(&2.into()) * 4));
        assert_eq!(p("Max(1, h)"), show(h.max_with(&1.into())));
        assert_eq!(p("h**2 - 1"), show(&h * &h - 1));
        assert_eq!(p("-h + h % 4"), show(h.modulo(&4.into()) - &h));
    }

    #[test]
    fn what_is_no_expression() {
        for text in ["", "2*", "h w", "(h", "h/2", "sqrt(h)", "?", "a-b-", "99999999999999999999", "h // 0"] {
            assert_eq!(p(text), None, "{text}");
        }
        assert_eq!(p(&"(".repeat(10_000)), None);
        assert_eq!(p(&"-".repeat(10_000)), None);
        assert!(parse("h", &mut |_| None).is_none());
        assert!(is_name("p2o.DynamicDimension.0") && !is_name("2*h") && !is_name(""));
    }
}
