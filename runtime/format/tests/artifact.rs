//! Round trips, damage and hostility: whatever the bytes, parsing answers with the artifact or with a typed error.

mod sample;

use odc_format::*;
use proptest::prelude::*;
use sample::sample;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const PAGE: usize = 4096;

fn parse(bytes: &[u8]) -> Result<ArtifactView<'_>, FormatError> {
    ArtifactView::parse(bytes)
}

/// Makes the checksums right again after a change, as an attacker would.
fn seal(bytes: &mut [u8]) {
    for entry in (64..160).step_by(32) {
        let at = |o: usize| u64::from_le_bytes(bytes[entry + o..entry + o + 8].try_into().unwrap()) as usize;
        let (offset, len) = (at(8), at(16));
        let sum = xxh3_64(bytes.get(offset..offset.saturating_add(len)).unwrap_or_default());
        bytes[entry + 24..entry + 32].copy_from_slice(&sum.to_le_bytes());
    }
    let mut hash = Xxh3::new();
    hash.update(&bytes[..24]);
    hash.update(&bytes[32..160]);
    bytes[24..32].copy_from_slice(&hash.digest().to_le_bytes());
}

#[test]
fn round_trip_and_layout() {
    let s = sample(Arch::X86_64);
    let bytes = s.bytes();
    assert_eq!(bytes, s.bytes(), "the same parts give the same bytes");
    assert!(is_artifact(&bytes));
    let view = parse(&bytes).unwrap();
    assert_eq!(view.manifest, s.manifest);
    assert_eq!(view.code(0), s.code);
    assert_eq!(view.weight(0), s.weights[0]);
    assert_eq!(view.weight(1), s.weights[1]);
    assert_eq!(view.layout.weights.start % PAGE, 0);
    assert_eq!(view.manifest.weights[1].offset, WEIGHT_ALIGN);
    view.verify_weights().unwrap();
}

#[test]
fn every_byte_flip_is_noticed() {
    let bytes = sample(Arch::X86_64).bytes();
    let mut damaged = bytes.clone();
    for at in 0..bytes.len() {
        damaged[at] ^= 1 << (at % 8);
        let verdict = parse(&damaged).and_then(|view| view.verify_weights());
        assert!(verdict.is_err(), "a flip at {at} went unnoticed");
        damaged[at] = bytes[at];
    }
}

#[test]
fn every_truncation_and_extension_is_noticed() {
    let mut bytes = sample(Arch::X86_64).bytes();
    for len in 0..bytes.len() {
        let error = parse(&bytes[..len]).unwrap_err();
        let expected = if len < 4 { "ODC0650" } else { "ODC0652" };
        assert_eq!(error.code(), expected, "{len}: {error}");
    }
    bytes.push(0);
    assert_eq!(parse(&bytes).unwrap_err().code(), "ODC0654");
}

#[test]
fn damaged_weights_are_found_when_asked() {
    let mut bytes = sample(Arch::X86_64).bytes();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let view = parse(&bytes).unwrap();
    assert_eq!(view.verify_weights().unwrap_err().code(), "ODC0653");
}

#[test]
fn another_version_says_so() {
    let mut bytes = sample(Arch::X86_64).bytes();
    bytes[4] = 99;
    seal(&mut bytes);
    assert_eq!(parse(&bytes).unwrap_err(), FormatError::Version { found: 99, supported: FORMAT_VERSION });
}

