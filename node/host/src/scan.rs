//! What a component imports and how much its code would cost to compile, read before anything is
//! compiled.
//!
//! Invariant: one walk over at most a plugin's bytes, without memory of its own in proportion to them.
//! What it is not: validation. The compiler validates; what it would not take may pass here.

use wasmparser::{Operator, Parser, Payload};

use crate::fault::clip;
use crate::load::Refused;

/// Most functions of all modules of a component. A JavaScript engine has about 20,000.
pub(crate) const FUNCTIONS_MAX: u64 = 60_000;
/// Largest function, bytes of WebAssembly: how long one takes grows faster than its size.
pub(crate) const FUNCTION_LEN_MAX: u64 = 256 << 10;
/// Most code of all functions together, bytes.
pub(crate) const CODE_LEN_MAX: u64 = 12 << 20;
/// Most branches of all tables of branches together, which take few bytes each and make much code.
pub(crate) const BRANCHES_MAX: u64 = 500_000;

/// Names of what the component itself imports.
///
/// # Errors
/// [`Refused::Code`]: it cannot be read, or would take too long to compile.
pub(crate) fn imports(component: &[u8]) -> Result<Vec<String>, Refused> {
    let broken = |error: wasmparser::BinaryReaderError| Refused::Code(clip(&error.to_string()));
    let mut imports = Vec::new();
    let (mut depth, mut functions, mut code, mut branches) = (0_u32, 0, 0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(broken)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::CodeSectionStart { count, .. } => {
                functions += u64::from(count);
                bound("functions", functions, FUNCTIONS_MAX)?;
            }
            Payload::CodeSectionEntry(body) => {
                let len = body.as_bytes().len() as u64;
                bound("bytes of code in one function", len, FUNCTION_LEN_MAX)?;
                code += len;
                bound("bytes of code", code, CODE_LEN_MAX)?;
                let mut operators = body.get_operators_reader().map_err(broken)?;
                while !operators.eof() {
                    if let Operator::BrTable { targets } = operators.read().map_err(broken)? {
                        branches += u64::from(targets.len());
                        bound("branches in tables", branches, BRANCHES_MAX)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(imports)
}

fn bound(what: &str, found: u64, max: u64) -> Result<(), Refused> {
    if found <= max {
        return Ok(());
    }
    Err(Refused::Code(format!(
        "it has {found} {what}, at most {max} are compiled: leave out what it does not need"
    )))
}
