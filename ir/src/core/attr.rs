//! Attributes: what an op carries besides operands. [`Attr`] prints and parses one value; `attr_enum!` makes a closed set of words.

use super::dim::{Dim, Sym};
use super::dtype::{DType, Scalar};
use super::text::{ParseError, Parser};
use std::fmt::Write;

pub trait Attr: Sized {
    fn print(&self, out: &mut String);
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError>;
}

macro_rules! display_attr {
    ($($t:ty => $parse:expr;)*) => {$(
        impl Attr for $t {
            fn print(&self, out: &mut String) { let _ = write!(out, "{self}"); }
            fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> { let f: fn(&mut Parser<'_>) -> Result<Self, ParseError> = $parse; f(p) }
        }
    )*};
}
display_attr! {
    i64 => |p| p.int();
    usize => |p| p.index();
    u32 => |p| { let v = p.int()?; u32::try_from(v).map_err(|_| p.error(format!("{v} is not a 32-bit count"))) };
    bool => |p| { let w = p.ident()?; match w { "true" => Ok(true), "false" => Ok(false), _ => Err(p.error("expected `true` or `false`")) } };
    DType => |p| p.dtype();
    Dim => |p| p.dim();
    Sym => |p| Ok(Sym::new(p.ident()?));
}

impl Attr for f64 {
    fn print(&self, out: &mut String) {
        let _ = if self.is_nan() { write!(out, "nan(0x{:x})", self.to_bits()) } else { write!(out, "{self:?}") };
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        p.float()
    }
}

impl Attr for String {
    fn print(&self, out: &mut String) {
        let _ = write!(out, "\"{}\"", self.escape_debug());
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        p.string()
    }
}

impl Attr for Scalar {
    fn print(&self, out: &mut String) {
        match self {
            Scalar::Int(x) => x.print(out),
            Scalar::Bool(b) => b.print(out),
            Scalar::Float(x) => {
                out.push('f');
                out.push(' ');
                x.print(out);
            }
        }
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        if p.eat("f ") {
            Ok(Scalar::Float(p.float()?))
        } else if p.peek("true") || p.peek("false") {
            Ok(Scalar::Bool(bool::parse(p)?))
        } else {
            Ok(Scalar::Int(p.int()?))
        }
    }
}

impl<T: Attr> Attr for Vec<T> {
    fn print(&self, out: &mut String) {
        out.push('[');
        for (k, x) in self.iter().enumerate() {
            if k > 0 {
                out.push_str(", ");
            }
            x.print(out);
        }
        out.push(']');
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        p.list('[', ']', T::parse)
    }
}

impl<T: Attr> Attr for Option<T> {
    fn print(&self, out: &mut String) {
        match self {
            Some(x) => x.print(out),
            None => out.push_str("none"),
        }
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        if p.eat("none") { Ok(None) } else { T::parse(p).map(Some) }
    }
}

impl<A: Attr, B: Attr> Attr for (A, B) {
    fn print(&self, out: &mut String) {
        out.push('(');
        self.0.print(out);
        out.push_str(", ");
        self.1.print(out);
        out.push(')');
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        p.expect("(")?;
        let a = A::parse(p)?;
        p.expect(",")?;
        let b = B::parse(p)?;
        p.expect(")")?;
        Ok((a, b))
    }
}

/// A closed set of words as an attribute: the enum, its names both ways and `ALL`.
#[macro_export]
macro_rules! attr_enum {
    ($(#[$m:meta])* $name:ident { $($(#[$vm:meta])* $v:ident $word:literal),* $(,)? }) => {
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$vm])* $v),* }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$v),*];
            pub const fn name(self) -> &'static str { match self { $($name::$v => $word),* } }
            pub fn from_name(s: &str) -> Option<$name> { match s { $($word => Some($name::$v),)* _ => None } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.name()) }
        }
        impl $crate::core::Attr for $name {
            fn print(&self, out: &mut String) { out.push_str(self.name()) }
            fn parse(p: &mut $crate::core::Parser<'_>) -> Result<Self, $crate::core::ParseError> {
                let w = p.ident()?;
                $name::from_name(w).ok_or_else(|| p.error(format!("`{w}` is not one of: {}", [$($word),*].join(", "))))
            }
        }
    };
}
