//! Each construct of legalised kernels compiles to a module that spirv-val accepts, with the instruction meant for it.

mod kit;

use kit::*;

/// What an operation on one element is, with a load before and a store behind.
fn on(t: &str, op: &str, wanted: &str) {
    let (p, h) = match t {
        "f32" => ("%10", "spirv"),
        "i32" => ("%12", "spirv"),
        "u32" => ("%13", "spirv"),
        _ => ("%14", "spirv:f16"),
    };
    for lanes in [1, 2, 4] {
        let (ty, bools) =
            if lanes == 1 { (t.to_string(), "bool".to_string()) } else { (format!("vec<{t}, {lanes}>"), format!("vec<bool, {lanes}>")) };
        let result = if op.contains("bool") { &bools } else { &ty };
        let op = op.replace(" : bool", "");
        let body = format!(
            "%30 = load {p}, %2 : {ty}\n %31 = load {p}, %3 : {ty}\n %32 = load {p}, %4 : {ty}\n %33 = {op} : {result}\n{}",
            if *result == bools { format!("%34 = select %33, %30, %31 : {ty}") } else { format!("%34 = select %35, %33, %30 : {ty}") }
        );
        let body = format!("%35 = binary {{f = lt}} %2, %8 : bool\n{body}\nstore {p}, %2, %34");
        let text = valid("", &body, h);
        assert!(text.contains(wanted), "{op}: no {wanted} in\n{text}");
    }
}

#[test]
fn functions_of_floats() {
    for (f, wanted) in [
        ("neg", "OpFNegate"),
        ("abs", "FAbs"),
        ("sign", "FSign"),
        ("sqrt", "Sqrt"),
        ("floor", "Floor"),
        ("ceil", "Ceil"),
        ("trunc", "Trunc"),
        ("round", "RoundEven"),
        ("exp", "Exp"),
        ("log", "Log"),
    ] {
        on("f32", &format!("unary {{f = {f}}} %30"), wanted);
        on("f16", &format!("unary {{f = {f}}} %30"), wanted);
    }
    for (f, wanted) in [
        ("add", "OpFAdd"),
        ("sub", "OpFSub"),
        ("mul", "OpFMul"),
        ("div", "OpFDiv"),
        ("rem", "OpFRem"),
        ("floordiv", "Floor"),
        ("mod", "OpFMod"),
        ("min", "FMin"),
        ("max", "FMax"),
        ("eq", "OpFOrdEqual"),
        ("ne", "OpFUnordNotEqual"),
        ("lt", "OpFOrdLessThan"),
        ("le", "OpFOrdLessThanEqual"),
        ("gt", "OpFOrdGreaterThan"),
        ("ge", "OpFOrdGreaterThanEqual"),
    ] {
        let b = if matches!(f, "eq" | "ne" | "lt" | "le" | "gt" | "ge") { " : bool" } else { "" };
        on("f32", &format!("binary {{f = {f}}} %30, %31{b}"), wanted);
        on("f16", &format!("binary {{f = {f}}} %30, %31{b}"), wanted);
    }
    on("f32", "fma %30, %31, %32", "Fma");
}

