//! Hand-written WGSL, through naga to MSL, compiled and executed on the host, against plain Rust.

use half::f16;
use odc_metal_shim::{Dispatch, Order, ShimError, ShimKernel};

/// Buffers of one kernel as bytes; they come back after the run.
fn run_as(wgsl: &str, buffers: &mut [Vec<u8>], groups: u32, order: Order) -> Result<(), ShimError> {
    let msl = odc_metal::translate(wgsl).unwrap_or_else(|e| panic!("{e}"));
    let kernel = ShimKernel::build(&msl.text, &msl.entry).unwrap_or_else(|e| panic!("{e}\n{}", msl.text));
    let mut slices: Vec<&mut [u8]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
    let threadgroup_memory = &msl.threadgroup_memory;
    kernel.run(&mut slices, Dispatch { grid: [groups, 1, 1], threads: msl.workgroup, threadgroup_memory, order })
}

/// In both orders of threads, which must agree; the buffers afterwards.
fn run(wgsl: &str, buffers: Vec<Vec<u8>>, groups: u32) -> Vec<Vec<u8>> {
    let (mut up, mut down) = (buffers.clone(), buffers);
    run_as(wgsl, &mut up, groups, Order::Ascending).unwrap();
    run_as(wgsl, &mut down, groups, Order::Descending).unwrap();
    assert!(up == down, "the order of threads changes the result");
    up
}

fn bytes<T, const N: usize>(values: &[T], to: fn(T) -> [u8; N]) -> Vec<u8>
where
    T: Copy,
{
    values.iter().flat_map(|v| to(*v)).collect()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    bytes(values, f32::to_le_bytes)
}

fn to_f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn to_u32s(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn sizes(values: [i32; 4]) -> Vec<u8> {
    bytes(&values, i32::to_le_bytes)
}

/// Not too regular numbers, small enough that sums of products are exact in f32.
fn small(n: usize, seed: i64) -> Vec<f32> {
    (0..n as i64).map(|i| ((i * 37 + seed * 11) % 17 - 8) as f32 * 0.25).collect()
}

fn close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    for (k, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * (1.0 + w.abs()), "element {k}: {g}, expected {w}");
    }
}

/// Workgroups in a flat count, sizes in a uniform block, early return: the form of all kernels.
#[test]
fn elementwise_with_sizes_and_early_return() {
    let wgsl = "
        struct Sizes { at: array<vec4<i32>, 1> }
        @group(0) @binding(0) var<storage, read> a: array<f32>;
        @group(0) @binding(1) var<storage, read_write> out: array<f32>;
        @group(0) @binding(2) var<uniform> sizes: Sizes;
        @compute @workgroup_size(64)
        fn gelu_tanh(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
                     @builtin(local_invocation_id) local: vec3<u32>) {
            let g = i32(wg.x + wg.y * n.x) * 64 + i32(local.x);
            if (g >= sizes.at[0].y) { return; }
            let x = a[g];
            out[g] = 0.5 * x * (1.0 + tanh(0.7978846 * (x + 0.044715 * x * x * x))) + f32(g % sizes.at[0].x);
        }";
    let a = small(150, 1);
    let mut out = vec![7.0; 200];
    let got = run(wgsl, vec![f32s(&a), f32s(&out), sizes([5, 150, 0, 0])], 4);
    for (g, x) in a.iter().enumerate() {
        out[g] = 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044715 * x * x * x)).tanh()) + (g % 5) as f32;
    }
    close(&to_f32s(&got[1]), &out, 1e-6);
}

/// Constants are f32, not C++'s double: 16777216 + 1 - 16777216 is 0.
#[test]
fn constants_are_of_single_precision() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(1) fn f() { x[0] = (x[0] + 1.0) - 16777216.0; x[1] = x[1] / 3.0 * 3.0 - 1.0; }";
    let got = run(wgsl, vec![f32s(&[16777216.0, 1.0])], 1);
    assert_eq!(to_f32s(&got[0]), [0.0, 1.0f32 / 3.0 * 3.0 - 1.0]);
}

