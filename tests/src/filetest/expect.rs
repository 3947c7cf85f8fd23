//! Comparing what came out of a file test with what the file says, and rewriting the latter.

use super::{FileTest, Outcome, Problem};

impl FileTest {
    pub(super) fn judge(&self, text: &str, outcome: &Outcome) -> Result<(), String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut wrong = vec![];
        let mut met = vec![false; self.errors.len()];
        for p in &outcome.problems {
            let hit = (0..met.len()).find(|&k| !met[k] && p.is_at(self.errors[k].0, &lines) && p.message.contains(&self.errors[k].1));
            match hit {
                Some(k) => met[k] = true,
                None => wrong.push(format!("not expected: {p}")),
            }
        }
        for (k, (line, text)) in self.errors.iter().enumerate() {
            if !met[k] {
                wrong.push(format!("line {line}: no error with `{text}`"));
            }
        }
        let mut rest = outcome.text.as_str();
        for c in &self.checks {
            match rest.find(c.as_str()) {
                Some(at) => rest = &rest[at + c.len()..],
                None => wrong.push(format!("not in the output, in order: `{c}`")),
            }
        }
        wrong.extend(self.check_nots.iter().filter(|c| outcome.text.contains(c.as_str())).map(|c| format!("in the output: `{c}`")));
        if let Some((_, expected)) = &self.output
            && *expected != outcome.text
        {
            wrong.push(first_difference(expected, &outcome.text));
        }
        for (run, results) in self.runs.iter().zip(&outcome.results) {
            wrong.extend(run.compare(results));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let shown = if outcome.text.is_empty() { String::new() } else { format!("\nThe output:\n{}", outcome.text) };
        Err(wrong.join("\n") + &shown)
    }

    /// The file with its `output:` and `out:` as they are now; `None` if it has neither.
    pub(super) fn blessed(&self, text: &str, outcome: &Outcome) -> Result<Option<String>, String> {
        if let Some(p) = outcome.problems.first().filter(|_| self.errors.is_empty()) {
            return Err(p.to_string());
        }
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        for (run, results) in self.runs.iter().zip(&outcome.results) {
            run.rewrite(results, &mut lines)?;
        }
        if let Some((at, _)) = &self.output {
            lines.truncate(at + 1);
            lines.extend(outcome.text.lines().map(|l| format!("// {l}").trim_end().to_string()));
        }
        let new = lines.join("\n") + "\n";
        Ok((new != text).then_some(new))
    }
}

fn first_difference(expected: &str, got: &str) -> String {
    let k = expected.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
    let line = |t: &str| t.lines().nth(k).unwrap_or("(nothing)").trim().to_string();
    format!("output line {}: expected `{}`, got `{}` (ODC_BLESS=1 rewrites it)", k + 1, line(expected), line(got))
}

impl Problem {
    /// Is it about this line of the file?
    fn is_at(&self, line: usize, lines: &[&str]) -> bool {
        if let Some(l) = self.line {
            return l == line;
        }
        let code = line.checked_sub(1).and_then(|k| lines.get(k)).map_or("", |l| l.split("//").next().unwrap_or(""));
        // A location may be two names; `(unnamed)` is none.
        let loc = self.loc.split(" + ").next().filter(|l| !l.is_empty() && *l != "(unnamed)");
        code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == self.op) && loc.is_none_or(|l| lines_with_loc(line, lines, l))
    }
}

/// The location stands on the op's own line, or behind its regions.
fn lines_with_loc(line: usize, lines: &[&str], loc: &str) -> bool {
    let quoted = format!("\"{loc}\"");
    let own = lines[line - 1];
    if own.contains("loc(") || !own.trim_end().ends_with('{') {
        own.contains(&quoted)
    } else {
        lines[line..].iter().any(|l| l.contains(&quoted))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(_) => f.write_str(&self.message),
            None => write!(f, "{} ({}): {}", self.op, self.loc, self.message),
        }
    }
}
