//! Op sets as tables. `ops!` turns one row an op (mnemonic, arities, effect and weight, attributes, doc line) into the enum, its printer,
//! parser and arity checks. A level is a closed enum: adding a row makes the compiler list every `match` that must learn it.

use super::text::{ParseError, Parser};
use super::types::Type;
use std::fmt::Debug;

/// What executing an op does beside computing its results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing: may be removed when unused, merged and moved.
    Pure,
    /// Reads memory.
    Read,
    /// Writes memory or synchronises: stays, in order.
    Write,
    /// Runs its regions; as pure as they are.
    Control,
}

/// The fixed facts of one op: a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    pub mnemonic: &'static str,
    /// Least and most operands, results and regions.
    pub operands: (usize, usize),
    pub results: (usize, usize),
    pub regions: (usize, usize),
    pub effect: Effect,
    /// How often random modules draw it: once a row unless the table says otherwise, never if 0 (then file tests have it).
    pub weight: u32,
    pub doc: &'static str,
}

/// As many as you like.
pub const MANY: usize = usize::MAX;

/// A closed op set, made by `ops!`.
pub trait OpSet: Clone + PartialEq + Debug {
    const TABLE: &'static [OpInfo];
    fn info(&self) -> &'static OpInfo;
    /// Prints ` {name = value, …}` or nothing.
    fn print_attrs(&self, out: &mut String);
    /// Parses the attributes of `mnemonic`; `None` if there is no such op.
    fn parse(mnemonic: &str, p: &mut Parser<'_>) -> Option<Result<Self, ParseError>>;
}

/// One of the IR levels: which ops, which types.
pub trait Level: Clone + PartialEq + Debug + 'static {
    const NAME: &'static str;
    type Op: OpSet;
    type Type: Type;
}

#[macro_export]
macro_rules! ops {
    ($($(#[doc = $doc:literal])* $name:ident $mn:literal ($olo:expr, $ohi:expr) -> ($rlo:expr, $rhi:expr) [$glo:expr, $ghi:expr] $effect:ident $(* $weight:literal)? { $($field:ident : $ty:ty),* $(,)? })*) => {
        #[derive(Clone, PartialEq, Debug)]
        pub enum Op { $($(#[doc = $doc])* $name { $($field: $ty),* }),* }

        impl $crate::core::OpSet for Op {
            const TABLE: &'static [$crate::core::OpInfo] = &[$($crate::core::OpInfo {
                mnemonic: $mn,
                operands: ($olo, $ohi),
                results: ($rlo, $rhi),
                regions: ($glo, $ghi),
                effect: $crate::core::Effect::$effect,
                weight: 1 $(* $weight)?,
                doc: concat!($($doc,)*),
            }),*];
            fn info(&self) -> &'static $crate::core::OpInfo {
                #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
                enum Row { $($name),* }
                let row = match self { $(Op::$name { .. } => Row::$name as usize),* };
                &Self::TABLE[row]
            }
            fn print_attrs(&self, out: &mut String) {
                match self { $(Op::$name { $($field),* } => {
                    let _start = out.len();
                    $(
                        out.push_str(if out.len() == _start { " {" } else { ", " });
                        out.push_str(concat!(stringify!($field), " = "));
                        $crate::core::Attr::print($field, out);
                    )*
                    if out.len() > _start { out.push('}'); }
                })* }
            }
            fn parse(mnemonic: &str, p: &mut $crate::core::Parser<'_>) -> Option<Result<Self, $crate::core::ParseError>> {
                match mnemonic {
                    $($mn => Some((|| {
                        let mut _first = true;
                        $(
                            p.expect(if _first { "{" } else { "," })?;
                            _first = false;
                            p.expect(stringify!($field))?;
                            p.expect("=")?;
                            let $field = <$ty as $crate::core::Attr>::parse(p)?;
                        )*
                        if !_first { p.expect("}")?; }
                        Ok(Op::$name { $($field),* })
                    })()),)*
                    _ => None,
                }
            }
        }
    };
}
