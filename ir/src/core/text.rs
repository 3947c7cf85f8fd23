//! The hand-written lexer under every parser of the text form: whitespace and `//` comments, words, numbers, strings, dims,
//! lists; errors carry line and column.

use super::dim::Dim;
use super::dtype::DType;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// How deep regions and expressions may nest in text.
const MAX_NESTING: u32 = 64;

pub struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str) -> Self {
        Parser { text, at: 0, depth: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    pub fn error(&self, message: impl Into<String>) -> ParseError {
        let before = self.text.get(..self.at).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        ParseError { line, column, message: message.into() }
    }

    /// Runs `f` one nesting level deeper; hostile depth is an error instead of a stack overflow.
    pub fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.depth >= MAX_NESTING {
            return Err(self.error("nested too deeply"));
        }
        self.depth += 1;
        let r = f(self);
        self.depth -= 1;
        r
    }

    pub fn skip_space(&mut self) {
        loop {
            let r = self.rest();
            let t = r.trim_start();
            self.at += r.len() - t.len();
            if !t.starts_with("//") {
                return;
            }
            self.at += t.find('\n').unwrap_or(t.len());
        }
    }

    pub fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty()
    }

    /// Is `token` next? Words match only as whole words.
    pub fn peek(&mut self, token: &str) -> bool {
        self.skip_space();
        let Some(after) = self.rest().strip_prefix(token) else {
            return false;
        };
        let word = |c: char| c.is_alphanumeric() || c == '_';
        !(token.ends_with(word) && after.starts_with(word))
    }
    pub fn eat(&mut self, token: &str) -> bool {
        let hit = self.peek(token);
        if hit {
            self.at += token.len();
        }
        hit
    }
    pub fn expect(&mut self, token: &str) -> Result<(), ParseError> {
        if self.eat(token) {
            return Ok(());
        }
        let found: String = self.rest().chars().take(12).collect();
        Err(self.error(format!("expected `{token}`, found `{}`", found.escape_debug())))
    }

    fn take(&mut self, ok: impl Fn(char) -> bool) -> &'a str {
        let r = self.rest();
        let n = r.find(|c| !ok(c)).unwrap_or(r.len());
        self.at += n;
        r.get(..n).unwrap_or("")
    }

    /// Letters, digits, `_` and `.`, not starting with a digit.
    pub fn ident(&mut self) -> Result<&'a str, ParseError> {
        self.skip_space();
        if !self.rest().starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err(self.error("expected a name"));
        }
        Ok(self.take(|c| c.is_alphanumeric() || c == '_' || c == '.'))
    }

    pub fn int(&mut self) -> Result<i64, ParseError> {
        self.skip_space();
        let start = self.at;
        if self.rest().starts_with('-') {
            self.at += 1;
        }
        self.take(|c| c.is_ascii_digit());
        let s = self.text.get(start..self.at).unwrap_or("");
        s.parse().map_err(|_| self.error(format!("`{s}` is not a 64-bit integer")))
    }

    pub fn index(&mut self) -> Result<usize, ParseError> {
        let v = self.int()?;
        usize::try_from(v).map_err(|_| self.error(format!("{v} is not an index")))
    }

    /// Decimal, `inf`, `-inf`, or `nan(bits)` with the 64 bits in hexadecimal.
    pub fn float(&mut self) -> Result<f64, ParseError> {
        self.skip_space();
        if self.eat("nan") {
            self.expect("(")?;
            let hex = self.take(|c| c.is_ascii_alphanumeric()).strip_prefix("0x").unwrap_or("");
            let bits = u64::from_str_radix(hex, 16).map_err(|_| self.error("bad bits in nan(…)"))?;
            self.expect(")")?;
            return Ok(f64::from_bits(bits));
        }
        let s = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        s.parse().map_err(|_| self.error(format!("`{s}` is not a number")))
    }

    /// A double-quoted string with Rust's escapes for quotes, backslashes, control and non-printing characters.
    pub fn string(&mut self) -> Result<String, ParseError> {
        self.expect("\"")?;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((k, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += k + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('0') => out.push('\0'),
                    Some(c @ ('"' | '\\' | '\'')) => out.push(c),
                    Some('u') => {
                        let hex: String = chars.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                        let c = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                        out.push(c.ok_or_else(|| self.error("bad \\u{…} escape"))?);
                    }
                    _ => return Err(self.error("unknown escape in string")),
                },
                c => out.push(c),
            }
        }
        Err(self.error("string without end"))
    }

    pub fn dtype(&mut self) -> Result<DType, ParseError> {
        let name = self.ident()?;
        DType::from_name(name).ok_or_else(|| self.error(format!("`{name}` is no element type")))
    }

    /// `open item, item close`, possibly empty.
    pub fn list<T>(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        self.expect(open.encode_utf8(&mut [0; 4]))?;
        let mut close_buf = [0; 4];
        let close = &*close.encode_utf8(&mut close_buf);
        let mut out = vec![];
        if self.eat(close) {
            return Ok(out);
        }
        loop {
            out.push(self.nested(&mut item)?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(close)?;
        Ok(out)
    }

    /// A dim: `+ - *`, `floordiv(a, b)`, `mod(a, b)`, `ceildiv(a, b)`, `min(a, b)`, `max(a, b)`, parentheses, symbols, integers.
    pub fn dim(&mut self) -> Result<Dim, ParseError> {
        self.nested(|p| {
            let mut sum = if p.eat("-") { -p.dim_product()? } else { p.dim_product()? };
            loop {
                if p.eat("+") {
                    sum = sum + p.dim_product()?;
                } else if p.eat("-") {
                    sum = sum - p.dim_product()?;
                } else {
                    return Ok(sum);
                }
            }
        })
    }
    fn dim_product(&mut self) -> Result<Dim, ParseError> {
        let mut product = self.dim_atom()?;
        while self.eat("*") {
            product = product * self.dim_atom()?;
        }
        Ok(product)
    }
    fn dim_atom(&mut self) -> Result<Dim, ParseError> {
        self.skip_space();
        if self.eat("(") {
            let d = self.dim()?;
            self.expect(")")?;
            return Ok(d);
        }
        if self.rest().starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Ok(Dim::from(self.int()?));
        }
        let name = self.ident()?;
        if name == "poison" {
            return Ok(Dim::poison());
        }
        if !self.peek("(") {
            return Ok(Dim::sym(name));
        }
        let f: fn(&Dim, &Dim) -> Dim = match name {
            "floordiv" => Dim::floordiv,
            "mod" => Dim::modulo,
            "ceildiv" => Dim::ceildiv,
            "min" => Dim::min_with,
            "max" => Dim::max_with,
            _ => return Err(self.error(format!("`{name}` is no function of dims"))),
        };
        match self.list('(', ')', Self::dim)?.as_slice() {
            [a, b] => Ok(f(a, b)),
            args => Err(self.error(format!("`{name}` takes 2 arguments, not {}", args.len()))),
        }
    }
}