#[test]
fn functions_of_integers() {
    for (f, signed, unsigned) in [
        ("add", "OpIAdd", "OpIAdd"),
        ("sub", "OpISub", "OpISub"),
        ("mul", "OpIMul", "OpIMul"),
        ("div", "OpSDiv", "OpUDiv"),
        ("rem", "OpSDiv", "OpUMod"),
        ("floordiv", "OpSDiv", "OpUDiv"),
        ("mod", "OpSDiv", "OpUMod"),
        ("min", "SMin", "UMin"),
        ("max", "SMax", "UMax"),
        ("and", "OpBitwiseAnd", "OpBitwiseAnd"),
        ("or", "OpBitwiseOr", "OpBitwiseOr"),
        ("xor", "OpBitwiseXor", "OpBitwiseXor"),
        ("shl", "OpShiftLeftLogical", "OpShiftLeftLogical"),
        ("shr", "OpShiftRightArithmetic", "OpShiftRightLogical"),
        ("eq", "OpIEqual", "OpIEqual"),
        ("ne", "OpINotEqual", "OpINotEqual"),
        ("lt", "OpSLessThan", "OpULessThan"),
        ("le", "OpSLessThanEqual", "OpULessThanEqual"),
        ("gt", "OpSGreaterThan", "OpUGreaterThan"),
        ("ge", "OpSGreaterThanEqual", "OpUGreaterThanEqual"),
    ] {
        let b = if matches!(f, "eq" | "ne" | "lt" | "le" | "gt" | "ge") { " : bool" } else { "" };
        on("i32", &format!("binary {{f = {f}}} %30, %31{b}"), signed);
        on("u32", &format!("binary {{f = {f}}} %30, %31{b}"), unsigned);
    }
    for (f, signed, unsigned) in
        [("neg", "OpSNegate", "OpSNegate"), ("abs", "SAbs", ""), ("sign", "SSign", "UMin"), ("not", "OpNot", "OpNot")]
    {
        on("i32", &format!("unary {{f = {f}}} %30"), signed);
        on("u32", &format!("unary {{f = {f}}} %30"), unsigned);
    }
    on("i32", "fma %30, %31, %32", "OpIMul");
}

#[test]
fn functions_of_bools() {
    for f in ["and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge", "add", "mul", "min", "max"] {
        let body = format!(
            "%30 = binary {{f = lt}} %2, %8 : bool\n %31 = binary {{f = gt}} %3, %4 : bool\n %32 = binary {{f = {f}}} %30, %31 : bool
             %33 = unary {{f = not}} %32 : bool\n %34 = cast %33 : f32\n store %11, %2, %34"
        );
        assert!(valid("", &body, "spirv").contains("OpLogical"));
    }
}

#[test]
fn casts() {
    let pointer = |t: &str| match t {
        "f32" => "%10",
        "i32" => "%12",
        "u32" => "%13",
        _ => "%14",
    };
    for from in ["f32", "i32", "u32", "f16"] {
        for to in ["f32", "i32", "u32", "f16"] {
            for lanes in [1, 4] {
                let ty = |t: &str| if lanes == 1 { t.to_string() } else { format!("vec<{t}, {lanes}>") };
                let (p, q) = (pointer(from), pointer(to));
                let body = format!(
                    "%30 = load {p}, %2 : {}\n %31 = cast %30 : {}\n %32 = cast %30 : {}\n %33 = cast %32 : {}
                     %34 = binary {{f = add}} %31, %33 : {}\n store {q}, %2, %34",
                    ty(from),
                    ty(to),
                    ty("bool"),
                    ty(to),
                    ty(to)
                );
                let text = valid("", &body, "spirv:f16");
                let saturates = matches!((from, to), ("f32" | "f16", "i32" | "u32"));
                assert_eq!(text.contains("OpIsNan"), saturates, "{from} to {to}");
            }
        }
    }
    let text = valid("", "%30 = load %10, %2 : f32\n %31 = cast %30 : index\n %32 = cast %31 : i32\n store %12, %2, %32", "spirv");
    assert!(text.contains("OpConvertFToS"));
}