const MATMUL: &str = "
    @group(0) @binding(0) var<storage, read> a: array<f32>;
    @group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
    @group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;
    var<workgroup> ta: array<f32, 256>;
    var<workgroup> tb: array<vec4<f32>, 64>;
    // c[32, 32] = a[32, 48] * b[48, 32]; a workgroup of 64 makes 16 rows of 16 columns, a thread 1 row of 4 columns.
    @compute @workgroup_size(64)
    fn matmul(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) l: u32) {
        let row = wg.x / 2u * 16u + l / 4u;
        let column = wg.x % 2u * 4u + l % 4u;
        var acc = vec4<f32>();
        for (var k0 = 0u; k0 < 48u; k0 += 16u) {
            for (var i = l; i < 256u; i += 64u) { ta[i] = a[(wg.x / 2u * 16u + i / 16u) * 48u + k0 + i % 16u]; }
            tb[l] = b[(k0 + l / 4u) * 8u + wg.x % 2u * 4u + l % 4u];
            BARRIER
            for (var k = 0u; k < 16u; k++) { acc = fma(vec4<f32>(ta[l / 4u * 16u + k]), tb[k * 4u + l % 4u], acc); }
            workgroupBarrier();
        }
        c[row * 8u + column] = acc;
    }";

fn matmul_wanted(a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize)) -> Vec<f32> {
    (0..m * n).map(|i| (0..k).map(|j| a[i / n * k + j] * b[j * n + i % n]).sum()).collect()
}

#[test]
fn tiled_matmul_with_workgroup_memory() {
    let (a, b) = (small(32 * 48, 2), small(48 * 32, 3));
    let got = run(&MATMUL.replace("BARRIER", "workgroupBarrier();"), vec![f32s(&a), f32s(&b), f32s(&[0.0; 1024])], 4);
    assert_eq!(to_f32s(&got[2]), matmul_wanted(&a, &b, (32, 48, 32)));
}

/// Threads run one after another up to a barrier over memory that begins as NaN, so a missing barrier shows.
#[test]
fn a_missing_barrier_changes_the_result() {
    let (a, b) = (small(32 * 48, 2), small(48 * 32, 3));
    let mut buffers = vec![f32s(&a), f32s(&b), f32s(&[0.0; 1024])];
    run_as(&MATMUL.replace("BARRIER", ""), &mut buffers, 4, Order::Ascending).unwrap();
    assert!(to_f32s(&buffers[2]) != matmul_wanted(&a, &b, (32, 48, 32)));
}

#[test]
fn reduction_over_workgroup_memory() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read> a: array<f32>;
        @group(0) @binding(1) var<storage, read_write> out: array<f32>;
        var<workgroup> part: array<f32, 128>;
        @compute @workgroup_size(128)
        fn row_max_and_sum(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) l: u32) {
            var most = -3.4028235e38;
            for (var i = l; i < 300u; i += 128u) { most = max(most, a[wg.x * 300u + i]); }
            part[l] = most;
            workgroupBarrier();
            for (var step = 64u; step > 0u; step >>= 1u) {
                if (l < step) { part[l] = max(part[l], part[l + step]); }
                workgroupBarrier();
            }
            most = part[0];
            workgroupBarrier();
            var sum = 0.0;
            for (var i = l; i < 300u; i += 128u) { sum += a[wg.x * 300u + i]; }
            part[l] = sum;
            workgroupBarrier();
            for (var step = 64u; step > 0u; step >>= 1u) {
                if (l < step) { part[l] = part[l] + part[l + step]; }
                workgroupBarrier();
            }
            if (l == 0u) { out[wg.x * 2u] = most; out[wg.x * 2u + 1u] = part[0]; }
        }";
    let a = small(900, 5);
    let got = run(wgsl, vec![f32s(&a), f32s(&[0.0; 6])], 3);
    let row = |r: &[f32]| [r.iter().copied().fold(f32::MIN, f32::max), r.iter().sum()];
    assert_eq!(to_f32s(&got[1]), a.chunks(300).flat_map(row).collect::<Vec<_>>());
}

