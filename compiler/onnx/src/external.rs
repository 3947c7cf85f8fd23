//! External data: weights in files beside the model. A location is confined to the model's folder; each file is mapped once.

use crate::diag::{Code, Fault};
use crate::mapped::{FileError, map_file};
use crate::proto::StringStringEntryProto;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where a model's external data may come from.
#[derive(Debug)]
pub struct External {
    folder: Option<PathBuf>,
    mapped: Mutex<BTreeMap<PathBuf, Bytes>>,
}

/// What a tensor says about its external data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub file: PathBuf,
    pub offset: u64,
    pub length: Option<u64>,
}

impl External {
    pub fn beside(folder: &Path) -> External {
        External { folder: Some(folder.to_owned()), mapped: Mutex::default() }
    }
    /// For models without a file: external data is always an error.
    pub fn none() -> External {
        External { folder: None, mapped: Mutex::default() }
    }

    /// The `size` bytes that a tensor of that size finds at its location.
    pub fn read(&self, at: &Location, size: u64) -> Result<Bytes, Fault> {
        let shown = at.file.display();
        if let Some(length) = at.length.filter(|l| *l != size) {
            return Err(Fault::new(Code::TensorData, format!("external data in `{shown}` has {length} bytes, but the shape needs {size}")));
        }
        let file = self.file(&at.file)?;
        let short = || {
            let text = format!("`{shown}` has {} bytes, but the tensor needs {size} from {}", file.len(), at.offset);
            Fault::new(Code::ExternalFile, text).help("check that the file was copied in full")
        };
        let end = at.offset.checked_add(size).ok_or_else(short)?;
        let (Ok(start), Ok(end)) = (usize::try_from(at.offset), usize::try_from(end)) else {
            return Err(short());
        };
        if end > file.len() {
            return Err(short());
        }
        Ok(file.slice(start..end))
    }