#[test]
fn bits_and_halves() {
    let body = "%30 = load %10, %2 : vec<f32, 2>\n %31 = bitcast %30 : vec<u32, 2>\n %32 = extract {lane = 1} %31 : u32
        %33 = from_half_bits %32 : f32\n %34 = half_bits %33 : u32\n %35 = insert {lane = 0} %31, %34 : vec<u32, 2>
        store %13, %2, %35";
    let text = valid("", body, "spirv");
    for wanted in ["OpBitcast", "UnpackHalf2x16", "PackHalf2x16", "OpCompositeInsert"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn literals() {
    let body =
        "%30 = const {value = f inf} : vec<f32, 4>\n %31 = const {value = f nan(0x7ff8000000000000)} : f32\n %32 = const {value = -5} : i32
        %33 = const {value = 4000000000} : u32\n %34 = const {value = f 1.5} : f16\n %35 = splat %31 : vec<f32, 4>
        %36 = binary {f = add} %30, %35 : vec<f32, 4>\n store %11, %2, %36\n store %12, %2, %32\n store %13, %2, %33\n store %14, %2, %34";
    let text = valid("", body, "spirv:f16");
    assert!(text.contains("StorageBuffer16BitAccess") && text.contains("Float16"), "{text}");
}

#[test]
fn loops_branches_and_what_they_carry() {
    let body = "%30 = const {value = f 0.0} : f32\n %31 = const {value = 7} : i32
        %32, %33 = for {kind = serial} %3, %21, %8, %30, %31 (%40: index, %41: f32, %42: i32) {
          %43 = load %10, %40 : f32
          %44 = binary {f = lt} %43, %41 : bool
          %45, %46 = if %44 () {
            %47 = for {kind = serial} %0, %40, %1, %43 (%48: index, %49: f32) {
              %50 = binary {f = mul} %49, %49 : f32
              yield %50
            } : f32
            yield %47, %42
          } () {
            %51 = binary {f = add} %42, %42 : i32
            yield %41, %51
          } : f32, i32
          if %44 () {
            store %11, %40, %45
            yield
          } () {
            yield
          }
          yield %45, %46
        } : f32, i32
        store %11, %2, %32
        store %12, %2, %33";
    let text = valid("", body, "spirv");
    assert_eq!(text.matches("OpPhi").count(), 3 + 2 + 2, "{text}");
    assert_eq!(text.matches("OpLoopMerge").count(), 2);
}

#[test]
fn unrolled_loops_leave_no_loop_and_no_index_arithmetic() {
    let body = "%30 = const {value = f 0.0} : f32\n %31 = const {value = 3} : index
        %32 = for {kind = unrolled} %0, %31, %1, %30 (%40: index, %41: f32) {
          %42 = binary {f = mul} %40, %8 : index
          %43 = load %10, %42 : f32
          %44 = binary {f = add} %41, %43 : f32
          yield %44
        } : f32
        store %11, %2, %32";
    let text = valid("", body, "spirv");
    assert!(!text.contains("OpLoopMerge"));
    // The products left are those of the workgroup's number.
    assert_eq!((text.matches("OpFAdd").count(), text.matches("OpIMul").count()), (3, 2), "{text}");
}

#[test]
fn division_by_a_power_of_two_is_a_shift() {
    let body =
        "%30 = binary {f = floordiv} %2, %8 : index\n %31 = binary {f = mod} %2, %8 : index\n %32 = binary {f = sub} %30, %31 : index
        %33 = binary {f = floordiv} %32, %8 : index\n %34 = binary {f = div} %31, %8 : index\n %35 = binary {f = rem} %2, %8 : index
        %36 = binary {f = add} %33, %34 : index\n %37 = binary {f = add} %36, %35 : index\n %38 = cast %37 : i32\n store %12, %2, %38";
    let text = valid("", body, "spirv");
    assert!(!text.contains("Div") && text.contains("OpShiftRightArithmetic") && text.contains("OpBitwiseAnd"), "{text}");
    // Three is no power of two; what is divided cannot be negative, so nothing is corrected.
    let three = body.replace("%8", "%70").replacen("%30 =", "%70 = const {value = 3} : index\n%30 =", 1);
    let text = valid("", &three, "spirv");
    assert_eq!((text.matches("OpSDiv").count(), text.matches("OpBitwiseXor").count()), (5, 1), "{text}");
}

#[test]
fn workgroup_memory_and_barriers() {
    let body = "%30 = load %10, %2 : vec<f32, 4>\n store %5, %3, %30\n barrier\n %31 = load %5, %0 : vec<f32, 4>
        %32 = load %6, %3 : f32\n store %6, %3, %32\n store %11, %2, %31\n %33 = load %13, %2 : u32
        atomic {f = max} %7, %0, %33\n barrier\n %34 = load %7, %0 : u32\n store %13, %2, %34";
    let outer = "%5 = shared {dtype = f32, len = 64} : ptr<f32, workgroup>\n %6 = shared {dtype = f32, len = 8} : ptr<f32, workgroup>
        %7 = shared {dtype = u32, len = 1} : ptr<u32, workgroup>";
    let text = valid(outer, body, "spirv");
    assert_eq!(text.matches("OpControlBarrier").count(), 2);
    // The array of vectors has 16 of them; y is stored only, u is what invocations could talk through.
    assert!(text.contains("OpTypeArray"), "{text}");
    assert_eq!(text.matches("Coherent").count(), 1, "{text}");
    let f = parse(&around(outer, body, false));
    let code = odc_backend::GpuBackend::compile(&odc_spirv::Spirv, &kernel(&f), &target("spirv")).unwrap();
    assert_eq!(code.workgroup_bytes, 256 + 32 + 16);
}

#[test]
fn atomics() {
    for (f, wanted) in [("and", "OpAtomicAnd"), ("or", "OpAtomicOr"), ("add", "OpAtomicIAdd"), ("xor", "OpAtomicXor")] {
        let body = format!("%30 = load %13, %3 : u32\n atomic {{f = {f}}} %13, %2, %30");
        assert!(valid("", &body, "spirv").contains(wanted));
    }
    for (f, wanted) in [("min", "OpAtomicSMin"), ("max", "OpAtomicSMax")] {
        let body = format!("%30 = load %12, %3 : i32\n atomic {{f = {f}}} %12, %2, %30");
        assert!(valid("", &body, "spirv").contains(wanted));
    }
}

#[test]
fn subgroups() {
    for (t, p) in [("f32", "%10"), ("i32", "%12"), ("u32", "%13"), ("f16", "%14")] {
        for f in ["add", "mul", "min", "max"] {
            let body = format!("%30 = load {p}, %2 : {t}\n %31 = subgroup {{f = {f}}} %30 : {t}\n store {p}, %2, %31");
            assert!(valid("", &body, "spirv:f16+subgroups").contains("OpGroupNonUniform"));
        }
    }
    let mut body = "%30 = lane {info = lane} : index\n".to_string();
    for (k, info) in (31..).zip(["size", "subgroup", "count"]) {
        body += &format!("%{k} = lane {{info = {info}}} : index\n %{}  = binary {{f = add}} %30, %{k} : index\n", k + 10);
    }
    body += "%50 = binary {f = add} %41, %42 : index\n %51 = binary {f = add} %50, %43 : index\n %52 = cast %51 : i32\n store %12, %2, %52";
    let text = valid("", &body, "spirv:subgroups");
    for wanted in ["SubgroupLocalInvocationId", "SubgroupSize", "SubgroupId", "NumSubgroups"] {
        assert!(text.contains(wanted), "{text}");
    }
}

/// Buffers in vectors only if all accesses are.
#[test]
fn the_elements_of_buffers() {
    let body = "%30 = load %10, %2 : vec<f32, 4>\n store %11, %2, %30";
    let text = valid("", body, "spirv");
    assert!(text.contains("ArrayStride 16") && !text.contains("OpCompositeExtract  %4 "), "{text}");
    let text = valid("", &format!("{body}\n%31 = load %11, %3 : f32\nstore %11, %4, %31"), "spirv");
    assert_eq!(text.matches("OpStore").count(), 5, "{text}");
}

/// Vectors that lie a constant apart: one quotient, and that constant.
#[test]
fn offsets_of_vectors_keep_their_constants() {
    let body = "%5 = const {value = 4} : index\n %30 = binary {f = mul} %2, %5 : index\n %31 = binary {f = add} %30, %21 : index
        for {kind = unrolled} %0, %5, %1 (%40: index) {
          %41 = binary {f = mul} %40, %8 : index\n %42 = binary {f = add} %31, %41 : index
          %43 = load %10, %42 : vec<f32, 4>\n store %11, %42, %43
          yield
        }";
    let text = valid("", body, "spirv");
    // m / 4, once; x / 4 is the index without its factor; 8, 16 and 24 are 2, 4 and 6 vectors.
    assert_eq!(text.matches("OpShiftRightArithmetic").count(), 1, "{text}");
    for vectors in [2, 6] {
        assert!(text.lines().any(|l| l.contains("= OpConstant ") && l.ends_with(&format!("  {vectors}"))), "{text}");
    }
}

#[test]
fn many_workgroups_lie_in_a_rectangle() {
    let body = "%30 = load %10, %2 : f32\n store %11, %2, %30";
    assert!(valid("", body, "spirv").contains("NumWorkgroups"));
    let few = around("", body, false).replace("%0, %20, %1 (%4", "%0, %8, %1 (%4");
    let f = parse(&few);
    let text = odc_spirv::Spirv.text(&kernel(&f), &target("spirv")).unwrap();
    assert!(!text.contains("NumWorkgroups") && !text.contains("OpSelectionMerge"), "{text}");
    validate(&compile(&few, "spirv").unwrap(), "few workgroups");
}

#[test]
fn the_same_kernel_gives_the_same_words() {
    let text = around("", "%30 = load %10, %2 : f32\n store %11, %2, %30", false);
    assert_eq!(compile(&text, "spirv").unwrap(), compile(&text, "spirv").unwrap());
}

/// Sums of products of bytes, whose factors and sums have the signs that the instruction wants.
#[test]
fn packed_products() {
    for (signed, wanted) in [(true, "OpSDot"), (false, "OpUDot")] {
        let body = format!(
            "%30 = load %13, %2 : u32\n %31 = load %13, %3 : u32\n %32 = load %12, %2 : i32
             %33 = dot4 {{signed = {signed}}} %30, %31, %32 : i32\n store %12, %2, %33"
        );
        let text = valid("", &body, "spirv:dot");
        assert!(text.contains(wanted) && text.contains("SPV_KHR_integer_dot_product"), "{text}");
    }
}

/// Matrices that a loop carries, in the memory model that they demand: no coherent buffers, accesses that others may see.
#[test]
fn matrices_of_subgroups() {
    let outer = "%5 = const {value = 16} : index\n %6 = const {value = f 0.0} : f32\n %7 = splat %6 : coop<f32, acc, 16, 16>
        %22 = shared {dtype = f16, len = 256} : ptr<f16, workgroup>\n %23 = shared {dtype = u32, len = 128} : ptr<u32, workgroup>";
    let halves = "%30 = load %14, %2 : f16\n store %22, %3, %30\n barrier
        %31 = for {kind = serial} %0, %20, %1, %7 (%32: index, %33: coop<f32, acc, 16, 16>) {
          %34 = coop_load %22, %0, %5 : coop<f16, a, 16, 16>\n %35 = coop_load %22, %0, %5 : coop<f16, b, 16, 16>
          %36 = coop_mma %34, %35, %33 : coop<f32, acc, 16, 16>
          yield %36
        } : coop<f32, acc, 16, 16>
        coop_store %10, %0, %5, %31";
    let text = valid(outer, halves, "spirv:f16+coop");
    for wanted in
        ["VulkanMemoryModel", "OpCooperativeMatrixMulAddKHR", "NonPrivatePointer", "MatrixAccumulatorKHR|OpTypeCooperativeMatrixKHR"]
    {
        assert!(wanted.split('|').any(|w| text.contains(w)), "{wanted}: {text}");
    }
    assert!(!text.contains("Coherent"), "{text}");
    let bytes = "%30 = load %13, %2 : u32\n store %23, %3, %30\n barrier
        %31 = const {value = 0} : i32\n %32 = splat %31 : coop<i32, acc, 16, 16>
        %34 = coop_load %23, %0, %8 : coop<i8, a, 16, 32>\n %35 = coop_load %23, %0, %8 : coop<i8, b, 32, 16>
        %36 = coop_mma %34, %35, %32 : coop<i32, acc, 16, 16>
        coop_store %12, %0, %5, %36
        atomic {f = or} %13, %2, %30";
    let text = valid(outer, bytes, "spirv:f16+coop");
    assert!(text.contains("MatrixASignedComponentsKHR") || text.contains("MATRIX_A_SIGNED"), "{text}");
}
