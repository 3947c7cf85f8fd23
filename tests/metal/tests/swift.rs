//! The example of a Metal app is Swift, as far as a parser can tell: no Swift compiler knows `Metal` outside Apple's systems.

use tree_sitter::{Node, Parser};

/// Lines that are no Swift.
fn wrong_lines(text: &str) -> Vec<usize> {
    fn walk(node: Node, out: &mut Vec<usize>) {
        if node.is_error() || node.is_missing() {
            out.push(node.start_position().row + 1);
        }
        for k in 0..node.child_count() {
            walk(node.child(k).unwrap(), out);
        }
    }
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_swift::LANGUAGE.into()).unwrap();
    let tree = parser.parse(text, None).unwrap();
    let mut out = vec![];
    walk(tree.root_node(), &mut out);
    out
}

#[test]
fn the_example_is_swift() {
    let text = include_str!("../../../runtime/metal/Example.swift");
    assert_eq!(wrong_lines(text), [0; 0]);
    // The parser does tell.
    assert!(!wrong_lines(&text.replace("func encode(", "func (")).is_empty());
    assert!(!wrong_lines(&text.replacen("throws {", "throws", 1)).is_empty());
}

/// The example sets what a kernel of ours needs.
#[test]
fn the_example_sets_everything_that_a_dispatch_needs() {
    let text = include_str!("../../../runtime/metal/Example.swift");
    let (major, minor) = odc_metal::LANGUAGE;
    for call in ["setBuffer(", "setBytes(", "setThreadgroupMemoryLength(", "dispatchThreadgroups(", &format!(".version{major}_{minor}")] {
        assert!(text.contains(call), "no {call}");
    }
}
