//! `--dim N=4` fixes a dim of the model, `--dim "n in 1..128"` bounds it, `--dim w=2*h` ties it to others.

/// One `--dim` option; what its text means is the importer's to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DimArg {
    pub name: String,
    pub text: String,
}

impl DimArg {
    /// The value, where a number is asked for.
    pub fn size(&self) -> Result<i64, String> {
        let size = self.text.parse().ok().filter(|v| *v >= 0);
        size.ok_or_else(|| format!("--dim {}: `{}` is no size", self.name, self.text))
    }
}

impl std::str::FromStr for DimArg {
    type Err = String;
    fn from_str(s: &str) -> Result<DimArg, String> {
        let parts = s.split_once(" in ").or_else(|| s.split_once('='));
        let (name, text) = parts.ok_or("a dim looks like `N=4` or `N in 1..128`")?;
        let (name, text) = (name.trim(), text.trim());
        if name.is_empty() || text.is_empty() {
            return Err("a dim looks like `N=4` or `N in 1..128`".into());
        }
        Ok(DimArg { name: name.into(), text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |s: &str| s.parse::<DimArg>().map(|d| (d.name, d.text));
        assert_eq!(parse("N=4"), Ok(("N".into(), "4".into())));
        assert_eq!(parse("n in 1..128"), Ok(("n".into(), "1..128".into())));
        assert_eq!(parse("a b = 2*h"), Ok(("a b".into(), "2*h".into())));
        for bad in ["N", "N=", "=3", " in 5", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!("n=7".parse::<DimArg>().and_then(|d| d.size()), Ok(7));
        assert!("n=-7".parse::<DimArg>().and_then(|d| d.size()).is_err());
    }
}
