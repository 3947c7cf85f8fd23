//! What a program needs in the arena at its fullest, from the artifact alone: for `odc info --memory`, `--explain memory` and reports.

use crate::show;
use odc_format::{ArenaBuffer, Command, Manifest, Slot, TargetProgram};
use serde_json::{Value, json};
use std::fmt::Write;

/// A size where no `--dim` gives one: that at which the compiler judges plans.
const SAMPLE: i64 = 64;

/// A program's memory at given sizes.
pub struct Memory<'a> {
    pub program: &'a TargetProgram,
    /// Every dim with its size, and whether that was given.
    pub dims: Vec<(&'a str, i64, bool)>,
    pub arena_bytes: i64,
    /// Where bytes are known only while it runs, the most that they may be.
    pub buffers: Vec<Buffer<'a>>,
    /// The most bytes alive during one command: no arena for this order is smaller.
    pub live_bytes: i64,
    /// The command during which that is.
    pub peak: usize,
}

pub struct Buffer<'a> {
    pub info: &'a ArenaBuffer,
    pub offset: i64,
    pub bytes: i64,
}

impl Buffer<'_> {
    pub fn is_alive(&self, command: usize) -> bool {
        self.info.start as usize <= command && command <= self.info.end as usize
    }
}

impl<'a> Memory<'a> {
    /// `given` has sizes of some dims, which the model's bounds allow. `None` if sizes overflow.
    pub fn new(m: &'a Manifest, program: &'a TargetProgram, given: &[(Slot, i64)]) -> Option<Memory<'a>> {
        let size = |s: &odc_format::SymbolInfo| match given.iter().find(|(slot, _)| *slot == s.slot) {
            Some((_, size)) => (*size, true),
            None => ((SAMPLE.clamp(s.lo, s.hi) / s.multiple_of.max(1) * s.multiple_of.max(1)).max(s.lo), false),
        };
        let dims: Vec<_> = m.symbols.iter().map(|s| (s, size(s))).collect();
        let known: Vec<_> = dims.iter().map(|(s, (size, _))| (s.slot, *size)).collect();
        let slots = m.shape_program.evaluate_at(&known);
        let at = |s: Slot| slots.get(s.index()).copied().flatten();
        let buffer = |info| Some(Buffer { info, offset: at(info.offset)?, bytes: at(info.bytes)? });
        let buffers: Vec<_> = program.buffers.iter().map(buffer).collect::<Option<_>>()?;
        let live = live_bytes(&buffers, program.commands.len());
        let peak = (0..live.len()).rev().max_by_key(|c| live.get(*c)).unwrap_or(0);
        Some(Memory {
            program,
            dims: dims.into_iter().map(|(s, (size, given))| (s.name.as_str(), size, given)).collect(),
            arena_bytes: at(program.arena_bytes)?,
            live_bytes: live.get(peak).copied().unwrap_or(0),
            peak,
            buffers,
        })
    }

    /// What is alive at the peak, largest first.
    pub fn live(&self) -> Vec<&Buffer<'a>> {
        let mut live: Vec<_> = self.buffers.iter().filter(|b| b.is_alive(self.peak)).collect();
        live.sort_by_key(|b| (-b.bytes, b.info.start));
        live
    }

    /// How much larger the arena is than what is alive at the peak.
    pub fn waste(&self) -> f64 {
        if self.live_bytes == 0 { 0.0 } else { self.arena_bytes as f64 / self.live_bytes as f64 - 1.0 }
    }

    /// "dispatch 12 of 54, @matmul_3 (/conv/Conv + /relu/Relu)".
    pub fn command_text(&self, at: usize) -> String {
        let commands = &self.program.commands;
        let is_dispatch = |c: &&Command| matches!(c, Command::Dispatch(_));
        let of = commands.iter().filter(is_dispatch).count();
        let number = commands.iter().take(at).filter(is_dispatch).count();
        match commands.get(at) {
            Some(Command::Dispatch(d)) => {
                let kernel = self.program.kernels.get(d.kernel as usize).map_or("", |k| &k.name);
                let made = self.buffers.iter().find(|b| b.info.start as usize == at).map_or("", |b| &b.info.name);
                format!("dispatch {number} of {of}, @{kernel}{}", if made.is_empty() { String::new() } else { format!(" making {made}") })
            }
            Some(Command::Copy { .. }) => format!("a copy after dispatch {number} of {of}"),
            Some(_) => format!("control flow after dispatch {number} of {of}"),
            None => "the end".into(),
        }
    }

    pub fn json(&self) -> Value {
        let buffer = |b: &Buffer<'_>| json!({ "name": b.info.name, "offset": b.offset, "bytes": b.bytes, "formula": b.info.bytes_text, "start": b.info.start, "end": b.info.end });
        json!({
            "target": self.program.target, "formula": self.program.peak_text,
            "at": self.dims.iter().map(|(n, v, given)| json!({ "dim": n, "size": v, "given": given })).collect::<Vec<_>>(),
            "arena_bytes": self.arena_bytes, "lower_bound_bytes": self.live_bytes, "above_lower_bound": self.waste(),
            "peak_command": self.peak, "peak": self.command_text(self.peak), "commands": self.program.commands.len(),
            "live": self.live().into_iter().map(buffer).collect::<Vec<_>>(), "buffers": self.buffers.iter().map(buffer).collect::<Vec<_>>(),
        })
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "memory for {}", self.program.target);
        if !self.dims.is_empty() {
            let dims = self.dims.iter().map(|(n, v, given)| format!("{n} = {v}{}", if *given { "" } else { " (not given)" }));
            let _ = writeln!(out, "  at       {}", dims.collect::<Vec<_>>().join(", "));
            let _ = writeln!(out, "  formula  {}", self.program.peak_text);
        }
        let _ = writeln!(
            out,
            "  arena    {}, {:.1} % above the most that is alive at once, {}",
            bytes(self.arena_bytes),
            self.waste() * 100.0,
            bytes(self.live_bytes)
        );
        let _ = writeln!(out, "  peak     {}", self.command_text(self.peak));
        for b in self.live() {
            let formula = if self.dims.is_empty() { String::new() } else { format!(" = {}", b.info.bytes_text) };
            let end = if b.info.end as usize >= self.program.commands.len() { "the end".into() } else { format!("command {}", b.info.end) };
            let _ =
                writeln!(out, "  {:>12}  command {} to {end}  {}{formula}", show::bytes(b.bytes.max(0) as u64), b.info.start, b.info.name);
        }
        out.truncate(out.trim_end().len());
        out
    }
}

fn bytes(n: i64) -> String {
    format!("{n} bytes")
}

/// Bytes alive during each command.
fn live_bytes(buffers: &[Buffer<'_>], commands: usize) -> Vec<i64> {
    let mut change = vec![0i64; commands + 2];
    for b in buffers {
        if let Some(c) = change.get_mut(b.info.start as usize) {
            *c = c.saturating_add(b.bytes);
        }
        if let Some(c) = change.get_mut(b.info.end as usize + 1) {
            *c = c.saturating_sub(b.bytes);
        }
    }
    change.truncate(commands.max(1));
    let mut live = 0i64;
    change
        .into_iter()
        .map(|c| {
            live = live.saturating_add(c);
            live
        })
        .collect()
}
