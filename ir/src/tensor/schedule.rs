//! A schedule is one printable record a dispatch: how its axes map to levels, what is staged, which tile. Data, not code: a pass
//! chooses it, lowering follows it, a person can read and change it.

use crate::core::{Attr, ParseError, Parser};
use crate::{attr_enum, core::Dim};

attr_enum! {
    /// Which lowering a dispatch takes.
    Template {
        /// Loops over the result: maps, and reductions by rows.
        Loops "loops",
        /// A contraction in register tiles over packed or direct operands; on a GPU over tiles that a workgroup shares.
        Gemm "gemm",
        /// On a GPU: a workgroup computes one row of each stage, reductions included.
        Rows "rows",
        /// On a GPU: a contraction of few rows, its depth split over invocations.
        Gemv "gemv",
        /// On a CPU: a contraction, stages over each of its rows and a contraction of what they give, a block of rows after the other.
        Attention "attention",
        /// On a CPU: maps that have nothing to do with each other, each over a range of the grid of its own.
        Beside "beside",
    }
}

attr_enum! {
    /// How a contraction reads one operand inside the register tile.
    Access {
        /// From the tensor itself: unit stride along the tile (or broadcast), uniform stride along k.
        Direct "direct",
        /// From panels that were packed at compile time.
        Packed "packed",
        /// From a panel in scratch, filled a block at a time through the index map (im2col, transposes, padding).
        Staged "staged",
    }
}

/// What multiplies in a gemm's inner loop on a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Intrinsic {
    /// A fused multiply-add of one product.
    #[default]
    None,
    /// A sum of four products of bytes.
    Dot4,
    /// A matrix that a subgroup multiplies: rows, columns, depth, and the invocations that it takes.
    Coop([i64; 4]),
}

impl Attr for Intrinsic {
    fn print(&self, out: &mut String) {
        match self {
            Intrinsic::None => out.push_str("none"),
            Intrinsic::Dot4 => out.push_str("dot4"),
            Intrinsic::Coop(shape) => {
                out.push_str("coop ");
                shape.to_vec().print(out);
            }
        }
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        if p.eat("none") {
            return Ok(Intrinsic::None);
        }
        if p.eat("dot4") {
            return Ok(Intrinsic::Dot4);
        }
        p.expect("coop")?;
        let shape = Vec::<i64>::parse(p)?;
        shape.try_into().map(Intrinsic::Coop).map_err(|_| p.error("a matrix has rows, columns, depth and invocations"))
    }
}

/// The record. On a GPU: `local` invocations a workgroup; `tile` is the tile in registers (of a subgroup with `coop`), `block` rows, columns and depth of the shared tiles
/// (gemm) or columns and parts of the depth (gemv). On a CPU: loops use `grid`, `vector`, `unroll`; a gemm also `tile` (rows, columns of the register tile), `block`
/// (rows, columns, depth of the cache block) and the operands' access. Attention has the tiles and the access of both contractions; its block is the rows whose
/// scores lie in scratch at a time, and those of a grid item. Maps beside each other have two numbers in `block` each: leading axes in the grid, and as `block` of
/// `loops` the elements of the next axis that are an item's, or 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    pub template: Template,
    /// Leading axes that are spread over the thread grid.
    pub grid: usize,
    /// Lanes of the innermost axis.
    pub vector: u32,
    pub unroll: u32,
    pub tile: Vec<i64>,
    pub block: Vec<i64>,
    pub access: Vec<Access>,
    /// Least grid items worth a thread of their own.
    pub grain: Dim,
    /// Invocations of a workgroup; none on a CPU.
    pub local: Vec<i64>,
    /// Reduce by subgroups where invocations reduce together.
    pub subgroup: bool,
    /// Left out of the text where there is none.
    pub intrinsic: Intrinsic,
}

impl Schedule {
    pub fn loops(grid: usize, vector: u32) -> Self {
        Schedule {
            template: Template::Loops,
            grid,
            vector,
            unroll: 1,
            tile: vec![],
            block: vec![],
            access: vec![],
            grain: Dim::ONE,
            local: vec![],
            subgroup: false,
            intrinsic: Intrinsic::None,
        }
    }
}

macro_rules! record_attr {
    ($t:ident { $($f:ident),*; $last:ident }) => {
        impl Attr for $t {
            fn print(&self, out: &mut String) {
                out.push('{');
                let start = out.len();
                $(
                    out.push_str(if out.len() == start { "" } else { ", " });
                    out.push_str(concat!(stringify!($f), " "));
                    self.$f.print(out);
                )*
                if self.$last != Default::default() {
                    out.push_str(concat!(", ", stringify!($last), " "));
                    self.$last.print(out);
                }
                out.push('}');
            }
            fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
                p.expect("{")?;
                let mut first = true;
                $(
                    if !first { p.expect(",")?; }
                    first = false;
                    p.expect(stringify!($f))?;
                    let $f = Attr::parse(p)?;
                )*
                let _ = first;
                let $last = if p.eat(",") {
                    p.expect(stringify!($last))?;
                    Attr::parse(p)?
                } else {
                    Default::default()
                };
                p.expect("}")?;
                Ok($t { $($f,)* $last })
            }
        }
    };
}
record_attr!(Schedule { template, grid, vector, unroll, tile, block, access, grain, local, subgroup; intrinsic });
