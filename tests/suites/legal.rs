//! Random kernels as GPUs run them: legalised, and with their buffers in pieces, they store what they did before.

use crate::tape;
use odc_ir::core::{DType, Scalar};
use odc_ir::loops::interp::{Buffer, Run, SUBGROUP, run};
use odc_ir::loops::{Func, verify_func};
use odc_passes::expand::{expand, expand_for};
use odc_passes::gpu::{Features, legalise, piece_bytes, split_bindings};
use odc_tests::choices::Choices;
use odc_tests::generate::loops::aligned;
use proptest::prelude::*;

/// Grid items; buffers have four numbers each.
const N: usize = 40;
/// Bytes of a binding, of which buffers have more.
const MAX: u64 = 256;

fn stored(f: &Func, mut buffers: Vec<Buffer>, outputs: usize) -> Result<Vec<u8>, String> {
    let how = Run { dims: &[N as i64], scratch: 64, grid: None, fused: true, subgroup: SUBGROUP };
    run(f, &mut buffers, how).map_err(|e| e.to_string())?;
    Ok(buffers.split_off(buffers.len() - outputs).into_iter().flat_map(|b| b.bytes).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_shrink_iters: 600, ..ProptestConfig::default() })]
    #[test]
    fn kernels_mean_the_same(tape in tape()) {
        let f = aligned(&mut Choices::new(tape)).funcs.remove(0);
        let x = Buffer::from_scalars(DType::F32, (0..4 * N).map(|k| Scalar::Float((k * 37 % 101) as f64 / 8.0 - 5.0)));
        let y = Buffer::from_scalars(DType::F32, (0..4 * N).map(|k| Scalar::Float((k * 53 % 89) as f64 / 4.0 - 9.0)));
        let buffers = vec![x, y, Buffer::zeros(DType::F32, 4 * N)];
        let mut old = f.clone();
        expand(&mut old);
        let want = stored(&old, buffers.clone(), 1).map_err(TestCaseError::fail)?;
        let mut new = f;
        expand_for(&mut new, &|_| false);
        legalise(&mut new, &Features::default()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(verify_func(&new), vec![]);
        prop_assert_eq!(&stored(&new, buffers.clone(), 1).map_err(TestCaseError::fail)?, &want);
        let sizes: Vec<Option<u64>> = buffers.iter().map(|b| Some(b.bytes.len() as u64)).collect();
        let origin = split_bindings(&mut new, &sizes, MAX);
        prop_assert_eq!(verify_func(&new), vec![]);
        let cut = |b: &Buffer| b.bytes.chunks(piece_bytes(MAX) as usize).map(|c| Buffer { dtype: b.dtype, bytes: c.to_vec() }).collect::<Vec<_>>();
        let pieces: Vec<Buffer> = buffers.iter().flat_map(cut).collect();
        prop_assert_eq!(pieces.len(), origin.len());
        let outputs = origin.iter().filter(|k| **k == 2).count();
        prop_assert_eq!(&stored(&new, pieces, outputs).map_err(TestCaseError::fail)?, &want);
    }
}