/// Bytes are written into words with and, then or.
#[test]
fn atomics_and_or_write_bytes() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read> a: array<u32>;
        @group(0) @binding(1) var<storage, read_write> out: array<atomic<u32>>;
        @compute @workgroup_size(32)
        fn bytes(@builtin(global_invocation_id) id: vec3<u32>) {
            let g = id.x;
            let byte = ((a[g / 4u] >> (g % 4u * 8u)) + 1u) & 255u;
            atomicAnd(&out[g / 4u], ~(255u << (g % 4u * 8u)));
            atomicOr(&out[g / 4u], byte << (g % 4u * 8u));
        }";
    let a: Vec<u8> = (0..64).map(|i| (i * 89 % 256) as u8).collect();
    let got = run(wgsl, vec![a.clone(), vec![0xa5; 64]], 2);
    assert_eq!(got[1], a.iter().map(|b| b.wrapping_add(1)).collect::<Vec<_>>());
}

#[test]
fn halves_packed_in_words() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read> a: array<u32>;
        @group(0) @binding(1) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(16)
        fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
            let v = unpack2x16float(a[id.x]);
            out[id.x] = pack2x16float(vec2<f32>(v.x * 1.1, v.y + 0.001));
        }";
    // All kinds: subnormal, normal, large enough to become infinite, infinite.
    let a: Vec<u16> = (0..64).map(|i| (i * 1013 % 0x7c01) as u16 | if i % 3 == 0 { 0x8000 } else { 0 }).collect();
    let got = run(wgsl, vec![bytes(&a, u16::to_le_bytes), vec![0; 128]], 2);
    let wanted = a.iter().enumerate().map(|(i, h)| {
        let x = f16::from_bits(*h).to_f32();
        f16::from_f32(if i % 2 == 0 { x * 1.1 } else { x + 0.001 }).to_bits()
    });
    assert_eq!(got[1].chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}

#[test]
fn f16_storage_and_arithmetic() {
    let wgsl = "
        enable f16;
        @group(0) @binding(0) var<storage, read> a: array<vec4<f16>>;
        @group(0) @binding(1) var<storage, read_write> out: array<vec4<f16>>;
        @compute @workgroup_size(8)
        fn half_arithmetic(@builtin(global_invocation_id) id: vec3<u32>) {
            let v = a[id.x];
            let w = v * v.wzyx + vec4<f16>(0.5h) - f16(id.x);
            out[id.x] = select(max(w, vec4<f16>(-2.0h)), sqrt(abs(v)), v > vec4<f16>(1.0h));
        }";
    let a: Vec<f16> = small(64, 7).into_iter().map(f16::from_f32).collect();
    let got = run(wgsl, vec![bytes(&a, f16::to_le_bytes), vec![0; 128]], 2);
    let wanted = (0..64).map(|i| {
        let (v, w) = (a[i], a[i / 4 * 4 + 3 - i % 4]);
        let r = v * w + f16::from_f32(0.5) - f16::from_f32((i / 4) as f32);
        if v > f16::ONE { f16::from_f32(v.to_f32().abs().sqrt()) } else { r.max(f16::from_f32(-2.0)) }
    });
    assert_eq!(got[1].chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}

#[test]
fn loops_break_continue_and_switch() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(32)
        fn collatz(@builtin(global_invocation_id) id: vec3<u32>) {
            var x = id.x + 1u;
            var steps = 0u;
            for (var i = 0u; i < 200u; i++) {
                if (x == 1u) { break; }
                steps++;
                if (x % 2u == 0u) { x /= 2u; continue; }
                x = 3u * x + 1u;
            }
            var odd = 0;
            switch (i32(id.x) % 3) { case 0: { odd = -7 / 2; } case 1: { odd = -7 % 4; } default: { odd = i32(-2.9); } }
            out[id.x] = steps * 8u + u32(odd + 4);
        }";
    let got = run(wgsl, vec![vec![0; 256]], 2);
    let wanted = (0..64u32).map(|g| {
        let (mut x, mut steps) = (g + 1, 0);
        while x != 1 {
            x = if x % 2 == 0 { x / 2 } else { 3 * x + 1 };
            steps += 1;
        }
        steps * 8 + [1, 1, 2][g as usize % 3]
    });
    assert_eq!(to_u32s(&got[0]), wanted.collect::<Vec<_>>());
}

