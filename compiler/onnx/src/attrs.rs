//! Attributes of a node with their types, defaults and checks. What was read is remembered, so that attributes nobody
//! asked for are reported instead of being ignored.

use crate::diag::{Code, Fault};
use crate::proto::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The attributes of one node.
pub struct Attrs<'a> {
    list: BTreeMap<&'a str, (&'a AttributeProto, bool)>,
    read: RefCell<BTreeSet<&'a str>>,
}

type Got<T> = Result<T, Fault>;

impl<'a> Attrs<'a> {
    pub fn of(node: &'a NodeProto) -> Got<Attrs<'a>> {
        let mut list = BTreeMap::new();
        for a in &node.attribute {
            if !a.ref_attr_name().is_empty() {
                return Err(bad(a.name(), format!("refers to `{}` outside of a function", a.ref_attr_name().escape_debug())));
            }
            if list.insert(a.name(), (a, a.r#type.is_some_and(|t| t != 0))).is_some() {
                return Err(bad(a.name(), "is given twice"));
            }
        }
        Ok(Attrs { list, read: RefCell::default() })
    }

    /// The attribute, if it is there and of type `want`. Files of the oldest IR versions leave the type out.
    fn get(&self, name: &str, want: AttributeType) -> Got<Option<&'a AttributeProto>> {
        let Some((&key, &(a, typed))) = self.list.get_key_value(name) else {
            return Ok(None);
        };
        self.read.borrow_mut().insert(key);
        if typed && a.r#type() != want {
            return Err(bad(name, format!("must be {}, is {}", describe(want), describe(a.r#type()))));
        }
        Ok(Some(a))
    }

    pub fn has(&self, name: &str) -> bool {
        self.list.contains_key(name)
    }
    /// Marks attributes as known that do not change what the operator computes here.
    pub fn ignore(&self, names: &[&str]) {
        for name in names {
            if let Some((key, _)) = self.list.get_key_value::<str>(name) {
                self.read.borrow_mut().insert(key);
            }
        }
    }
    /// The attributes that were never asked for.
    pub fn unread(&self) -> Vec<&'a str> {
        let read = self.read.borrow();
        self.list.keys().filter(|k| !read.contains(*k)).copied().collect()
    }

    pub fn int(&self, name: &str) -> Got<Option<i64>> {
        Ok(self.get(name, AttributeType::Int)?.map(AttributeProto::i))
    }
    pub fn int_or(&self, name: &str, default: i64) -> Got<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }
    pub fn required_int(&self, name: &str) -> Got<i64> {
        self.int(name)?.ok_or_else(|| bad(name, "is required"))
    }
    pub fn positive_or(&self, name: &str, default: i64) -> Got<i64> {
        match self.int_or(name, default)? {
            v if v > 0 => Ok(v),
            v => Err(bad(name, format!("must be a positive int, is {v}"))),
        }
    }
    pub fn flag(&self, name: &str, default: bool) -> Got<bool> {
        match self.int_or(name, i64::from(default))? {
            0 => Ok(false),
            1 => Ok(true),
            v => Err(bad(name, format!("must be 0 or 1, is {v}"))),
        }
    }
    pub fn float(&self, name: &str) -> Got<Option<f32>> {
        Ok(self.get(name, AttributeType::Float)?.map(AttributeProto::f))
    }
    pub fn float_or(&self, name: &str, default: f32) -> Got<f32> {
        Ok(self.float(name)?.unwrap_or(default))
    }
    pub fn ints(&self, name: &str) -> Got<Option<&'a [i64]>> {
        Ok(self.get(name, AttributeType::Ints)?.map(|a| a.ints.as_slice()))
    }
    /// `rank` positive ints; `default` when the attribute is not there.
    pub fn positive_ints(&self, name: &str, rank: usize, default: i64) -> Got<Vec<i64>> {
        self.checked_ints(name, rank, default, |v| v > 0, "positive")
    }
    pub fn natural_ints(&self, name: &str, rank: usize, default: i64) -> Got<Vec<i64>> {
        self.checked_ints(name, rank, default, |v| v >= 0, "non-negative")
    }
    fn checked_ints(&self, name: &str, rank: usize, default: i64, ok: impl Fn(i64) -> bool, what: &str) -> Got<Vec<i64>> {
        let Some(v) = self.ints(name)? else {
            return Ok(vec![default; rank]);
        };
        if v.len() != rank || !v.iter().all(|x| ok(*x)) {
            return Err(bad(name, format!("must be {rank} {what} ints, is {v:?}")));
        }
        Ok(v.to_vec())
    }
    pub fn floats(&self, name: &str) -> Got<Option<&'a [f32]>> {
        Ok(self.get(name, AttributeType::Floats)?.map(|a| a.floats.as_slice()))
    }
    pub fn str(&self, name: &str) -> Got<Option<&'a str>> {
        let Some(a) = self.get(name, AttributeType::String)? else {
            return Ok(None);
        };
        std::str::from_utf8(a.s.as_deref().unwrap_or(b"")).map(Some).map_err(|_| bad(name, "is no UTF-8 text"))
    }
    pub fn strs(&self, name: &str) -> Got<Option<Vec<&'a str>>> {
        let Some(a) = self.get(name, AttributeType::Strings)? else {
            return Ok(None);
        };
        let text = |b: &'a prost::bytes::Bytes| std::str::from_utf8(b).map_err(|_| bad(name, "is no UTF-8 text"));
        a.strings.iter().map(text).collect::<Got<Vec<_>>>().map(Some)
    }
    /// One of a closed set of words.
    pub fn choice<T: Copy>(&self, name: &str, default: &str, choices: &[(&str, T)]) -> Got<T> {
        let word = self.str(name)?.unwrap_or(default);
        choices.iter().find(|(w, _)| *w == word).map(|(_, v)| *v).ok_or_else(|| {
            let all: Vec<_> = choices.iter().map(|(w, _)| *w).collect();
            bad(name, format!("is `{}`; supported: {}", word.escape_debug(), all.join(", ")))
        })
    }
    pub fn tensor(&self, name: &str) -> Got<Option<&'a TensorProto>> {
        match self.get(name, AttributeType::Tensor)? {
            None => Ok(None),
            Some(a) => a.t.as_ref().map(Some).ok_or_else(|| bad(name, "holds no tensor")),
        }
    }
    pub fn graph(&self, name: &str) -> Got<Option<&'a GraphProto>> {
        match self.get(name, AttributeType::Graph)? {
            None => Ok(None),
            Some(a) => a.g.as_ref().map(Some).ok_or_else(|| bad(name, "holds no graph")),
        }
    }
}

