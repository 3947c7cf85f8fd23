//! The three ways in which ONNX writes ensembles of trees, read into one form.

use super::post::{Labels, Post, features, row, two_classes};
use super::walk::{Aggregate, Ensemble, Node, Test};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, constant, dtype};
use crate::import::value::Val;
use crate::proto::TensorProto;
use crate::tensor::Tensor;
use odc_ir::core::{DType, Scalar};
use odc_ir::graph::BinaryFn;
use std::collections::{BTreeMap, BTreeSet};

/// The elements of a tensor attribute.
fn elements(c: &Call, t: &TensorProto) -> Got<Vec<f64>> {
    let t = Tensor::decode(t, c.external)?;
    let dt = dtype(t.data_type)?;
    Ok(t.data.chunks_exact(dt.size()).filter_map(|b| Scalar::read(dt, b)).map(Scalar::as_f64).collect())
}

/// Floats that stand in `name`, or as a tensor in `name_as_tensor`.
fn floats(c: &Call, name: &str) -> Got<Vec<f64>> {
    match c.attrs.tensor(&format!("{name}_as_tensor"))? {
        Some(t) => elements(c, t),
        None => Ok(c.attrs.floats(name)?.unwrap_or(&[]).iter().map(|v| f64::from(*v)).collect()),
    }
}

fn ints<'a>(c: &Call<'_, 'a>, name: &str) -> Got<&'a [i64]> {
    Ok(c.attrs.ints(name)?.unwrap_or(&[]))
}

/// Lists that describe the same things must be equally long.
fn same_length(lists: &[(&str, usize)]) -> Got<usize> {
    let n = lists.first().map_or(0, |l| l.1);
    match lists.iter().find(|l| l.1 != n) {
        None => Ok(n),
        Some((name, m)) => Err(bad(name, format!("has {m} entries, others have {n}"))),
    }
}

/// The nodes of the older operators, named by (tree, node), and where each name stands.
type Named = (Vec<Node>, Vec<usize>, BTreeMap<(i64, i64), usize>);