    fn file(&self, location: &Path) -> Result<Bytes, Fault> {
        let shown = location.display();
        let Some(folder) = &self.folder else {
            let f = Fault::new(Code::ExternalFile, format!("the data is in the file `{shown}`, but the model has no folder"));
            return Err(f.help("give the model as a file, so that files beside it can be found"));
        };
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = mapped.get(location) {
            return Ok(bytes.clone());
        }
        let path = folder.join(location);
        let missing = |e: &dyn std::fmt::Display| {
            let f = Fault::new(Code::ExternalFile, format!("external data file `{shown}`: {e}"));
            f.help("keep the data files of a model in its folder, under the names that the model gives")
        };
        let real = path.canonicalize().map_err(|e| missing(&e))?;
        let home = folder.canonicalize().map_err(|e| missing(&e))?;
        if !real.starts_with(&home) {
            let f = Fault::new(Code::ExternalPath, format!("external data `{shown}` is a link that leaves the model's folder"));
            return Err(f.help("copy the file into the model's folder"));
        }
        let bytes = map_file(&real).map_err(|e: FileError| missing(&e))?;
        mapped.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

impl Location {
    pub fn parse(entries: &[StringStringEntryProto]) -> Result<Location, Fault> {
        let get = |key: &str| entries.iter().find(|e| e.key() == key).map(|e| e.value());
        if let Some(twice) = ["location", "offset", "length"].iter().find(|k| entries.iter().filter(|e| e.key() == **k).count() > 1) {
            return Err(Fault::new(Code::ExternalPath, format!("external data has two values for {twice}")));
        }
        let number = |key: &str| match get(key) {
            None => Ok(None),
            Some(text) => text.trim().parse::<u64>().map(Some).map_err(|_| {
                Fault::new(Code::ExternalPath, format!("external data has the {key} `{}`, which is no byte count", text.escape_debug()))
            }),
        };
        let text = get("location").unwrap_or("");
        let bad = |why: &str| {
            let f = Fault::new(Code::ExternalPath, format!("external data location `{}` {why}", text.escape_debug()));
            f.help("external data must be a path below the model's folder")
        };
        let path = Path::new(text);
        let mut file = PathBuf::new();
        for c in path.components() {
            match c {
                Component::Normal(part) => file.push(part),
                Component::CurDir => {}
                Component::ParentDir => return Err(bad("leaves the model's folder")),
                Component::RootDir | Component::Prefix(_) => return Err(bad("is absolute")),
            }
        }
        if file.as_os_str().is_empty() || text.contains('\0') {
            return Err(bad("names no file"));
        }
        Ok(Location { file, offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
        list.iter().map(|(k, v)| StringStringEntryProto { key: Some(k.to_string()), value: Some(v.to_string()) }).collect()
    }

    struct Folder(PathBuf);
    impl Folder {
        fn new(name: &str) -> Folder {
            let dir = std::env::temp_dir().join(format!("odc-onnx-ext-{name}-{}", std::process::id()));
            std::fs::create_dir_all(dir.join("model")).unwrap();
            Folder(dir)
        }
        fn external(&self) -> External {
            External::beside(&self.0.join("model"))
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn locations_stay_below_the_folder() {
        for bad in ["/etc/passwd", "../x", "a/../../x", "a/../b", "", ".", "a\0b"] {
            let e = Location::parse(&entries(&[("location", bad)])).unwrap_err();
            assert_eq!(e.code, Code::ExternalPath, "{bad:?}");
        }
        let l = Location::parse(&entries(&[("location", "./w/a.bin"), ("offset", "16"), ("length", "8"), ("checksum", "x")])).unwrap();
        assert_eq!(l, Location { file: "w/a.bin".into(), offset: 16, length: Some(8) });
        for bad in ["-1", "x", "99999999999999999999999"] {
            assert!(Location::parse(&entries(&[("location", "a"), ("offset", bad)])).is_err());
        }
    }

    #[test]
    fn reads_slices_and_maps_once() {
        let f = Folder::new("slices");
        std::fs::write(f.0.join("model/w.bin"), (0..64).collect::<Vec<u8>>()).unwrap();
        let e = f.external();
        let at = |offset, length| Location { file: "w.bin".into(), offset, length };
        let (a, b) = (e.read(&at(0, Some(4)), 4).unwrap(), e.read(&at(60, None), 4).unwrap());
        assert_eq!((&a[..], &b[..]), (&[0u8, 1, 2, 3][..], &[60u8, 61, 62, 63][..]));
        assert_eq!(b.as_ptr() as usize - a.as_ptr() as usize, 60);
        assert_eq!(e.read(&at(61, None), 4).unwrap_err().code, Code::ExternalFile);
        assert_eq!(e.read(&at(u64::MAX, None), 4).unwrap_err().code, Code::ExternalFile);
        assert_eq!(e.read(&at(0, Some(5)), 4).unwrap_err().code, Code::TensorData);
        let none = Location { file: "none.bin".into(), offset: 0, length: None };
        assert_eq!(e.read(&none, 4).unwrap_err().code, Code::ExternalFile);
        assert_eq!(External::none().read(&at(0, None), 4).unwrap_err().code, Code::ExternalFile);
        assert_eq!(e.read(&Location { file: "".into(), offset: 0, length: None }, 4).unwrap_err().code, Code::ExternalFile);
    }

    #[cfg(unix)]
    #[test]
    fn links_must_not_leave() {
        let f = Folder::new("links");
        std::fs::write(f.0.join("secret"), [1; 8]).unwrap();
        std::fs::write(f.0.join("model/real"), [2; 8]).unwrap();
        std::os::unix::fs::symlink(f.0.join("secret"), f.0.join("model/out")).unwrap();
        std::os::unix::fs::symlink(f.0.join("model/real"), f.0.join("model/in")).unwrap();
        let at = |file: &str| Location { file: file.into(), offset: 0, length: None };
        assert_eq!(f.external().read(&at("out"), 8).unwrap_err().code, Code::ExternalPath);
        assert_eq!(&f.external().read(&at("in"), 8).unwrap()[..], &[2; 8]);
    }
}
