//! Who decides in this node: one policy for each world, asked by the rooms through `Policy`.

use std::sync::Arc;

use commonhold_format::policy::Policy;

/// One policy for each world; cheap to clone.
#[derive(Clone)]
pub struct Policies {
    /// Where chunks go.
    pub placement: Arc<dyn Policy>,
    /// How data travels.
    pub transport: Arc<dyn Policy>,
    /// What things cost.
    pub pricing: Arc<dyn Policy>,
}

#[cfg(test)]
impl Policies {
    /// The built-in defaults, as a node without plugins has them.
    pub fn built_in() -> Self {
        let it: Arc<dyn Policy> = Arc::new(commonhold_engine::policy::BuiltIn);
        Self { placement: it.clone(), transport: it.clone(), pricing: it }
    }
}
