//! `--fix axes=[0,2]` gives an input of the model its value, `--fix pads=@pads.npy` takes it from a file.

use crate::pb;
use crate::problem::{Failure, Problem};
use odc_ir::core::Scalar;
use odc_onnx::Fixed;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One `--fix` option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FixArg {
    pub name: String,
    pub text: String,
}

const FORM: &str = "a value looks like `axes=[0,2]`, `k=3`, `unit=\"km\"` or `pads=@pads.npy`";

impl std::str::FromStr for FixArg {
    type Err = String;
    fn from_str(s: &str) -> Result<FixArg, String> {
        // Names may hold any character, values no `=`, unless they are files.
        let (name, text) =
            s.split_once("=@").map(|(n, f)| (n, format!("@{f}"))).or_else(|| s.rsplit_once('=').map(|(n, t)| (n, t.into()))).ok_or(FORM)?;
        if name.is_empty() || text.trim().is_empty() {
            return Err(FORM.into());
        }
        Ok(FixArg { name: name.into(), text })
    }
}

/// The values by name; files are read.
pub fn values(args: &[FixArg]) -> Result<BTreeMap<String, Fixed>, Failure> {
    let mut out = BTreeMap::new();
    for a in args {
        let value = match a.text.strip_prefix('@') {
            Some(file) => Fixed::Tensor(pb::read_onnx(Path::new(file))?.1),
            None => parsed(a.text.trim()).map_err(|why| Problem::usage(format!("--fix {}: {why}", a.name)).help(FORM))?,
        };
        if out.insert(a.name.clone(), value).is_some() {
            return Err(Failure::usage(format!("--fix {} is given twice", a.name)));
        }
    }
    Ok(out)
}

/// Numbers or strings, one or in nested lists, as in JSON.
fn parsed(text: &str) -> Result<Fixed, String> {
    let value: Value = serde_json::from_str(text).map_err(|_| format!("`{text}` is no number, string in quotes or list of them"))?;
    let (mut dims, mut leaves) = (vec![], vec![]);
    collect(&value, 0, &mut dims, &mut leaves)?;
    if let Some(strings) = leaves.iter().map(|v| v.as_str().map(String::from)).collect::<Option<Vec<_>>>().filter(|l| !l.is_empty()) {
        return Ok(Fixed::Strings { dims, strings });
    }
    let float = |v: &Value| v.as_f64().map(Scalar::Float);
    let number = |v: &&Value| v.as_bool().map(Scalar::Bool).or_else(|| v.as_i64().map(Scalar::Int)).or_else(|| float(v));
    let numbers = leaves.iter().map(|v| number(v).ok_or_else(|| format!("`{v}` is no number"))).collect::<Result<_, _>>()?;
    Ok(Fixed::Numbers { dims, numbers })
}

fn collect<'v>(v: &'v Value, depth: usize, dims: &mut Vec<u64>, out: &mut Vec<&'v Value>) -> Result<(), String> {
    let Value::Array(list) = v else {
        if depth != dims.len() {
            return Err("its lists are not of one shape".into());
        }
        out.push(v);
        return Ok(());
    };
    match dims.get(depth) {
        Some(d) if *d != list.len() as u64 => return Err("its lists are not of one shape".into()),
        Some(_) => {}
        None if out.is_empty() => dims.push(list.len() as u64),
        None => return Err("its lists are not of one shape".into()),
    }
    list.iter().try_for_each(|v| collect(v, depth + 1, dims, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |s: &str| s.parse::<FixArg>().map(|f| (f.name, f.text));
        assert_eq!(parse("axes=[0,2]"), Ok(("axes".into(), "[0,2]".into())));
        assert_eq!(parse("a=b=3"), Ok(("a=b".into(), "3".into())));
        assert_eq!(parse("p=@d/x=1.npy"), Ok(("p".into(), "@d/x=1.npy".into())));
        for bad in ["axes", "=3", "axes=", "axes= "] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shapes_come_from_the_lists() {
        let shape = |s: &str| match parsed(s) {
            Ok(Fixed::Numbers { dims, numbers }) => Ok((dims, numbers.len())),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(shape("3"), Ok((vec![], 1)));
        assert_eq!(shape("[]"), Ok((vec![0], 0)));
        assert_eq!(parsed("[\"a\"]"), Ok(Fixed::Strings { dims: vec![1], strings: vec!["a".into()] }));
        assert_eq!(shape("[[1,2.5,true],[0,0,0]]"), Ok((vec![2, 3], 6)));
        for bad in ["[1,[2]]", "[[1],2]", "[[1],[1,2]]", "[\"a\", 1]", "{}", "x", "[[], 1]"] {
            assert!(shape(bad).is_err(), "{bad}");
        }
    }
}
