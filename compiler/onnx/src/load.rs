//! From a path or bytes to a decoded model whose weights are still slices of the file.

use crate::diag::{Code, Diagnostic, Fault};
use crate::external::External;
use crate::mapped::{FileError, map_file};
use crate::proto::ModelProto;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use std::path::Path;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{name} is not an ONNX model: {why}")]
    NotAModel { name: String, why: String },
}

impl ImportError {
    pub fn code(&self) -> Code {
        match self {
            ImportError::File(_) => Code::Unreadable,
            ImportError::NotAModel { .. } => Code::NotAModel,
        }
    }
    pub fn diagnostic(&self) -> Diagnostic {
        let fault = Fault::new(self.code(), self.to_string());
        match self {
            ImportError::File(_) => fault,
            ImportError::NotAModel { .. } => fault.help("check that the file was copied in full, and that it is no Git LFS pointer"),
        }
        .of_model()
    }
}

impl From<ImportError> for Diagnostic {
    fn from(e: ImportError) -> Diagnostic {
        e.diagnostic()
    }
}

/// A decoded model and the folder that its external data may lie in.
#[derive(Debug)]
pub struct Model {
    pub proto: ModelProto,
    pub external: External,
}

impl Model {
    /// Maps a file. External data is looked up beside it.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, ImportError> {
        let path = path.as_ref();
        let bytes = map_file(path)?;
        let folder = match path.parent() {
            Some(p) if p.as_os_str().is_empty() => Path::new("."),
            Some(p) => p,
            None => Path::new("."),
        };
        Model::decode(bytes, &path.display().to_string(), External::beside(folder))
    }

    /// A model in memory. It has no folder, so external data is an error when it is met.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Model, ImportError> {
        Model::decode(bytes.into(), "the given data", External::none())
    }

    fn decode(bytes: Bytes, name: &str, external: External) -> Result<Model, ImportError> {
        let fail = |why: String| ImportError::NotAModel { name: name.to_owned(), why };
        if bytes.is_empty() {
            return Err(fail("it is empty".into()));
        }
        let proto = ModelProto::decode(bytes).map_err(|e| fail(e.to_string()))?;
        // Protobuf accepts nearly anything as unknown fields; a graph is what makes it a model.
        match &proto.graph {
            Some(_) => Ok(Model { proto, external }),
            None => Err(fail("it holds no graph".into())),
        }
    }

    /// Names of the graph's inputs in order, without those that only give an initializer a type.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        let defaults: BTreeSet<&str> = self.proto.graph.iter().flat_map(|g| &g.initializer).map(|t| t.name()).collect();
        self.proto.graph.iter().flat_map(|g| &g.input).map(|i| i.name()).filter(move |n| !defaults.contains(n))
    }

    /// The version of an operator set that the model was written for.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        opset_in(&self.proto.opset_import, domain)
    }
}

/// `""` and `"ai.onnx"` are the same domain.
pub fn opset_in(list: &[crate::proto::OperatorSetIdProto], domain: &str) -> Option<i64> {
    list.iter().find(|o| canonical_domain(o.domain()) == canonical_domain(domain)).map(|o| o.version())
}

pub fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{GraphProto, OperatorSetIdProto, TensorProto};

    fn model() -> ModelProto {
        let weight = TensorProto { name: Some("w".into()), raw_data: Some(Bytes::from(vec![7; 4096])), ..Default::default() };
        ModelProto {
            opset_import: vec![OperatorSetIdProto { domain: Some("ai.onnx".into()), version: Some(17) }],
            graph: Some(GraphProto { initializer: vec![weight], ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn weights_are_slices_of_the_input() {
        let bytes = Bytes::from(model().encode_to_vec());
        let range = bytes.as_ptr_range();
        let m = Model::from_bytes(bytes.clone()).unwrap();
        let raw = m.proto.graph.as_ref().unwrap().initializer[0].raw_data.clone().unwrap();
        assert!(range.contains(&raw.as_ptr()));
        assert_eq!(m.opset(""), Some(17));
        assert_eq!(m.opset("ai.onnx.ml"), None);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_model() {
        let bytes = Bytes::from(model().encode_to_vec());
        let mut failed = 0;
        for n in 0..bytes.len() {
            failed += usize::from(Model::from_bytes(bytes.slice(..n)).is_err());
        }
        assert!(failed > 4000, "{failed}");
        assert!(matches!(Model::from_bytes(Bytes::new()), Err(ImportError::NotAModel { .. })));
    }

    #[test]
    fn random_bytes_are_errors() {
        let mut x = 1u64;
        for n in 1..400 {
            let bytes: Vec<u8> = (0..n)
                .map(|_| {
                    x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (x >> 33) as u8
                })
                .collect();
            let e = Model::from_bytes(bytes).unwrap_err();
            assert_eq!(e.code(), Code::NotAModel);
        }
    }

    #[test]
    fn files_that_are_none() {
        let dir = std::env::temp_dir().join(format!("odc-onnx-load-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert!(matches!(Model::open(&dir), Err(ImportError::File(FileError::NotAFile(_, "folder")))));
        assert!(matches!(Model::open(dir.join("none.onnx")), Err(ImportError::File(FileError::Missing(_)))));
        #[cfg(unix)]
        {
            let fifo = dir.join("fifo");
            let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
            assert!(made.success());
            assert!(matches!(Model::open(&fifo), Err(ImportError::File(FileError::NotAFile(_, "FIFO")))));
            assert!(matches!(Model::open("/dev/null"), Err(ImportError::File(FileError::NotAFile(_, "device")))));
        }
        let file = dir.join("m.onnx");
        std::fs::write(&file, model().encode_to_vec()).unwrap();
        assert!(Model::open(&file).is_ok());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