/// Reads a whole string as one dim: what `--dim` and ONNX's `dim_param` are parsed with.
pub fn parse_dim(text: &str) -> Result<Dim, ParseError> {
    let mut p = Parser::new(text);
    let d = p.dim()?;
    if p.at_end() { Ok(d) } else { Err(p.error("unexpected text after the size")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read() {
        for (text, bits) in [("nan(0x7ff8000000000001)", 0x7ff8000000000001), ("-inf", f64::NEG_INFINITY.to_bits())] {
            let f = Parser::new(&format!("{text}}}")).float().map(f64::to_bits);
            assert_eq!(f, Ok(bits), "{text}");
        }
    }

    #[test]
    fn dims_round_trip() {
        for t in ["2*n + 1", "n*h - 3*floordiv(n + 1, 4)", "min(a, b)*2", "-n + 7", "max(n - 1, 2*k)", "0"] {
            let d = parse_dim(t).unwrap();
            assert_eq!(parse_dim(&d.to_string()).unwrap(), d, "{t}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        let e = parse_dim("2 * ").unwrap_err();
        assert_eq!((e.line, e.column), (1, 5));
        assert!(parse_dim(&"(".repeat(100_000)).is_err());
        assert!(parse_dim("99999999999999999999").is_err());
    }

    #[test]
    fn strings_round_trip() {
        let s = "a\"b\\c\n\u{1}ü/x";
        assert_eq!(Parser::new(&format!("\"{}\"", s.escape_debug())).string().unwrap(), s);
    }
}
