//! Sizes as people write them: `300MB`, `1.5 GiB`, `65536`.

/// Bytes of each unit.
const UNITS: [(&str, f64); 8] =
    [("b", 1.0), ("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("kib", 1024.0), ("mib", 1048576.0), ("gib", 1073741824.0), ("bytes", 1.0)];

/// Bytes, with a unit or none.
pub fn parse(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim();
    let factor = if unit.is_empty() { Some(1.0) } else { UNITS.iter().find(|(name, _)| *name == unit).map(|(_, f)| *f) };
    let bytes = number.parse::<f64>().ok().zip(factor).map(|(n, f)| n * f).filter(|n| *n < u64::MAX as f64);
    bytes.map(|n| n as u64).ok_or_else(|| format!("`{text}` is no size; write it as 300MB, 1.5GiB or 65536"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes() {
        let good = [("300MB", 300_000_000), ("1.5 GiB", 1_610_612_736), ("65536", 65536), ("2kib", 2048), ("7 b", 7), ("0", 0)];
        good.iter().for_each(|(text, n)| assert_eq!(parse(text), Ok(*n), "{text}"));
        ["", "MB", "3 apples", "-4", "1e9", "1.2.3", "999999999999GiB", "4 M B"].iter().for_each(|text| {
            assert!(parse(text).unwrap_err().contains("is no size"), "{text}");
        });
    }
}
