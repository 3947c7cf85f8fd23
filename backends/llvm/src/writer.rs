//! Lines of LLVM IR, numbered values and blocks.

use std::fmt::{Display, Write};

/// The body of a function while it grows.
#[derive(Default)]
pub struct Writer {
    pub text: String,
    next: u32,
    /// The label of the block that lines go to now.
    pub block: String,
}

impl Writer {
    /// A fresh number, for names.
    pub fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }
    pub fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.text, "  {line}");
    }
    /// The value of an instruction.
    pub fn value(&mut self, instruction: impl Display) -> String {
        let v = format!("%v{}", self.number());
        self.named(&v, instruction);
        v
    }
    pub fn named(&mut self, name: &str, instruction: impl Display) {
        self.line(format_args!("{name} = {instruction}"));
    }
    /// Ends the block at hand with a jump, and begins another.
    pub fn jump_to(&mut self, label: &str) {
        self.line(format_args!("br label %{label}"));
        self.begin(label);
    }
    pub fn branch(&mut self, condition: &str, yes: &str, no: &str) {
        self.line(format_args!("br i1 {condition}, label %{yes}, label %{no}"));
    }
    pub fn begin(&mut self, label: &str) {
        let _ = writeln!(self.text, "{label}:");
        self.block = label.into();
    }
}