fn named_nodes(c: &Call) -> Got<Named> {
    c.attrs.ignore(&["nodes_hitrates", "nodes_hitrates_as_tensor"]);
    let (trees, ids) = (ints(c, "nodes_treeids")?, ints(c, "nodes_nodeids")?);
    let (yes, no, feature) = (ints(c, "nodes_truenodeids")?, ints(c, "nodes_falsenodeids")?, ints(c, "nodes_featureids")?);
    let modes = c.attrs.strs("nodes_modes")?.unwrap_or_default();
    let values = floats(c, "nodes_values")?;
    let missing = ints(c, "nodes_missing_value_tracks_true")?;
    same_length(&[
        ("nodes_treeids", trees.len()),
        ("nodes_nodeids", ids.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_featureids", feature.len()),
        ("nodes_modes", modes.len()),
        ("nodes_values", values.len()),
    ])?;
    let place: BTreeMap<(i64, i64), usize> = trees.iter().zip(ids).enumerate().map(|(k, (t, n))| ((*t, *n), k)).collect();
    let mut nodes = vec![];
    let mut children = BTreeSet::new();
    for (k, mode) in modes.iter().enumerate() {
        let test = match *mode {
            "LEAF" => {
                nodes.push(Node::leaf(k));
                continue;
            }
            "BRANCH_LEQ" => Test::Le,
            "BRANCH_LT" => Test::Lt,
            "BRANCH_GTE" => Test::Ge,
            "BRANCH_GT" => Test::Gt,
            "BRANCH_EQ" => Test::Eq,
            "BRANCH_NEQ" => Test::Ne,
            other => return Err(bad("nodes_modes", format!("names the mode `{}`", other.escape_debug()))),
        };
        let tree = trees.get(k).copied().unwrap_or(0);
        let child = |list: &[i64]| {
            let id = list.get(k).copied().unwrap_or(0);
            place.get(&(tree, id)).copied().ok_or_else(|| bad("nodes_treeids", format!("tree {tree} has no node {id}")))
        };
        let (yes, no) = (child(yes)?, child(no)?);
        children.extend([yes, no]);
        nodes.push(Node {
            test: Some(test),
            feature: feature.get(k).copied().unwrap_or(0),
            value: values.get(k).copied().unwrap_or(0.0),
            missing: missing.get(k).is_some_and(|m| *m != 0),
            yes,
            no,
        });
    }
    // A tree begins where no node of it leads to; only a tree that is one leaf begins with a leaf.
    let mut sizes: BTreeMap<i64, usize> = BTreeMap::new();
    trees.iter().for_each(|tree| *sizes.entry(*tree).or_default() += 1);
    let mut seen = BTreeMap::new();
    for ((k, tree), node) in trees.iter().enumerate().zip(&nodes) {
        let root = seen.entry(*tree).or_insert(None);
        let may_begin = node.test.is_some() || sizes.get(tree) == Some(&1);
        if root.is_none() && may_begin && !children.contains(&k) {
            *root = Some(k);
        }
    }
    let rootless = |tree: i64| bad("nodes_treeids", format!("tree {tree} has no root: its nodes lead in a circle"));
    let roots = seen.into_iter().map(|(tree, root)| root.ok_or_else(|| rootless(tree))).collect::<Got<_>>()?;
    Ok((nodes, roots, place))
}

/// The weights of the older operators; `kind` is "class" or "target".
fn named_weights(c: &Call, kind: &str, place: &BTreeMap<(i64, i64), usize>) -> Got<Vec<(usize, usize, f64)>> {
    let name = |part: &str| format!("{kind}_{part}");
    let (trees, nodes, ids) = (ints(c, &name("treeids"))?, ints(c, &name("nodeids"))?, ints(c, &name("ids"))?);
    let weights = floats(c, &name("weights"))?;
    same_length(&[("treeids", trees.len()), ("nodeids", nodes.len()), ("ids", ids.len()), ("weights", weights.len())])?;
    let mut out = vec![];
    for (((t, n), id), w) in trees.iter().zip(nodes).zip(ids).zip(weights) {
        let node = place.get(&(*t, *n)).ok_or_else(|| bad(&name("nodeids"), format!("tree {t} has no node {n}")))?;
        let id = usize::try_from(*id).map_err(|_| bad(&name("ids"), format!("names {id}")))?;
        out.push((*node, id, w));
    }
    Ok(out)
}

/// Thresholds given as doubles are compared as doubles.
fn rows(c: &mut Call) -> Got<Val> {
    let x = features(c)?;
    match c.attrs.tensor("nodes_values_as_tensor")? {
        Some(t) if constant(c.build, t, c.external)?.dtype() == DType::F64 => c.cast(&x, DType::F64),
        _ => Ok(x),
    }
}

fn add_base(c: &mut Call, s: Val, base: &[f64], targets: usize) -> Got<Val> {
    match base.len() {
        0 => Ok(s),
        n if n == targets || n == 1 => c.binary(BinaryFn::Add, &s, &row(s.dtype(), base.iter().copied())),
        n => Err(bad("base_values", format!("has {n} numbers for {targets} targets"))),
    }
}

pub fn regressor(c: &mut Call) -> Out {
    let post = Post::read(c)?;
    let aggregate = c.attrs.choice("aggregate_function", "SUM", &Aggregate::ALL)?;
    let x = rows(c)?;
    let (nodes, roots, place) = named_nodes(c)?;
    let weights = named_weights(c, "target", &place)?;
    let targets = usize::try_from(c.attrs.positive_or("n_targets", 1)?).map_err(|_| bad("n_targets", "is too large"))?;
    let s = Ensemble { nodes, roots, weights, targets, aggregate }.scores(c, &x)?;
    let base = floats(c, "base_values")?;
    let s = add_base(c, s, &base, targets)?;
    let y = post.apply(c, &s)?;
    Ok(vec![c.cast(&y, DType::F32)?])
}

pub fn classifier(c: &mut Call) -> Out {
    let post = Post::read(c)?;
    let labels = Labels::read(c, "classlabels_int64s")?;
    let x = rows(c)?;
    let (nodes, roots, place) = named_nodes(c)?;
    let mut weights = named_weights(c, "class", &place)?;
    let base = floats(c, "base_values")?;
    let ids: BTreeSet<usize> = weights.iter().map(|w| w.1).collect();
    let positive = weights.iter().all(|w| w.2 >= 0.0);
    // Weights for one of two classes only: the other one has the rest.
    let one_of_two = labels.len() <= 2 && ids.len() == 1;
    let targets = if one_of_two { 1 } else { labels.len() };
    if one_of_two {
        weights.iter_mut().for_each(|w| w.1 = 0);
    }
    let e = Ensemble { nodes, roots, weights, targets, aggregate: Aggregate::Sum };
    let s = e.scores(c, &x)?;
    if !one_of_two {
        let s = add_base(c, s, &base, targets)?;
        let label = labels.greatest(c, &s)?;
        let y = post.apply(c, &s)?;
        return Ok(vec![label, c.cast(&y, DType::F32)?]);
    }
    // One base value belongs to the first class.
    let second = ids.contains(&1);
    let own = if second { base.get(1..2) } else { base.get(base.len().saturating_sub(1)..) };
    let s = add_base(c, s, own.unwrap_or(&[]), 1)?;
    let limit = if positive && labels.len() == 2 { 0.5 } else { 0.0 };
    let yes = c.binary(BinaryFn::Gt, &s, &Val::scalar(s.dtype(), limit))?;
    let label = labels.either(c, &yes)?;
    let y = match (labels.len(), second) {
        (2, false) => two_classes(c, &s, post, positive)?,
        (2, true) => {
            let nothing = c.binary(BinaryFn::Mul, &s, &Val::scalar(s.dtype(), 0.0))?;
            let both = c.concat(&[&nothing, &s], 1)?;
            post.apply(c, &both)?
        }
        _ if post == Post::Probit => post.apply(c, &s)?,
        _ => s,
    };
    Ok(vec![label, c.cast(&y, DType::F32)?])
}

/// The one operator that replaces both: inner nodes and leaves are listed apart, numbers stand for words.
pub fn ensemble(c: &mut Call) -> Out {
    c.attrs.ignore(&["nodes_hitrates"]);
    let by_number = |name: &str, default: i64, n: usize| -> Got<usize> {
        let k = c.attrs.int_or(name, default)?;
        usize::try_from(k).ok().filter(|k| *k < n).ok_or_else(|| bad(name, format!("is {k}")))
    };
    let aggregate = Aggregate::ALL.get(by_number("aggregate_function", 1, 4)?).map_or(Aggregate::Sum, |a| a.1);
    let post = Post::ALL.get(by_number("post_transform", 0, 5)?).map_or(Post::None, |p| p.1);
    let list = |name: &str| match c.attrs.tensor(name)? {
        Some(t) => elements(c, t),
        None => Ok(vec![]),
    };
    let (splits, modes, weights, members) =
        (list("nodes_splits")?, list("nodes_modes")?, list("leaf_weights")?, list("membership_values")?);
    let (feature, roots) = (ints(c, "nodes_featureids")?, ints(c, "tree_roots")?);
    let (yes, yes_leaf) = (ints(c, "nodes_truenodeids")?, ints(c, "nodes_trueleafs")?);
    let (no, no_leaf) = (ints(c, "nodes_falsenodeids")?, ints(c, "nodes_falseleafs")?);
    let missing = ints(c, "nodes_missing_value_tracks_true")?;
    let targets_of = ints(c, "leaf_targetids")?;
    let count = same_length(&[
        ("nodes_splits", splits.len()),
        ("nodes_modes", modes.len()),
        ("nodes_featureids", feature.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_trueleafs", yes_leaf.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_falseleafs", no_leaf.len()),
    ])?;
    let leaves = same_length(&[("leaf_weights", weights.len()), ("leaf_targetids", targets_of.len())])?;
    let mut sets = members.split(|v| v.is_nan());
    let mut nodes: Vec<Node> = (0..count).map(Node::leaf).collect();
    nodes.extend((count..count + leaves).map(Node::leaf));
    for k in 0..count {
        let child = |ids: &[i64], leafs: &[i64]| {
            let (id, leaf) = (ids.get(k).copied().unwrap_or(0), leafs.get(k).is_some_and(|l| *l != 0));
            let found = usize::try_from(id).ok().filter(|id| *id < if leaf { leaves } else { count });
            let found = found
                .ok_or_else(|| bad("nodes_truenodeids", format!("or nodes_falsenodeids of node {k} leads to {id}, which is not there")))?;
            Ok(if leaf { count + found } else { found })
        };
        let (yes, no) = (child(yes, yes_leaf)?, child(no, no_leaf)?);
        let mode = modes.get(k).copied().unwrap_or(0.0) as i64;
        let tests = [Test::Le, Test::Lt, Test::Ge, Test::Gt, Test::Eq, Test::Ne];
        let node = |test: Test, value: f64, no: usize| Node {
            test: Some(test),
            feature: feature.get(k).copied().unwrap_or(0),
            value,
            missing: missing.get(k).is_some_and(|m| *m != 0),
            yes,
            no,
        };
        let mut chain = vec![];
        if mode == 6 {
            // Membership of a set: is it the first, or else the second, and so on.
            let set = sets.next().unwrap_or(&[]);
            for (n, value) in set.iter().enumerate() {
                let next = if n + 1 == set.len() { no } else { nodes.len() + n };
                chain.push(node(Test::Eq, *value, next));
            }
            if set.is_empty() {
                chain.push(node(Test::Eq, f64::NAN, no));
            }
        } else {
            let test =
                usize::try_from(mode).ok().and_then(|m| tests.get(m)).ok_or_else(|| bad("nodes_modes", format!("names mode {mode}")))?;
            chain.push(node(*test, splits.get(k).copied().unwrap_or(0.0), no));
        }
        let mut chain = chain.into_iter();
        if let (Some(slot), Some(first)) = (nodes.get_mut(k), chain.next()) {
            *slot = first;
        }
        nodes.extend(chain);
    }
    let target = |t: &i64| usize::try_from(*t).map_err(|_| bad("leaf_targetids", format!("names {t}")));
    let weights = targets_of.iter().zip(weights).enumerate().map(|(k, (t, w))| Ok((count + k, target(t)?, w))).collect::<Got<Vec<_>>>()?;
    let root = |r: &i64| usize::try_from(*r).ok().filter(|r| *r < count).ok_or_else(|| bad("tree_roots", format!("names node {r}")));
    let roots = roots.iter().map(root).collect::<Got<Vec<_>>>()?;
    let targets = usize::try_from(c.attrs.positive_or("n_targets", 1)?).map_err(|_| bad("n_targets", "is too large"))?;
    let dtype = c.input(0)?.dtype();
    let x = features(c)?;
    let s = Ensemble { nodes, roots, weights, targets, aggregate }.scores(c, &x)?;
    let y = post.apply(c, &s)?;
    Ok(vec![c.cast(&y, dtype)?])
}
