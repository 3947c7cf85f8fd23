//! Imports real models and checks the sizes that come out against recorded outputs; of small models, by the graph interpreter,
//! the values too.
//!
//! `ODC_MODELS` names a folder of folders, each with a `model.onnx` and `test_data_set_K/{input,output}_I.pb`. Without it the
//! tests say that they did nothing. `ODC_VALUES=name,name` names other models to run (slow; use `--release`).

use odc_ir::core::{Const, Dim, Sym, TensorValue, hex, parse_module};
use odc_ir::graph::{Graph, Module};
use odc_onnx::external::External;
use odc_onnx::proto::TensorProto;
use odc_onnx::{ImportOptions, Model, Tensor, import};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The models that must import; others in the folder may be ahead of the importer.
const NEEDED: &[&str] = &[
    "attacut_sc",
    "magika_v3_3",
    "mtcnn_pnet",
    "mtcnn_rnet",
    "mtcnn_onet",
    "ppocrv2_cls",
    "ppocrv4_det",
    "ppocrv4_rec",
    "speech_embedding",
    "open_nsfw_resnet50",
    "terrain_unet",
    "mobilenet_v2_ts_op11",
    "mobilenet_v3_small_dynamo_dyn",
    "resnet50_ts_dyn",
    "efficientnet_b0_ts",
    "vit_b16_ts_dyn",
    "bert_base_ts_dyn",
    "distilbert_dynamo_dyn",
    "espcn_superres_x3_ts_dyn",
    "nerf_mlp_ts_dyn",
    "taesd_decoder_ts_dyn",
    "sd15_unet_reduced_ts_dyn",
    "sd15_clip_text_dynamo",
    "llama_4l_gqa_kv_ts_dyn",
    "whisper_tiny_encoder_ts",
    "depth_anything_small_ts",
];

fn tensor(path: &Path) -> Tensor {
    let proto = TensorProto::decode(&*std::fs::read(path).unwrap()).unwrap();
    Tensor::decode(&proto, &External::none()).unwrap()
}

/// Values of all symbols under the inputs of one data set.
fn bind(m: &Module, inputs: &[Tensor]) -> BTreeMap<Sym, i64> {
    let f = m.main().unwrap();
    let mut bound = BTreeMap::new();
    for (s, facts) in &m.symbols {
        let origin = facts.origin.as_ref().unwrap();
        let k = f.param_names.iter().position(|n| *n == origin.input).unwrap();
        let (a, b) = f.ty(f.body.args[k]).shape[origin.axis].linear_in(s).unwrap();
        let (a, b) = (a.as_const().unwrap(), b.as_const().unwrap());
        let size = inputs[k].dims[origin.axis] as i64;
        assert_eq!((size - b) % a, 0, "{s} from {size}");
        let value = (size - b) / a;
        assert!(value >= facts.lo && facts.hi.is_none_or(|h| value <= h), "{s} = {value} outside of its bounds");
        bound.insert(s.clone(), value);
    }
    for (k, v) in f.body.args.iter().enumerate() {
        assert_eq!(sizes(&f.ty(*v).shape, &bound), inputs[k].dims, "input {}", f.param_names[k]);
    }
    bound
}

fn sizes(shape: &[Dim], bound: &BTreeMap<Sym, i64>) -> Vec<u64> {
    shape.iter().map(|d| d.eval(&|s| bound.get(s).copied()).unwrap() as u64).collect()
}

fn check(dir: &Path) -> Result<String, String> {
    let model = Model::open(dir.join("model.onnx")).map_err(|e| e.to_string())?;
    let m = import(&model, &ImportOptions::default()).map_err(|all| {
        let text: Vec<_> = all.iter().take(5).map(ToString::to_string).collect();
        format!("{} problems\n    {}", all.len(), text.join("\n    "))
    })?;
    let by_hash: BTreeMap<String, _> = m.consts.iter().map(|c| (hex(&c.hash()), c.bytes.clone())).collect();
    let back =
        parse_module::<Graph>(&m.to_string(), &|hash| by_hash.get(hash).cloned()).map_err(|e| format!("its text does not parse: {e}"))?;
    assert!(back == m, "{}: parse(print(m)) != m", dir.display());
    let errors = odc_ir::graph::verify(&m);
    assert!(errors.is_empty(), "{}: {errors:?}", dir.display());
    let f = m.main().ok_or("no function")?;
    let mut sets = 0;
    for k in 0.. {
        let set = dir.join(format!("test_data_set_{k}"));
        if !set.exists() {
            break;
        }
        let inputs: Vec<_> = (0..f.param_names.len()).map(|i| tensor(&set.join(format!("input_{i}.pb")))).collect();
        let bound = bind(&m, &inputs);
        for (i, v) in f.body.yields.iter().enumerate() {
            let want = tensor(&set.join(format!("output_{i}.pb")));
            assert_eq!(sizes(&f.ty(*v).shape, &bound), want.dims, "{} output {}", set.display(), f.result_names[i]);
        }
        sets += 1;
    }
    Ok(format!("{} ops, {} dims, {sets} data sets", f.body.ops.len(), m.symbols.len()))
}

