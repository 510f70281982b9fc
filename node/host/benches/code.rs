//! Components that are nothing but code, to see how long compiling takes.

use commonhold_format::policy::package::leb128;

/// A length or number of entries.
fn leb(len: usize) -> Vec<u8> {
    leb128(u32::try_from(len).unwrap_or(u32::MAX))
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(contents.len()), contents].concat()
}

/// A component with one module of `functions` functions with that body, which takes and gives nothing
/// and has 8 locals of i32 and 8 of f64.
fn component(functions: usize, body: &[u8]) -> Vec<u8> {
    let body = [&[2, 8, 0x7f, 8, 0x7c][..], body, &[0x0b]].concat();
    let one = [leb(body.len()), body].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[leb(functions), vec![0; functions]].concat()),
        section(5, &[1, 0, 1]),
        section(10, &[leb(functions), one.repeat(functions)].concat()),
    ]
    .concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
}

/// Names, and code of about `len` bytes in functions of `function` bytes each.
pub fn samples(len: usize, function: usize) -> Vec<(&'static str, Vec<u8>)> {
    let fill = |piece: &[u8]| component((len / function).max(1), &piece.repeat(function / piece.len()));
    // local.get 0, if, local.get 1, i32.load, local.set 1, end
    let branches = fill(&[0x20, 0, 0x04, 0x40, 0x20, 1, 0x28, 2, 0, 0x21, 1, 0x0b]);
    // f64.sqrt many times over, each with its NaN made canonical
    let floats = fill(&[[0x20, 8].as_slice(), &[0x9f; 60], &[0x21, 8]].concat());
    // call 0
    let calls = fill(&[0x10, 0]);
    // block, local.get 0, br_table of 60 times the same, end
    let tables = fill(&[&[0x02, 0x40, 0x20, 0, 0x0e, 60][..], &[0; 61], &[0x0b]].concat());
    vec![("branches", branches), ("floats", floats), ("calls", calls), ("tables", tables)]
}