/// WGSL defines what C++ does not; naga's wrappers must survive.
#[test]
fn integer_edge_cases_are_those_of_wgsl() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> x: array<i32>;
        @compute @workgroup_size(1)
        fn edges() {
            let zero = x[0]; let least = x[1]; let minus = x[2];
            x[3] = 5 / zero; x[4] = 5 % zero; x[5] = least / minus; x[6] = least % minus; x[7] = -least;
            x[8] = least - 1; x[9] = i32(f32(x[10]) * 1e30); x[11] = i32(x[12] == 3) + i32(countOneBits(u32(minus)));
            x[13] = extractBits(x[14], 4u, 8u); x[15] = i32(insertBits(0u, 255u, 28u, 8u)); x[16] = dot4I8Packed(u32(x[17]), u32(x[18]));
        }";
    let input = [0, i32::MIN, -1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 3, 0, 0x0f80, 0, 0, 0x01ff7f80, 0x02030405];
    let got = run(wgsl, vec![bytes(&input, i32::to_le_bytes)], 1);
    let got: Vec<i32> = to_u32s(&got[0]).into_iter().map(|u| u as i32).collect();
    assert_eq!(got[3..9], [5, 0, i32::MIN, 0, i32::MIN, i32::MAX]);
    assert_eq!((got[9], got[11]), (2147483520, 33));
    assert_eq!((got[13], got[15], got[16]), (-8, 0xf0000000u32 as i32, -128 * 5 + 127 * 4 - 3 + 2));
}

#[test]
fn swizzles_selects_and_vector_functions() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> v: array<vec4<f32>>;
        @group(0) @binding(1) var<storage, read_write> w: array<vec3<f32>>;
        @compute @workgroup_size(1)
        fn vectors() {
            let a = v[0]; let b = v[1];
            v[2] = vec4<f32>(a.zw, b.yx) * a.wwww + b.xyzw;
            v[3] = select(a, b, a < b);
            v[4] = vec4<f32>(dot(a, b), length(a.xy), f32(all(a < b)), f32(any(a.xyz < b.xyz)));
            v[5] = clamp(a, vec4<f32>(0.0), vec4<f32>(1.0)) + mix(a, b, vec4<f32>(0.5)) + floor(a / 2.0) + sign(b) + round(a * 0.5);
            var m = b; m.y = a.x; m[3] = a.y; v[6] = m;
            w[1] = cross(w[0], a.xyz) + w[0].zyx;
            v[7] = vec4<f32>(bitcast<f32>(bitcast<u32>(a.x) & 0xff800000u), fract(-a.x), pow(2.0, a.y), inverseSqrt(4.0 * b.z * b.z));
        }";
    let (a, b, c) = ([1.5, -2.0, 3.0, 4.0], [2.0, -3.0, 5.0, 4.0], [1.0, 2.0, 3.0]);
    let v: Vec<f32> = [a, b].concat().into_iter().chain([0.0; 24]).collect();
    let got = run(wgsl, vec![f32s(&v), f32s(&[c[0], c[1], c[2], 0.0, 0.0, 0.0, 0.0, 0.0])], 1);
    let (v, w) = (to_f32s(&got[0]), to_f32s(&got[1]));
    assert_eq!(v[8..12], [3.0 * 4.0 + 2.0, 4.0 * 4.0 - 3.0, -3.0 * 4.0 + 5.0, 2.0 * 4.0 + 4.0]);
    assert_eq!(v[12..16], [2.0, -2.0, 5.0, 4.0]);
    assert_eq!(v[16..20], [3.0 + 6.0 + 15.0 + 16.0, 2.5, 0.0, 1.0]);
    assert_eq!(
        v[20..24],
        [1.0 + 1.75 + 0.0 + 1.0 + 1.0, 0.0 - 2.5 - 1.0 - 1.0 - 1.0, 1.0 + 4.0 + 1.0 + 1.0 + 2.0, 1.0 + 4.0 + 2.0 + 1.0 + 2.0]
    );
    assert_eq!(v[24..28], [2.0, 1.5, 5.0, -2.0]);
    assert_eq!(v[28..32], [1.0, 0.5, 0.25, 0.1]);
    assert_eq!(w[4..7], [12.0 + 3.0, 1.5 + 2.0, -5.0 + 1.0]);
}

