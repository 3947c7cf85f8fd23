//! Strings at the boundary. A model computes with numbers that stand for strings: those of its table have their place in it, others
//! get numbers past its end, so that equal strings have equal numbers and an output that passes one through gives it back.

use crate::{DType, RunError, TensorView};
use alloc::{collections::BTreeMap, format, sync::Arc, vec::Vec};
use odc_format::Manifest;

/// The numbers of a model's strings, for inputs and outputs of type [`DType::Str`]. One serves any number of sessions and runs; it
/// remembers every string that it has seen, until [`Strings::clear`].
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use odc_runtime::{Artifact, SessionOptions, TensorView};
/// # let artifact = Artifact::open("model.odc")?;
/// # let mut session = artifact.session(SessionOptions::default())?;
/// let mut strings = artifact.strings();
/// let colours = strings.numbers(&["red", "green"])?;
/// let outputs = session.run(&[("colour", TensorView::of_strings(&[2], &colours))])?;
/// println!("{:?}", outputs.get("label").and_then(|l| strings.texts(&l)));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Strings {
    list: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, i32>,
    /// How many are the model's.
    own: usize,
}

impl Strings {
    pub fn new(manifest: &Manifest) -> Strings {
        let list: Vec<Arc<str>> = manifest.strings.iter().map(|s| s.as_str().into()).collect();
        let numbers = list.iter().cloned().zip(0..).collect();
        Strings { own: list.len(), list, numbers }
    }

    /// The number of a string: the model's, or the next free one.
    pub fn number(&mut self, text: &str) -> Result<i32, RunError> {
        if let Some(&known) = self.numbers.get(text) {
            return Ok(known);
        }
        let too_many = |_| RunError::TooLarge { what: format!("{} different strings", self.list.len()) };
        let next = i32::try_from(self.list.len()).map_err(too_many)?;
        let text: Arc<str> = text.into();
        self.list.push(text.clone());
        self.numbers.insert(text, next);
        Ok(next)
    }

    /// The numbers of a tensor's strings, for [`TensorView::of_strings`].
    pub fn numbers<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Vec<i32>, RunError> {
        texts.iter().map(|t| self.number(t.as_ref())).collect()
    }

    pub fn text(&self, number: i32) -> Option<&str> {
        self.list.get(usize::try_from(number).ok()?).map(|s| &**s)
    }

    /// The strings of an output, in row-major order; `None` when it holds none, or numbers that were not given out here.
    pub fn texts(&self, tensor: &TensorView<'_>) -> Option<Vec<&str>> {
        if tensor.dtype != DType::Str {
            return None;
        }
        tensor.as_slice::<i32>()?.iter().map(|&n| self.text(n)).collect()
    }

    /// Forgets the strings that are not the model's. Numbers given out for them before mean nothing from here on.
    pub fn clear(&mut self) {
        self.list.truncate(self.own);
        self.numbers.retain(|_, n| (*n as usize) < self.own);
    }

    /// How many it knows.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<'a> TensorView<'a> {
    /// Strings by the numbers that [`Strings::numbers`] gave them.
    pub fn of_strings(shape: &'a [usize], numbers: &'a [i32]) -> Self {
        TensorView::of(shape, numbers).as_type(DType::Str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings() -> Strings {
        let list: Vec<Arc<str>> = ["", "cat", "dog"].map(Arc::from).into();
        Strings { own: 3, numbers: list.iter().cloned().zip(0..).collect(), list }
    }

    #[test]
    fn known_strings_have_their_places_and_others_come_behind() {
        let mut s = strings();
        let numbers = s.numbers(&["dog", "fox", "cat", "fox", ""]).unwrap();
        assert_eq!(numbers, [2, 3, 1, 3, 0]);
        let view = TensorView::of_strings(&[5], &numbers);
        assert_eq!(s.texts(&view).unwrap(), ["dog", "fox", "cat", "fox", ""]);
        assert_eq!(s.texts(&view.as_type(DType::I32)), None);
        assert_eq!((s.text(-1), s.text(4)), (None, None));
    }

    #[test]
    fn forgotten_strings_get_new_numbers() {
        let mut s = strings();
        assert_eq!(s.numbers(&["fox", "owl"]).unwrap(), [3, 4]);
        s.clear();
        assert_eq!((s.len(), s.text(3)), (3, None));
        assert_eq!(s.numbers(&["owl", "dog"]).unwrap(), [3, 2]);
    }
}
