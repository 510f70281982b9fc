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
