//! Tensors at the boundary: borrowed bytes with a type and a shape.

use odc_format::DType;

mod sealed {
    pub trait Sealed {}
}

/// Rust types that tensors are read and written as. `u16` also stands for the bits of f16 and bf16, `u8` for bool and
/// for the codes of floats of 8 bits and fewer, `u8` and `i8` for integers of less than a byte.
pub trait Element: Copy + sealed::Sealed {
    const DTYPE: DType;
    fn reads(dtype: DType) -> bool {
        dtype == Self::DTYPE
    }
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident $(| $also:ident)*),* $(,)?) => {$(
        impl sealed::Sealed for $ty {}
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn reads(dtype: DType) -> bool {
                matches!(dtype, DType::$dtype $(| DType::$also)*)
            }
        }
    )*};
}

elements! {
    f32 => F32, f64 => F64, i8 => I8 | I4 | I2, i16 => I16, i32 => I32 | Str, i64 => I64,
    u8 => U8 | Bool | U4 | U2 | F8E4M3FN | F8E4M3FNUZ | F8E5M2 | F8E5M2FNUZ | F8E8M0 | F6E2M3 | F6E3M2 | F4E2M1,
    u16 => U16 | F16 | BF16, u32 => U32, u64 => U64,
}

#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    pub dtype: DType,
    pub shape: &'a [usize],
    pub data: &'a [u8],
}

impl<'a> TensorView<'a> {
    pub fn new(dtype: DType, shape: &'a [usize], data: &'a [u8]) -> Self {
        TensorView { dtype, shape, data }
    }

    pub fn of<T: Element>(shape: &'a [usize], values: &'a [T]) -> Self {
        // SAFETY: `Element` is sealed to plain numbers, all of whose bytes are initialised.
        let data = unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), core::mem::size_of_val(values)) };
        TensorView { dtype: T::DTYPE, shape, data }
    }

    /// The same bytes as another type of the same size: f16 or bf16 bits in a `u16` slice, bool in a `u8` slice.
    pub fn as_type(self, dtype: DType) -> Self {
        TensorView { dtype, ..self }
    }

    /// The elements, or `None` when the tensor is of another type.
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        if T::reads(self.dtype) && self.data.is_empty() {
            return Some(&[]); // wherever nothing lies
        }
        let ptr = self.data.as_ptr().cast::<T>();
        if !T::reads(self.dtype) || !ptr.is_aligned() {
            return None;
        }
        // SAFETY: aligned, inside `data`, and every bit pattern is a value of the sealed `Element` types.
        Some(unsafe { core::slice::from_raw_parts(ptr, self.data.len() / size_of::<T>()) })
    }
}
