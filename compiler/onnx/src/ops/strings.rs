//! Operators that make new strings or look into them. Strings have no text when a model runs, so these are done when importing, and
//! their operands must be known: constants of the model, or inputs with `--fix`.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::{Elem, Val};
use odc_ir::core::{DType, TensorType, element_count};
use regex::RegexBuilder;

/// Padded results of `StringSplit` may be far larger than what they are made from.
const MOST_STRINGS: usize = 1 << 20;

/// The strings of an operand and its sizes.
fn known(c: &Call, k: usize) -> Got<(Vec<String>, Vec<i64>)> {
    let x = c.input(k)?;
    if x.dtype() != DType::Str {
        return Err(operand(format!("operand {k} is {}, must be strings", x.ty)));
    }
    let texts = c.texts(&x, &format!("operand {k}"))?;
    let shape = x.ty.static_shape().ok_or_else(|| operand(format!("operand {k} is {}", x.ty)))?;
    Ok((texts, shape))
}

pub fn concat(c: &mut Call) -> Out {
    let ((a, sa), (b, sb)) = (known(c, 0)?, known(c, 1)?);
    let (x, y) = (c.input(0)?, c.input(1)?);
    let shape = c.broadcast(&[x.shape(), y.shape()])?;
    let shape = TensorType::new(DType::Str, shape).static_shape().ok_or_else(|| operand("its sizes are not known"))?;
    let count = element_count(&shape).filter(|n| *n <= MOST_STRINGS).ok_or_else(|| operand("makes too many strings"))?;
    let at = |texts: &[String], own: &[i64], k| crate::import::known::source_index(k, &shape, own).and_then(|k| texts.get(k).cloned());
    let joined = (0..count).map(|k| Some(at(&a, &sa, k)? + &at(&b, &sb, k)?)).collect::<Option<Vec<_>>>();
    let joined = joined.ok_or_else(|| operand(format!("{} and {} do not broadcast", x.ty, y.ty)))?;
    Ok(vec![c.build.strings(&shape, &joined)])
}

/// The parts of each string as a last axis, filled up with empty strings, and how many there are.
pub fn split(c: &mut Call) -> Out {
    let delimiter = c.attrs.str("delimiter")?.filter(|d| !d.is_empty());
    let most = c.attrs.int("maxsplit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let (texts, mut shape) = known(c, 0)?;
    let parts: Vec<Vec<&str>> = texts.iter().map(|t| pieces(t, delimiter, most)).collect();
    let width = parts.iter().map(Vec::len).max().unwrap_or(0);
    if width.saturating_mul(parts.len()) > MOST_STRINGS {
        return Err(operand(format!("makes {} times {width} strings, too many", parts.len())));
    }
    let counts = parts.iter().map(|p| Elem::int(p.len() as i64)).collect();
    let counts = Val::known(TensorType::of(DType::I64, &shape), counts);
    shape.push(width as i64);
    let padded: Vec<&str> = parts.iter().flat_map(|p| p.iter().copied().chain(std::iter::repeat("")).take(width)).collect();
    Ok(vec![c.build.strings(&shape, &padded), counts])
}

/// At most `most` cuts. Without a delimiter at runs of white space, which separate nothing at the ends.
fn pieces<'t>(text: &'t str, delimiter: Option<&str>, most: usize) -> Vec<&'t str> {
    if let Some(d) = delimiter {
        return text.splitn(most.saturating_add(1), d).collect();
    }
    let mut parts = vec![];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = if parts.len() < most { rest.find(char::is_whitespace) } else { None };
        let (part, tail) = rest.split_at(end.unwrap_or(rest.len()));
        parts.push(part);
        rest = tail.trim_start();
    }
    parts
}

/// Bytes of a compiled expression: a counted repetition of a class can be made to take as many as are allowed, and as much time.
const MAX_REGEX: usize = 4 << 20;

pub fn regex_full_match(c: &mut Call) -> Out {
    let pattern = c.attrs.str("pattern")?.ok_or_else(|| bad("pattern", "is required"))?;
    let regex = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(MAX_REGEX).build();
    let regex = regex.map_err(|e| bad("pattern", format!("is no regular expression: {e}")))?;
    let (texts, shape) = known(c, 0)?;
    let found = texts.iter().map(|t| Elem::bool(regex.is_match(t))).collect();
    Ok(vec![Val::known(TensorType::of(DType::Bool, &shape), found)])
}