#[test]
fn real_models_import() {
    let Some(folder) = std::env::var_os("ODC_MODELS").map(PathBuf::from) else {
        eprintln!("SKIPPED: real_models_import needs ODC_MODELS=<folder of models>; nothing was checked");
        return;
    };
    let mut failed = vec![];
    let mut present: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.join("model.onnx").exists()).collect();
    present.sort();
    let missing: Vec<_> = NEEDED.iter().filter(|n| !present.contains(&folder.join(n))).collect();
    assert!(missing.len() < NEEDED.len(), "{} has none of the models", folder.display());
    if !missing.is_empty() {
        eprintln!("SKIPPED: {} models that are not in {}: {missing:?}", missing.len(), folder.display());
    }
    for dir in present {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let needed = NEEDED.contains(&name.as_str());
        match check(&dir) {
            Ok(text) => eprintln!("ok       {name}: {text}"),
            Err(text) if needed => {
                eprintln!("FAILED   {name}: {text}");
                failed.push(name);
            }
            Err(text) => eprintln!("not yet  {name}: {text}"),
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Small enough for an interpreter that was written to be plain.
const SMALL: &str = "attacut_sc,mtcnn_rnet";

fn interpreted(t: &Tensor) -> TensorValue {
    let shape = t.dims.iter().map(|d| *d as i64).collect();
    let dtype = odc_onnx::import::call::dtype(t.data_type).unwrap();
    TensorValue::from_const(&Const::new(dtype, shape, t.data.clone()).unwrap()).unwrap()
}

#[test]
fn values_agree_with_recorded_ones() {
    let Some(folder) = std::env::var_os("ODC_MODELS").map(PathBuf::from) else {
        eprintln!("SKIPPED: values_agree_with_recorded_ones needs ODC_MODELS=<folder of models>; nothing was checked");
        return;
    };
    let names = std::env::var("ODC_VALUES").unwrap_or_else(|_| SMALL.into());
    let (mut failed, mut ran) = (vec![], 0);
    for name in names.split(',') {
        let dir = folder.join(name);
        if !dir.join("model.onnx").exists() {
            eprintln!("SKIPPED: {name} is not in {}", folder.display());
            continue;
        }
        let model = Model::open(dir.join("model.onnx")).unwrap();
        let m = import(&model, &ImportOptions::default()).unwrap_or_else(|all| panic!("{name}: {all:?}"));
        let f = m.main().unwrap();
        ran += 1;
        for k in (0..).take_while(|k| dir.join(format!("test_data_set_{k}")).exists()) {
            let set = dir.join(format!("test_data_set_{k}"));
            let inputs: Vec<(String, TensorValue)> = f
                .param_names
                .iter()
                .enumerate()
                .map(|(i, n)| (n.clone(), interpreted(&tensor(&set.join(format!("input_{i}.pb"))))))
                .collect();
            let results = match odc_ir::graph::interp::run(&m, &inputs) {
                Ok(r) => r,
                Err(e) => {
                    eprintln!("FAILED   {name} {k}: {e}");
                    failed.push(format!("{name} {k}: {e}"));
                    continue;
                }
            };
            for (i, got) in results.iter().enumerate() {
                let want = interpreted(&tensor(&set.join(format!("output_{i}.pb"))));
                assert_eq!(got.shape, want.shape);
                let pairs = || got.data.iter().zip(&want.data).map(|(a, b)| (a.as_f64(), b.as_f64()));
                let most = pairs().map(|(_, b)| b.abs()).fold(1e-30, f64::max);
                let error = pairs().map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() }).fold(0.0, f64::max) / most;
                let ok = error < 1e-4;
                eprintln!(
                    "{} {name} {k} {}: error {error:.1e} of the greatest",
                    if ok { "ok      " } else { "FAILED  " },
                    f.result_names[i]
                );
                if !ok {
                    failed.push(format!("{name} {k} {}: {error}", f.result_names[i]));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(ran > 0, "{} has none of {names}", folder.display());
}
