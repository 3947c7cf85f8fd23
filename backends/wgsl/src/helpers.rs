//! Small functions for what WGSL has no operator for. A module holds only those that its kernel calls.

use odc_ir::core::DType;

/// Scalar or vector of f32, f16, i32, u32 or bool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Type {
    pub dtype: DType,
    pub lanes: u32,
}

impl Type {
    pub fn text(self) -> String {
        match self.lanes {
            1 => self.dtype.name().into(),
            n => format!("vec{n}<{}>", self.dtype),
        }
    }
    pub fn with(self, dtype: DType) -> Type {
        Type { dtype, ..self }
    }
    fn suffix(self) -> String {
        match self.lanes {
            1 => self.dtype.name().into(),
            n => format!("{}x{n}", self.dtype),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Helper {
    /// Division toward minus infinity, signed.
    FloorDiv(Type),
    /// Remainder with the divisor's sign, signed or float.
    FloorMod(Type),
    /// Float remainder with the dividend's sign.
    Remainder(Type),
    /// Shifts by the width or more give 0; WGSL takes the amount modulo the width.
    ShiftLeft(Type),
    ShiftRight(Type),
    /// f32 to integers: toward zero, saturating, NaN to 0.
    ToI32(Type),
    ToU32(Type),
}

impl Helper {
    pub fn name(self) -> String {
        match self {
            Helper::FloorDiv(t) => format!("floor_div_{}", t.suffix()),
            Helper::FloorMod(t) => format!("floor_mod_{}", t.suffix()),
            Helper::Remainder(t) => format!("remainder_{}", t.suffix()),
            Helper::ShiftLeft(t) => format!("shift_left_{}", t.suffix()),
            Helper::ShiftRight(t) => format!("shift_right_{}", t.suffix()),
            Helper::ToI32(t) => format!("to_i32_{}", t.suffix()),
            Helper::ToU32(t) => format!("to_u32_{}", t.suffix()),
        }
    }

    /// The function with the comment above it.
    pub fn text(self) -> String {
        let name = self.name();
        match self {
            Helper::FloorDiv(ty) => {
                let t = ty.text();
                format!(
                    "// Division rounded toward minus infinity.\n\
                     fn {name}(a: {t}, b: {t}) -> {t} {{\n  \
                       let q = a / b;\n  \
                       return select(q, q - {t}(1), (a % b != {t}(0)) & ((a < {t}(0)) != (b < {t}(0))));\n}}\n"
                )
            }
            Helper::FloorMod(ty) if ty.dtype.is_float() => {
                let t = ty.text();
                format!(
                    "// Remainder with the divisor's sign.\n\
                     fn {name}(a: {t}, b: {t}) -> {t} {{\n  return a - floor(a / b) * b;\n}}\n"
                )
            }
            Helper::FloorMod(ty) => {
                let t = ty.text();
                format!(
                    "// Remainder with the divisor's sign.\n\
                     fn {name}(a: {t}, b: {t}) -> {t} {{\n  \
                       let r = a % b;\n  \
                       return select(r, r + b, (r != {t}(0)) & ((r < {t}(0)) != (b < {t}(0))));\n}}\n"
                )
            }
            Helper::Remainder(ty) => {
                let t = ty.text();
                format!(
                    "// Remainder with the dividend's sign.\n\
                     fn {name}(a: {t}, b: {t}) -> {t} {{\n  return a - b * trunc(a / b);\n}}\n"
                )
            }
            Helper::ShiftLeft(ty) => shift(&name, ty, "<<"),
            Helper::ShiftRight(ty) => shift(&name, ty, ">>"),
            Helper::ToI32(ty) => convert(&name, ty, DType::I32, ["-2147483648.0", "2147483520.0", "2147483648.0", "2147483647"]),
            Helper::ToU32(ty) => convert(&name, ty, DType::U32, ["0.0", "4294967040.0", "4294967296.0", "4294967295u"]),
        }
    }
}

fn shift(name: &str, ty: Type, op: &str) -> String {
    let (t, n) = (ty.text(), ty.with(DType::U32).text());
    format!(
        "// Shift that gives 0 for amounts of 32 and more.\n\
         fn {name}(x: {t}, n: {n}) -> {t} {{\n  return select({t}(0), x {op} n, n < {n}(32u));\n}}\n"
    )
}

/// `[lo, hi, limit, last]`: the floats that convert exactly, the first that is too large, and what that becomes.
fn convert(name: &str, ty: Type, to: DType, [lo, hi, limit, last]: [&str; 4]) -> String {
    let (f, t, u) = (ty.text(), ty.with(to).text(), ty.with(DType::U32).text());
    format!(
        "// Toward zero, saturating; NaN gives 0.\n\
         fn {name}(x: {f}) -> {t} {{\n  \
           let inside = {t}(clamp(x, {f}({lo}), {f}({hi})));\n  \
           let nan = (bitcast<{u}>(x) & {u}(0x7fffffffu)) > {u}(0x7f800000u);\n  \
           return select(select(inside, {t}({last}), x >= {f}({limit})), {t}(0), nan);\n}}\n"
    )
}
