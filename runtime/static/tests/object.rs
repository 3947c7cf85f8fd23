//! Objects and headers of the hand-made model, read back by another reader. That they link and run is tested with C
//! in `runtime/c`.

#[path = "../../format/tests/sample/mod.rs"]
mod sample;

use object::{Object, ObjectSection, ObjectSymbol};
use odc_format::{Arch, ArtifactView, Code};
use odc_static::{ObjectFormat, StaticError, archive, header, write_object};
use sample::{ROW_SUM, SCALE, sample};

#[test]
fn objects_hold_kernels_artifact_and_table() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for format in [ObjectFormat::Elf, ObjectFormat::MachO, ObjectFormat::Coff] {
            let artifact = sample(arch).bytes();
            let bytes = write_object(&artifact, "my model", 0, format).unwrap();
            assert_eq!(bytes, write_object(&artifact, "my model", 0, format).unwrap(), "deterministic");
            let object = object::File::parse(&*bytes).unwrap();
            let find = |name: &str| {
                let mut symbols = object.symbols();
                symbols.find(|s| s.name().is_ok_and(|n| n.trim_start_matches('_') == name)).unwrap_or_else(|| panic!("no {name}"))
            };
            let content = |name: &str, len: usize| {
                let symbol = find(name);
                let section = object.section_by_index(symbol.section_index().unwrap()).unwrap();
                let start = (symbol.address() - section.address()) as usize;
                section.data().unwrap()[start..][..len].to_vec()
            };
            assert_eq!(content("odc_my_model_0_scale", SCALE.len()), SCALE);
            assert_eq!(content("odc_my_model_1_row_sum", ROW_SUM.len()), ROW_SUM);
            assert!(find("odc_model_my_model").is_global());
            let len = u64::from_le_bytes(content("odc_model_my_model", 32)[8..16].try_into().unwrap());
            let inner = content("odc_my_model_artifact", len as usize);
            let view = ArtifactView::parse(&inner).unwrap();
            assert_eq!(view.manifest.targets[0].code, Code::Linked);
            view.verify_weights().unwrap();
            let relocations: usize = object.sections().map(|s| s.relocations().count()).sum();
            assert_eq!(relocations, 4, "two kernels, artifact, table");
        }
    }
}

#[test]
fn wrong_requests_are_errors() {
    let artifact = sample(Arch::X86_64).bytes();
    let error = |bytes: &[u8], target| write_object(bytes, "m", target, ObjectFormat::Elf).unwrap_err();
    assert!(matches!(error(&artifact, 1), StaticError::NoTarget { index: 1, count: 1 }));
    assert!(matches!(error(&sample(Arch::X86_64).linked().bytes(), 0), StaticError::NoCode { .. }));
    assert!(matches!(error(b"ODCA", 0), StaticError::Format(_)));
    assert!(matches!(archive(b"", "m", ObjectFormat::Coff), Err(StaticError::Archive(_))));
}

#[test]
fn header_states_shapes_and_survives_names() {
    let mut manifest = sample(Arch::X86_64).manifest;
    manifest.outputs[1].name = "a*/b\"\\\n".into();
    manifest.outputs[2].name = "a  b\t \0".into();
    let text = header(&manifest, "sample", 0);
    for expected in [
        "extern const OdcStaticModel odc_model_sample;",
        "#define ODC_SAMPLE_DIM_N_MAX 100000",
        "/* input 0 \"x\": f32[n, 3] */",
        "#define ODC_SAMPLE_INPUT_X 0",
        "#define ODC_SAMPLE_INPUT_X_DTYPE ODC_F32",
        "#define ODC_SAMPLE_INPUT_X_DIM1 3",
        "/* ODC_SAMPLE_INPUT_X_BYTES: 4 * (n) * (3) */",
        "#define ODC_SAMPLE_OUTPUT_W_BYTES 12",
        "#define ODC_SAMPLE_OUTPUT_A__B____NAME \"a*/b\\\"\\\\\\012\"",
        "#define ODC_SAMPLE_OUTPUT_A__B____2_NAME \"a  b\\011 \\000\"",
        "session, without scratch: alignup(12*n, 64) + 2*alignup(4*n, 64) bytes",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    assert!(!text.contains("\"a*/b\": "), "a name must not end a comment");
}
