//! Element types and single scalar values, shared by all levels.

use super::minifloat::{self, MiniFloat};
use std::fmt;

macro_rules! dtypes {
    ($($v:ident $name:literal $bytes:literal;)*) => {
        /// The type of a tensor's elements. `Str` is a string by its number in the module's table, or past its end: only graph ops that move
        /// elements and compare them for equality know it, and from the tensor level on it is i32.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub enum DType { $($v),* }
        impl DType {
            pub const ALL: &[DType] = &[$(DType::$v),*];
            pub const fn name(self) -> &'static str { match self { $(DType::$v => $name),* } }
            /// Bytes of one element in memory.
            pub const fn size(self) -> usize { match self { $(DType::$v => $bytes),* } }
            pub fn from_name(s: &str) -> Option<DType> { match s { $($name => Some(DType::$v),)* _ => None } }
        }
    };
}
dtypes! {
    F32 "f32" 4;
    F64 "f64" 8;
    F16 "f16" 2;
    BF16 "bf16" 2;
    I8 "i8" 1;
    I16 "i16" 2;
    I32 "i32" 4;
    I64 "i64" 8;
    U8 "u8" 1;
    U16 "u16" 2;
    U32 "u32" 4;
    U64 "u64" 8;
    Bool "bool" 1;
    F8E4M3FN "f8e4m3fn" 1;
    F8E4M3FNUZ "f8e4m3fnuz" 1;
    F8E5M2 "f8e5m2" 1;
    F8E5M2FNUZ "f8e5m2fnuz" 1;
    F8E8M0 "f8e8m0" 1;
    F6E2M3 "f6e2m3" 1;
    F6E3M2 "f6e3m2" 1;
    F4E2M1 "f4e2m1" 1;
    I4 "i4" 1;
    U4 "u4" 1;
    I2 "i2" 1;
    U2 "u2" 1;
    Str "str" 4;
}