/// Each edit makes a manifest that must be refused, with a text that names the place.
#[test]
fn hostile_manifests_are_refused() {
    type Edit = fn(&mut Manifest);
    fn dispatch(m: &mut Manifest) -> &mut Dispatch {
        match &mut m.targets[0].commands[0] {
            Command::Dispatch(d) => d,
            _ => panic!("the sample starts with a dispatch"),
        }
    }
    fn range(m: &mut Manifest, input: u32, hi: Slot) {
        m.in_range.push(InRange { input, ranges: vec![(Slot(0), hi)], what: "Gather".into() });
    }
    let edits: [(&str, Edit); 34] = [
        ("reads slot 3", |m| m.shape_program.instrs[3] = Instr::Add(Slot(3), Slot(0))),
        ("input 0 has no axis 2", |m| m.shape_program.instrs[0] = Instr::InputDim { input: 0, axis: 2 }),
        ("input 1 has no axis", |m| m.shape_program.instrs[0] = Instr::InputDim { input: 1, axis: 0 }),
        ("aligns to 0", |m| m.shape_program.instrs[7] = Instr::AlignUp(Slot(0), 0)),
        ("slot 900", |m| m.shape_program.checks[0].condition = Condition::AtLeast(Slot(900), 1)),
        ("multiple of 0", |m| m.shape_program.checks[0].condition = Condition::MultipleOf(Slot(0), 0)),
        ("symbol 0 \"n\": slot 900", |m| m.symbols[0].slot = Slot(900)),
        ("not in order", |m| m.symbols[0].lo = i64::MAX),
        ("not positive", |m| m.symbols[0].multiple_of = 0),
        ("input 0 holds no integers", |m| range(m, 0, Slot(0))),
        ("slot 900", |m| {
            m.inputs[0].dtype = DType::I64;
            range(m, 0, Slot(900));
        }),
        ("there is none", |m| {
            m.inputs[0].dtype = DType::I64;
            m.in_range.push(InRange { input: 0, ranges: vec![], what: "Gather".into() });
        }),
        ("twice", |m| m.outputs[1].name = "scaled".into()),
        ("empty", |m| m.inputs[0].name.clear()),
        ("dim texts", |m| m.inputs[0].shape_text.clear()),
        ("slot 77", |m| m.outputs[0].shape[0] = Slot(77)),
        ("not aligned", |m| m.weights[1].offset = 32),
        ("overlaps", |m| m.weights[1].offset = 0),
        ("weight 1: 13 bytes", |m| m.weights[1].len = 13),
        ("18446744073709551615 bytes", |m| m.weights[1].len = u64::MAX),
        ("there are none", |m| m.targets.clear()),
        ("code section 5", |m| m.targets[0].code = Code::Section(5)),
        ("arena: slot 900", |m| m.targets[0].arena_bytes = Slot(900)),
        ("kernel 0 \"scale\"", |m| m.targets[0].kernels[0].len = u64::MAX),
        ("kernel 1 \"row_sum\"", |m| m.targets[0].kernels[1].offset = 65),
        ("kernel 9 does not exist", |m| dispatch(m).kernel = 9),
        ("buffer 0: input 4", |m| dispatch(m).buffers[0] = BufferRef::Input(4)),
        ("weight 1 has no byte 13", |m| dispatch(m).buffers[1] = BufferRef::Weight { index: 1, offset: 13 }),
        ("slot 900", |m| dispatch(m).grain = Slot(900)),
        ("copies into an input or a weight", |m| {
            let (src, dst) = (BufferRef::Input(0), BufferRef::Input(0));
            m.targets[0].commands[2] = Command::Copy { src, dst, bytes: Slot(0) };
        }),
        ("output places", |m| m.targets[0].outputs.truncate(1)),
        ("no memory of its own", |m| m.targets[0].outputs[0] = BufferRef::Output(0)),
        ("does not fit the device", |m| m.targets[0].kernels[0].gpu = Some(GpuKernel { workgroup: [64, 1, 1], access: vec![] })),
        ("chunks", |m| m.digests.chunk_bytes = 1 << 20),
    ];
    let good = sample(Arch::X86_64);
    let weights_len = WEIGHT_ALIGN + 12;
    validate(&good.manifest, &[good.code.len() as u64], weights_len).unwrap();
    for (expected, edit) in edits {
        let mut bad = sample(Arch::X86_64).manifest;
        edit(&mut bad);
        let error = validate(&bad, &[good.code.len() as u64], weights_len).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} does not say \"{expected}\"");
        assert_eq!(error.code(), "ODC0656");
        let weights: Vec<&[u8]> = good.weights.iter().map(Vec::as_slice).collect();
        assert!(to_vec(&bad, &[&good.code], &weights).is_err(), "{expected}: and not written either");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(parse(&bytes).is_err());
        if bytes.len() >= 160 {
            bytes[..8].copy_from_slice(b"ODCA\x02\0\0\0");
            seal(&mut bytes);
            prop_assert!(parse(&bytes).is_err());
        }
    }

    /// Damage under right checksums: an error, or a manifest that is valid by itself.
    #[test]
    fn sealed_damage_never_panics(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = sample(Arch::X86_64).bytes();
        let manifest_len = u64::from_le_bytes(bytes[80..88].try_into().unwrap()) as usize;
        for (at, value) in flips {
            // half of the flips into the manifest, half into the section table
            let at = at.index(manifest_len + 96);
            bytes[if at < 96 { 64 + at } else { PAGE + at - 96 }] = value;
        }
        seal(&mut bytes);
        if let Ok(view) = parse(&bytes) {
            let code: Vec<u64> = view.layout.code.iter().map(|r| r.len() as u64).collect();
            prop_assert!(validate(&view.manifest, &code, view.layout.weights.len() as u64).is_ok());
            let mut slots = Vec::new();
            let _ = view.manifest.shape_program.evaluate(|_, _| Some(i64::MAX), &mut slots);
        }
    }

    #[test]
    fn division_is_floor_and_mod_follows(a in -1000i64..1000, b in -30i64..30, to in 1u32..100) {
        let mut p = ShapeProgram::default();
        let (sa, sb) = (Slot(0), Slot(1));
        p.instrs = vec![Instr::Const(a), Instr::Const(b), Instr::AlignUp(sa, to), Instr::FloorDiv(sa, sb),
            Instr::CeilDiv(sa, sb), Instr::Mod(sa, sb)];
        let mut slots = Vec::new();
        let done = p.evaluate(|_, _| None, &mut slots);
        let up = slots[2];
        prop_assert!(up >= a && up - a < i64::from(to) && up % i64::from(to) == 0);
        if b == 0 {
            prop_assert_eq!(done, Err(ShapeError { at: 3, fault: ShapeFault::DivisionByZero }));
        } else {
            let exact = a as f64 / b as f64;
            prop_assert_eq!(&slots[3..], &[exact.floor() as i64, exact.ceil() as i64, a - b * exact.floor() as i64]);
        }
    }
}