#[test]
fn subgroup_operations() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read> a: array<f32>;
        @group(0) @binding(1) var<storage, read_write> out: array<f32>;
        var<workgroup> part: array<f32, 4>;
        @compute @workgroup_size(128)
        fn reduce(@builtin(local_invocation_index) l: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_id) s: u32,
                  @builtin(subgroup_size) size: u32, @builtin(workgroup_id) wg: vec3<u32>) {
            let x = a[wg.x * 128u + l];
            let sum = subgroupAdd(x);
            if (lane == 0u) { part[s] = sum; }
            workgroupBarrier();
            let most = subgroupMax(x) - subgroupMin(x);
            let scan = subgroupExclusiveAdd(x) + subgroupInclusiveAdd(x);
            let other = subgroupShuffleXor(x, 5u) + subgroupShuffleDown(x, 1u) * f32(lane < 31u) + subgroupBroadcast(x, 3u);
            let votes = f32(countOneBits(subgroupBallot(x > 0.0).x)) + f32(subgroupAny(x > 1.9)) + f32(subgroupAll(x < 2.1));
            out[wg.x * 128u + l] = part[0] + part[1] + part[2] + part[3] + most + scan + select(0.0, other, size == 32u) + votes;
        }";
    let a = small(256, 9);
    let got = run(wgsl, vec![f32s(&a), f32s(&[0.0; 256])], 2);
    let mut wanted = vec![];
    for group in a.chunks(128) {
        let total: f32 = group.iter().sum();
        for lanes in group.chunks(32) {
            let (most, least) = (lanes.iter().copied().fold(f32::MIN, f32::max), lanes.iter().copied().fold(f32::MAX, f32::min));
            let positive = lanes.iter().filter(|x| **x > 0.0).count() as f32;
            let votes = positive + lanes.iter().any(|x| *x > 1.9) as u8 as f32 + lanes.iter().all(|x| *x < 2.1) as u8 as f32;
            for (k, x) in lanes.iter().enumerate() {
                let before: f32 = lanes[..k].iter().sum();
                let other = lanes[k ^ 5] + lanes.get(k + 1).unwrap_or(&0.0) + lanes[3];
                wanted.push(total + most - least + before + before + x + other + votes);
            }
        }
    }
    assert_eq!(to_f32s(&got[1]), wanted);
}

#[test]
fn matrices_of_a_simd_group() {
    let wgsl = "
        enable wgpu_cooperative_matrix;
        @group(0) @binding(0) var<storage, read> a: array<f32>;
        @group(0) @binding(1) var<storage, read> b: array<f32>;
        @group(0) @binding(2) var<storage, read_write> c: array<f32>;
        // c[8, 16] += a[8, 24] * b[24, 16], 8 columns a workgroup.
        @compute @workgroup_size(32)
        fn matmul8(@builtin(workgroup_id) wg: vec3<u32>) {
            var acc = coopLoadT<coop_mat8x8<f32, C>>(&c[wg.x * 8u], 16u);
            for (var k = 0u; k < 24u; k += 8u) {
                let x = coopLoadT<coop_mat8x8<f32, A>>(&a[k], 24u);
                let y = coopLoadT<coop_mat8x8<f32, B>>(&b[k * 16u + wg.x * 8u], 16u);
                acc = coopMultiplyAdd(x, y, acc);
            }
            coopStoreT(acc, &c[wg.x * 8u], 16u);
        }";
    let (a, b, c) = (small(8 * 24, 2), small(24 * 16, 3), small(128, 4));
    let got = run(wgsl, vec![f32s(&a), f32s(&b), f32s(&c)], 2);
    let wanted: Vec<f32> = matmul_wanted(&a, &b, (8, 24, 16)).iter().zip(&c).map(|(x, y)| x + y).collect();
    assert_eq!(to_f32s(&got[2]), wanted);
}
