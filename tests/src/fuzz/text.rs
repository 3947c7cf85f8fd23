//! The text form of each level: random and damaged text parses to a module, or to an error that names a place.

use crate::choices::Choices;
use odc_ir::core::{Level, Module, hex, parse_module};
use odc_ir::{graph, loops, tensor};

pub fn parse_graph(bytes: &[u8]) {
    parse::<graph::Graph>(bytes, |m| drop(graph::verify(m)));
}
pub fn parse_tensor(bytes: &[u8]) {
    parse::<tensor::Tensor>(bytes, |m| drop(tensor::verify(m)));
}
pub fn parse_loop(bytes: &[u8]) {
    parse::<loops::Loop>(bytes, |m| drop(loops::verify(m)));
}

/// Text: an error with a place, or a module that the verifier answers and whose text gives the same text again.
fn parse<L: Level>(bytes: &[u8], verify: impl Fn(&Module<L>)) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(m) = parse_module::<L>(text, &odc_ir::core::no_blobs) else { return };
    verify(&m);
    let printed = m.to_string();
    let blobs = |hash: &str| m.consts.iter().find(|c| hex(&c.hash()) == hash).map(|c| c.bytes.clone());
    match parse_module::<L>(&printed, &blobs) {
        Ok(back) => assert_eq!(back.to_string(), printed, "of\n{text}"),
        Err(e) => panic!("its own print does not parse: {e}\n{printed}\nof\n{text}"),
    }
}

/// Text with a few characters changed, for seeds: random bytes alone seldom get past the first word.
pub fn damaged_text(text: &str, c: &mut Choices) -> Vec<u8> {
    let mut text = text.as_bytes().to_vec();
    for _ in 0..1 + c.below(3) {
        let (at, from) = (c.below(text.len()), c.below(text.len()));
        match c.below(4) {
            0 => text[at] = *c.pick(b"0%#@-1 {}[](),:\"xn9e"),
            1 => drop(text.remove(at)),
            2 => text.insert(at, *c.pick(b"0%#@-1 {}[](),:\"xn9e")),
            _ => {
                // A piece from elsewhere.
                let piece: Vec<u8> = text[from..(from + 1 + c.below(12)).min(text.len())].to_vec();
                text.splice(at..(at + c.below(12)).min(text.len()), piece);
            }
        }
    }
    text
}