#[test]
fn shape_program_overflow_and_tools() {
    let s = sample(Arch::X86_64);
    let program = &s.manifest.shape_program;
    let mut slots = Vec::new();
    let error = program.evaluate(|_, _| Some(i64::MAX), &mut slots).unwrap_err();
    assert_eq!(error.fault, ShapeFault::Overflow);
    assert_eq!(slots.len(), error.at as usize, "what came before is there");
    for i in [Instr::FloorDiv(Slot(0), Slot(1)), Instr::Mod(Slot(0), Slot(1)), Instr::CeilDiv(Slot(0), Slot(1))] {
        let p = ShapeProgram { instrs: vec![Instr::Const(i64::MIN), Instr::Const(-1), i], checks: vec![] };
        assert_eq!(p.evaluate(|_, _| None, &mut slots).unwrap_err().fault, ShapeFault::Overflow);
    }
    let at = program.evaluate_at(&[(s.manifest.symbols[0].slot, 10)]);
    assert_eq!(at[s.manifest.targets[0].arena_bytes.index()], Some(128 + 64 + 64));
    assert_eq!(program.evaluate_at(&[])[s.manifest.targets[0].arena_bytes.index()], None);
}

#[test]
fn builder_shares_and_folds() {
    let mut b = ShapeBuilder::new();
    let (two, three) = (b.constant(2), b.constant(3));
    assert_eq!(b.push(Instr::Mul(two, three)), b.constant(6));
    let (n, again) = (b.input_dim(0, 0), b.input_dim(0, 0));
    assert_eq!(n, again);
    assert_ne!(b.push(Instr::Add(n, two)), b.push(Instr::Add(n, three)));
}