/// A complaint about one attribute.
pub fn bad(name: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(Code::BadAttribute, format!("attribute `{}` {why}", name.escape_debug()))
}

fn describe(t: AttributeType) -> &'static str {
    use AttributeType::*;
    match t {
        Undefined => "untyped",
        Float => "a float",
        Int => "an int",
        String => "a string",
        Tensor => "a tensor",
        Graph => "a graph",
        SparseTensor => "a sparse tensor",
        TypeProto => "a type",
        Floats => "a list of floats",
        Ints => "a list of ints",
        Strings => "a list of strings",
        Tensors => "a list of tensors",
        Graphs => "a list of graphs",
        SparseTensors => "a list of sparse tensors",
        TypeProtos => "a list of types",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(name: &str, i: i64) -> AttributeProto {
        AttributeProto { name: Some(name.into()), i: Some(i), r#type: Some(AttributeType::Int as i32), ..Default::default() }
    }
    fn ints(name: &str, v: &[i64]) -> AttributeProto {
        AttributeProto { name: Some(name.into()), ints: v.to_vec(), r#type: Some(AttributeType::Ints as i32), ..Default::default() }
    }

    #[test]
    fn values_defaults_and_checks() {
        let node = NodeProto { attribute: vec![int("group", -3), ints("pads", &[1, 1]), int("flag", 2)], ..Default::default() };
        let a = Attrs::of(&node).unwrap();
        assert_eq!(a.int_or("axis", 7), Ok(7));
        let e = a.positive_or("group", 1).unwrap_err();
        assert_eq!((e.code, e.message.as_str()), (Code::BadAttribute, "attribute `group` must be a positive int, is -3"));
        assert_eq!(a.natural_ints("pads", 2, 0), Ok(vec![1, 1]));
        assert!(a.natural_ints("pads", 4, 0).is_err());
        assert_eq!(a.positive_ints("strides", 2, 1), Ok(vec![1, 1]));
        assert!(a.flag("flag", false).is_err());
        let e = a.float("group").unwrap_err();
        assert_eq!(e.message, "attribute `group` must be a float, is an int");
        assert!(a.choice("mode", "floor", &[("linear", 1), ("nearest", 2)]).unwrap_err().message.contains("linear, nearest"));
    }

    #[test]
    fn what_nobody_asked_for_is_listed() {
        let node = NodeProto { attribute: vec![int("a", 1), int("b", 2), int("c", 3)], ..Default::default() };
        let a = Attrs::of(&node).unwrap();
        a.int("b").unwrap();
        a.ignore(&["c", "not there"]);
        assert_eq!(a.unread(), ["a"]);
    }

    #[test]
    fn duplicates_references_and_missing_values() {
        let twice = NodeProto { attribute: vec![int("a", 1), int("a", 1)], ..Default::default() };
        assert!(Attrs::of(&twice).is_err());
        let reference = AttributeProto { ref_attr_name: Some("x".into()), ..int("a", 1) };
        assert!(Attrs::of(&NodeProto { attribute: vec![reference], ..Default::default() }).is_err());
        // proto3 writers leave zeros out, the oldest files leave types out.
        let zero = AttributeProto { i: None, ..int("z", 0) };
        let untyped = AttributeProto { r#type: None, ..int("u", 5) };
        let node = NodeProto { attribute: vec![zero, untyped], ..Default::default() };
        let a = Attrs::of(&node).unwrap();
        assert_eq!((a.int("z"), a.int("u")), (Ok(Some(0)), Ok(Some(5))));
    }
}
