//! Identifiers. Names come from models, so nothing about them is trusted: they are reduced to ASCII words, kept apart from WGSL's own
//! words and from each other.

use naga::keywords::wgsl::{BUILTIN_IDENTIFIERS, RESERVED};
use std::collections::BTreeSet;

/// Longest name taken over from a model.
const LONGEST: usize = 40;

/// What the printed kernel calls its own things; buffers and sizes get other names.
const OURS: &[&str] = &[
    "g",
    "lane",
    "sizes",
    "workgroup",
    "workgroups",
    "local_index",
    "subgroup_lane",
    "subgroup_size",
    "inf_bits",
    "negative_inf_bits",
    "nan_bits",
];

/// Prefixes of helper functions.
const HELPERS: &[&str] = &["floor_div_", "floor_mod_", "remainder_", "shift_left_", "shift_right_", "to_i32_", "to_u32_"];

#[derive(Debug)]
pub struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    pub fn new() -> Self {
        let words = RESERVED.iter().chain(BUILTIN_IDENTIFIERS).chain(OURS);
        Names { taken: words.map(|w| w.to_string()).collect() }
    }

    /// A new identifier as close to `wanted` as can be; `otherwise` where nothing of it can be kept.
    pub fn fresh(&mut self, wanted: &str, otherwise: &str) -> String {
        let base = match word(wanted) {
            w if w.is_empty() => otherwise.to_owned(),
            w if w.starts_with(|c: char| c.is_ascii_digit()) => format!("{otherwise}_{w}"),
            w => w,
        };
        let free = |n: &String, taken: &BTreeSet<String>| !taken.contains(n) && !HELPERS.iter().any(|h| n.starts_with(h));
        let name = if free(&base, &self.taken) {
            base
        } else {
            (1..)
                .map(|k: u32| format!("{}_{k}", base.strip_suffix('_').unwrap_or(&base)))
                .find(|n| !self.taken.contains(n))
                .unwrap_or_default()
        };
        self.taken.insert(name.clone());
        name
    }

    /// The first of some preferred names that is free, else one like the last.
    pub fn first_of(&mut self, preferred: &[&str]) -> String {
        let free = preferred.iter().find(|n| !self.taken.contains(**n));
        let wanted = free.or(preferred.last()).copied().unwrap_or("v");
        self.fresh(wanted, "v")
    }
}

/// The letters, digits and single underscores of `s`.
fn word(s: &str) -> String {
    let mut out = String::new();
    for c in s.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c),
            _ if out.is_empty() || out.ends_with('_') => {}
            _ => out.push('_'),
        }
        if out.len() >= LONGEST {
            break;
        }
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

/// One line of a comment: no line breaks and nothing that changes the direction of text.
pub fn comment(s: &str) -> String {
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    s.chars().map(|c| if hidden(c) { ' ' } else { c }).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_become_words() {
        let mut n = Names::new();
        let wanted = ["x", "x", "vec4", "switch", "/a/b.c:0", "", "日本", "4*n", "__x__", "g", "floor_div_i32", "a\n} fn evil() {"];
        let got: Vec<_> = wanted.iter().map(|w| n.fresh(w, "t")).collect();
        let expected = ["x", "x_1", "vec4_1", "switch_1", "a_b_c_0", "t", "t_1", "t_4_n", "x_2", "g_1", "floor_div_i32_1", "a_fn_evil"];
        assert_eq!(got, expected);
        assert!(n.fresh(&"a".repeat(100), "t").len() <= LONGEST);
    }

    #[test]
    fn comments_stay_on_their_line() {
        assert_eq!(comment("a\nb\r\u{2028}c\u{202e}d\0"), "a b  c d");
    }
}
