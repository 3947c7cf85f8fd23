//! `odc viz`: one HTML page without network that shows the dispatches as a graph and a table, and the arena over time. Everything that
//! comes from the model reaches the page as JSON or as escaped text.

use super::fusion::{binding, pairs, refusal};
use super::{Memory, Row, rows};
use crate::{Compiled, flops, show};
use odc_ir::core::Dim;
use odc_passes::fuse::refusals;
use serde_json::{Value, json};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of the first target's program.
pub fn page(compiled: &Compiled, memory: &Memory<'_>) -> Option<String> {
    let (build, target) = (compiled.builds().next()?, compiled.targets.first()?);
    let rows = rows(build, target, &binding(memory));
    let refused = pairs(&rows, refusals(&build.dispatches, &build.machine));
    let data = json!({
        "dispatches": rows.iter().map(Row::json).collect::<Vec<_>>(), "memory": memory.json(),
        "refused": refused.iter().map(refusal).collect::<Vec<_>>(),
    });
    let name = escaped(&compiled.manifest().name);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<title>{name} – odc</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{name}</h1>\n<p>{}</p>\n</header>\n",
        escaped(&subtitle(compiled, memory))
    );
    tiles(&mut out, compiled, memory, &rows);
    out.push_str(SECTIONS);
    table(&mut out, &rows);
    let _ = write!(
        out,
        "<script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        in_script(&data)
    );
    Some(out)
}

const SECTIONS: &str = "\
<section>
<h2>Memory over time</h2>
<p class=\"about\">Each bar is a tensor in the arena: from the command that first writes it to the one that last reads it, at its offset. The marked column is the peak.</p>
<div id=\"memory\" class=\"panel\"></div>
</section>
<section>
<h2>Dispatches</h2>
<p class=\"about\">Every box is one kernel call, and below it what reads its result. Drag to move, pinch or Ctrl and wheel to zoom, click a box for its nodes.</p>
<div class=\"split\"><div id=\"graph\" class=\"panel\" tabindex=\"0\" aria-label=\"Graph of dispatches\"></div><aside id=\"detail\" class=\"panel\" aria-live=\"polite\"></aside></div>
</section>
";

fn subtitle(compiled: &Compiled, memory: &Memory<'_>) -> String {
    let at: Vec<String> = memory.dims.iter().map(|(n, v, given)| format!("{n} = {v}{}", if *given { "" } else { " (assumed)" })).collect();
    let target = compiled.targets.first().map_or("", |t| t.name());
    format!("compiled for {target}{}", if at.is_empty() { String::new() } else { format!(", shown at {}", at.join(", ")) })
}

fn tiles(out: &mut String, compiled: &Compiled, memory: &Memory<'_>, rows: &[Row]) {
    let s = compiled.summary();
    let sum = |f: &dyn Fn(&Row) -> i64| rows.iter().fold(0i64, |sum, r| sum.saturating_add(f(r)));
    let bytes = |n: i64| show::bytes(n.max(0) as u64);
    let us: f64 = rows.iter().map(|r| r.us).sum();
    out.push_str("<dl class=\"tiles\">\n");
    for (what, value, more) in [
        ("Dispatches", s.dispatches.to_string(), format!("{} kernels", s.kernels)),
        ("Arena", bytes(memory.arena_bytes), format!("{:.1} % above what is alive", memory.waste() * 100.0)),
        ("Weights", show::bytes(s.weight_bytes), format!("{} of code", show::bytes(s.code_bytes))),
        ("Arithmetic", flops::text(&Dim::from(sum(&|r| r.flops))), "in one run".into()),
        ("Traffic", bytes(sum(&|r| r.read.saturating_add(r.written))), "read and written".into()),
        ("Predicted", format!("{:.2} ms", us / 1e3), "by the target's costs".into()),
    ] {
        let _ = writeln!(out, "<div><dt>{what}</dt><dd>{}</dd><dd class=\"more\">{}</dd></div>", escaped(&value), escaped(&more));
    }
    out.push_str("</dl>\n");
}

/// The table stands in the page itself: it can be read, searched and copied without the script, which only sorts it.
fn table(out: &mut String, rows: &[Row]) {
    out.push_str("<section>\n<h2>Cost</h2>\n<div class=\"panel scroll\"><table id=\"cost\">\n<thead><tr>");
    for (key, title) in [
        ("n", "#"),
        ("kind", "Kind"),
        ("us", "Time"),
        ("flops", "Arithmetic"),
        ("read", "Read"),
        ("written", "Written"),
        ("nodes", "ONNX nodes"),
    ] {
        let _ = write!(out, "<th scope=\"col\"><button data-key=\"{key}\">{title}</button></th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let total: f64 = rows.iter().map(|r| r.us).sum::<f64>().max(f64::MIN_POSITIVE);
    for (k, r) in rows.iter().enumerate() {
        let share = r.us / total * 100.0;
        let bytes = |n: i64| show::bytes(n.max(0) as u64);
        let _ = writeln!(
            out,
            "<tr data-n=\"{k}\"><td class=\"num\">{k}</td><td><i class=\"dot {kind}\"></i>{kind}</td>\
             <td class=\"num share\"><span style=\"width:{width:.1}%\"></span>{share:.1} %</td><td class=\"num\">{}</td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"nodes\">{}</td></tr>",
            escaped(&flops::text(&Dim::from(r.flops))),
            bytes(r.read),
            bytes(r.written),
            escaped(&r.nodes.join(" + ")),
            kind = r.kind,
            width = share.clamp(0.0, 100.0),
        );
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

/// Text between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in HTML, whatever the model says.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// JSON that cannot end its script element.
fn in_script(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        assert_eq!(escaped("<b a='\"'>&\u{7}"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{fffd}");
        let text = in_script(&json!({ "x": "</script><!--" }));
        assert!(!text.contains('<') && text.contains("\\u003c/script"));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["x"], "</script><!--");
    }
}