impl DType {
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16 | DType::F8E8M0) || self.mini().is_some()
    }
    pub const fn is_signed_int(self) -> bool {
        matches!(self, DType::I8 | DType::I16 | DType::I32 | DType::I64 | DType::I4 | DType::I2)
    }
    pub const fn is_unsigned_int(self) -> bool {
        matches!(self, DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::U4 | DType::U2)
    }
    /// Bits that mean something: fewer than the element's bytes have, for types of less than a byte.
    pub const fn bits(self) -> u32 {
        match self {
            DType::F6E2M3 | DType::F6E3M2 => 6,
            DType::F4E2M1 | DType::I4 | DType::U4 => 4,
            DType::I2 | DType::U2 => 2,
            _ => 8 * self.size() as u32,
        }
    }
    /// Exists to be stored: moved, chosen and converted, never computed with.
    pub const fn is_storage(self) -> bool {
        self.bits() < 8 || matches!(self, DType::F8E8M0) || self.mini().is_some()
    }
    /// The format of a float of 8 bits or fewer that has a mantissa.
    pub const fn mini(self) -> Option<MiniFloat> {
        Some(match self {
            DType::F8E4M3FN => minifloat::F8E4M3FN,
            DType::F8E4M3FNUZ => minifloat::F8E4M3FNUZ,
            DType::F8E5M2 => minifloat::F8E5M2,
            DType::F8E5M2FNUZ => minifloat::F8E5M2FNUZ,
            DType::F6E2M3 => minifloat::F6E2M3,
            DType::F6E3M2 => minifloat::F6E3M2,
            DType::F4E2M1 => minifloat::F4E2M1,
            _ => return None,
        })
    }
    pub const fn is_int(self) -> bool {
        self.is_signed_int() || self.is_unsigned_int()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One element. Integers of every width travel as `Int` (wrapped to their type's width by [`Scalar::wrap`]), floats as `f64`
/// rounded to their type; equality is by bits, so that NaN constants intern.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    Float(f64),
    Int(i64),
    Bool(bool),
}

impl Scalar {
    /// The value as element type `dt` holds it: floats rounded, integers wrapped, floats truncated and saturated to integers.
    pub fn wrap(self, dt: DType) -> Scalar {
        macro_rules! int {
            ($t:ty) => {
                Scalar::Int(match self {
                    Scalar::Float(x) => x as $t as i64,
                    Scalar::Int(_) | Scalar::Bool(_) => self.as_i64() as $t as i64,
                })
            };
        }
        if let Some(f) = dt.mini() {
            return Scalar::Float(f.decode(f.code(self.as_f64())));
        }
        match dt {
            DType::F32 => Scalar::Float(self.as_f64() as f32 as f64),
            DType::F8E8M0 => Scalar::Float(minifloat::e8m0::decode(minifloat::e8m0::encode(self.as_f64()))),
            DType::F64 => Scalar::Float(self.as_f64()),
            DType::F16 => Scalar::Float(minifloat::rounded(self.as_f64(), 5, 10)),
            DType::BF16 => Scalar::Float(minifloat::rounded(self.as_f64(), 8, 7)),
            DType::I8 => int!(i8),
            DType::I16 => int!(i16),
            DType::I32 | DType::Str => int!(i32),
            DType::I64 => int!(i64),
            DType::U8 => int!(u8),
            DType::U16 => int!(u16),
            DType::U32 => int!(u32),
            DType::U64 => int!(u64),
            DType::Bool => Scalar::Bool(self.as_bool()),
            // Of less than a byte: the low bits.
            _ => Scalar::Int(low_bits(dt, int!(i32).as_i64())),
        }
    }
    /// The value of element type `from` converted to `to`: floats to integers truncate and saturate (NaN is 0), integers wrap,
    /// anything to bool is `!= 0`. Floats to integers of less than a byte truncate and then wrap, as ONNX's reference does. To floats of 8
    /// bits and fewer: to nearest, ties to even, saturating; to f8e8m0 up.
    pub fn cast(self, from: DType, to: DType) -> Scalar {
        if let Some(f) = to.mini().filter(|_| from != to) {
            return Scalar::Float(f.decode(f.encode(self.as_f64())));
        }
        match self {
            Scalar::Float(x) if to == DType::U64 => Scalar::Int((x as u64) as i64),
            Scalar::Float(x) if to.is_int() && to.bits() >= 8 => {
                let bits = to.bits();
                let (lo, hi) =
                    if to.is_signed_int() { (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)) } else { (0, (1i64 << bits) - 1) };
                Scalar::Int((x as i64).clamp(lo, hi))
            }
            Scalar::Int(x) if from == DType::U64 && to.is_float() => Scalar::Float(x as u64 as f64).wrap(to),
            Scalar::Int(_) | Scalar::Float(_) | Scalar::Bool(_) => self.wrap(to),
        }
    }
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Float(x) => x,
            Scalar::Int(x) => x as f64,
            Scalar::Bool(b) => f64::from(u8::from(b)),
        }
    }
    /// Floats truncate toward zero and saturate.
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Float(x) => x as i64,
            Scalar::Int(x) => x,
            Scalar::Bool(b) => i64::from(b),
        }
    }
    pub fn as_bool(self) -> bool {
        match self {
            Scalar::Float(x) => x != 0.0,
            Scalar::Int(x) => x != 0,
            Scalar::Bool(b) => b,
        }
    }
    fn key(self) -> (u8, u64) {
        match self {
            Scalar::Float(x) => (0, x.to_bits()),
            Scalar::Int(x) => (1, x as u64),
            Scalar::Bool(b) => (2, u64::from(b)),
        }
    }
    /// Reads one element of type `dt` from its little-endian bytes; `None` if `bytes` is too short.
    pub fn read(dt: DType, bytes: &[u8]) -> Option<Scalar> {
        macro_rules! le {
            ($t:ty) => {
                <$t>::from_le_bytes(bytes.get(..size_of::<$t>())?.try_into().ok()?)
            };
        }
        Some(match dt {
            DType::F32 => Scalar::Float(f64::from(le!(f32))),
            DType::F64 => Scalar::Float(le!(f64)),
            DType::F16 => Scalar::Float(half::f16::from_bits(le!(u16)).to_f64()),
            DType::BF16 => Scalar::Float(half::bf16::from_bits(le!(u16)).to_f64()),
            DType::I8 => Scalar::Int(i64::from(le!(i8))),
            DType::I16 => Scalar::Int(i64::from(le!(i16))),
            DType::I32 | DType::Str => Scalar::Int(i64::from(le!(i32))),
            DType::I64 => Scalar::Int(le!(i64)),
            DType::U8 => Scalar::Int(i64::from(le!(u8))),
            DType::U16 => Scalar::Int(i64::from(le!(u16))),
            DType::U32 => Scalar::Int(i64::from(le!(u32))),
            DType::U64 => Scalar::Int(le!(u64) as i64),
            DType::Bool => Scalar::Bool(le!(u8) != 0),
            _ => Scalar::from_code(dt, le!(u8)),
        })
    }
    /// The element that one byte holds, for types of a byte and less.
    fn from_code(dt: DType, code: u8) -> Scalar {
        match dt.mini() {
            Some(f) => Scalar::Float(f.decode(code)),
            None if dt == DType::F8E8M0 => Scalar::Float(minifloat::e8m0::decode(code)),
            None => Scalar::Int(low_bits(dt, i64::from(code))),
        }
    }
    /// The same bits read as another type with as many.
    pub fn bitcast(self, from: DType, to: DType) -> Scalar {
        let mut bytes = Vec::with_capacity(8);
        self.write(from, &mut bytes);
        // A signed element of less than a byte fills it with its sign; only its own bits are read.
        if let (Some(b), 1..8) = (bytes.first_mut(), from.bits()) {
            *b &= (1 << from.bits()) - 1;
        }
        Scalar::read(to, &bytes).unwrap_or(self)
    }
    /// Appends the element's little-endian bytes as type `dt`.
    pub fn write(self, dt: DType, out: &mut Vec<u8>) {
        match dt {
            DType::F32 => out.extend((self.as_f64() as f32).to_le_bytes()),
            DType::F64 => out.extend(self.as_f64().to_le_bytes()),
            DType::F16 => out.extend(half::f16::from_f64(minifloat::rounded(self.as_f64(), 5, 10)).to_le_bytes()),
            DType::BF16 => out.extend(half::bf16::from_f64(minifloat::rounded(self.as_f64(), 8, 7)).to_le_bytes()),
            DType::I8 | DType::U8 => out.push(self.as_i64() as u8),
            DType::I16 | DType::U16 => out.extend((self.as_i64() as u16).to_le_bytes()),
            DType::I32 | DType::U32 | DType::Str => out.extend((self.as_i64() as u32).to_le_bytes()),
            DType::I64 | DType::U64 => out.extend(self.as_i64().to_le_bytes()),
            DType::Bool => out.push(u8::from(self.as_bool())),
            DType::F8E8M0 => out.push(minifloat::e8m0::encode(self.as_f64())),
            _ => out.push(match dt.mini() {
                Some(f) => f.code(self.as_f64()),
                None => low_bits(dt, self.as_i64()) as u8,
            }),
        }
    }
}

/// The low bits of an integer of less than a byte, with its sign if it has one.
fn low_bits(dt: DType, x: i64) -> i64 {
    let rest = 64 - dt.bits().clamp(1, 64);
    if dt.is_signed_int() { x << rest >> rest } else { ((x as u64) << rest >> rest) as i64 }
}

impl PartialEq for Scalar {
    fn eq(&self, o: &Self) -> bool {
        self.key() == o.key()
    }
}
impl Eq for Scalar {}
impl PartialOrd for Scalar {
    fn partial_cmp(&self, o: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Scalar {
    fn cmp(&self, o: &Self) -> std::cmp::Ordering {
        self.key().cmp(&o.key())
    }
}
impl std::hash::Hash for Scalar {
    fn hash<H: std::hash::Hasher>(&self, h: &mut H) {
        self.key().hash(h);
    }
}