/// Stop words leave, then letters change; where nothing is left, one empty string is.
pub fn normalizer(c: &mut Call) -> Out {
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 3] = [("NONE", str::to_owned), ("LOWER", str::to_lowercase), ("UPPER", str::to_uppercase)];
    let change = c.attrs.choice("case_change_action", "NONE", &changes)?;
    let folded: Change = if c.attrs.flag("is_case_sensitive", false)? { str::to_owned } else { str::to_lowercase };
    c.attrs.ignore(&["locale"]);
    let stop: Vec<String> = c.attrs.strs("stopwords")?.unwrap_or_default().into_iter().map(folded).collect();
    let (texts, mut shape) = known(c, 0)?;
    if !matches!(shape.as_slice(), [_] | [1, _]) {
        return Err(operand(format!("needs a list or one row, is {shape:?}")));
    }
    let mut kept: Vec<String> = texts.iter().filter(|t| !stop.contains(&folded(t))).map(|t| change(t)).collect();
    if kept.is_empty() {
        kept.push(String::new());
    }
    if let Some(last) = shape.last_mut() {
        *last = kept.len() as i64;
    }
    Ok(vec![c.build.strings(&shape, &kept)])
}

/// Numbers as text, or the numbers that texts say.
pub fn cast(c: &mut Call, x: &Val, to: DType) -> Out {
    let shape = x.ty.static_shape().unwrap_or_default();
    if to == DType::Str {
        let known = x.known.clone().and_then(|k| k.iter().map(|e| written(e, x.dtype())).collect::<Option<Vec<_>>>());
        let known = known.ok_or_else(|| {
            let f = unsupported_use(format!("a cast of {} to strings must know them when compiling", x.ty));
            f.help("cast after the model ran").fixable(c.build.inputs_behind(x))
        })?;
        return Ok(vec![c.build.strings(&shape, &known)]);
    }
    let texts = c.texts(x, "the operand")?;
    let number = |t: &String| {
        let float = || t.trim().parse::<f64>().ok();
        let elem = match to {
            DType::Bool => t.trim().parse::<i64>().ok().map(|n| Elem::bool(n != 0)),
            to if to.is_float() => float().map(Elem::Float),
            _ => t.trim().parse::<i64>().ok().map(Elem::int),
        };
        elem.ok_or_else(|| operand(format!("the string {t:?} says no number of type {to}")))
    };
    let elems = texts.iter().map(number).collect::<Got<Vec<_>>>()?;
    // Floats are rounded on the way from f64, integers wrapped.
    let wide = if to.is_float() { DType::F64 } else { DType::I64 };
    if to == DType::Bool {
        return Ok(vec![Val::known(TensorType::of(to, &shape), elems)]);
    }
    Ok(vec![c.convert(&Val::known(TensorType::of(wide, &shape), elems), to)?])
}

fn written(e: &Elem, dtype: DType) -> Option<String> {
    Some(match e.as_float()? {
        x if dtype == DType::Bool => if x != 0.0 { "1" } else { "0" }.into(),
        _ if !dtype.is_float() => e.scalar()?.as_i64().to_string(),
        x if x.is_nan() => "NaN".into(),
        x if x.is_infinite() => if x > 0.0 { "INF" } else { "-INF" }.into(),
        x if dtype == DType::F64 => x.to_string(),
        // Of the digits of a narrower float, those that tell it from its neighbours.
        x => (x as f32).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_is_that_of_python() {
        let none: [&str; 0] = [];
        assert_eq!(pieces("  a  b c ", None, usize::MAX), ["a", "b", "c"]);
        assert_eq!(pieces("  a  b c ", None, 1), ["a", "b c "]);
        assert_eq!(pieces("   ", None, usize::MAX), none);
        assert_eq!(pieces("a,,b", Some(","), usize::MAX), ["a", "", "b"]);
        assert_eq!(pieces("a,b,c", Some(","), 1), ["a", "b,c"]);
        assert_eq!(pieces("", Some(","), usize::MAX), [""]);
    }

    #[test]
    fn numbers_as_text() {
        let f = |x| written(&Elem::Float(x), DType::F32).unwrap();
        assert_eq!([f(0.1f32.into()), f(-2.0), f(f64::NAN), f(f64::NEG_INFINITY)], ["0.1", "-2", "NaN", "-INF"]);
        assert_eq!(written(&Elem::int(-7), DType::I64).unwrap(), "-7");
    }
}
