//! A static library `.a` of one object: the System V format with a symbol index, as GNU tools write it.

use crate::{ObjectFormat, StaticError, model_symbol};

/// `object` as the library of one model; `name` as for `write_object`.
pub fn archive(object: &[u8], name: &str, format: ObjectFormat) -> Result<Vec<u8>, StaticError> {
    if format != ObjectFormat::Elf {
        return Err(StaticError::Archive(format));
    }
    let mut out = b"!<arch>\n".to_vec();
    // The index: number of symbols, offset of each one's member, names; big-endian.
    let symbol = model_symbol(name);
    let index_len = 4 + 4 + symbol.len() + 1;
    let member_at = out.len() + HEADER + index_len.next_multiple_of(2);
    let mut index = Vec::with_capacity(index_len);
    index.extend(1u32.to_be_bytes());
    index.extend((member_at as u32).to_be_bytes());
    index.extend(symbol.as_bytes());
    index.push(0);
    member(&mut out, "/", &index);
    member(&mut out, "model.o/", object);
    Ok(out)
}

const HEADER: usize = 60;

/// No time, no owner: the same object gives the same library.
fn member(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
    out.extend(header.as_bytes());
    out.extend(content);
    if content.len() % 2 == 1 {
        out.push(b'\n');
    }
}
