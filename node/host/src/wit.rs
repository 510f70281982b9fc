//! The bindings of spec/wit/v0.1, one module for each world.
//!
//! Invariant: nothing is written here by hand, so that the components which load are those that the WIT
//! describes. One folder of WIT and one set of these modules for each version that is not compatible.
#![allow(missing_docs)]

/// World `placement-policy`.
pub(crate) mod placement {
    wasmtime::component::bindgen!({ path: "../../spec/wit/v0.1", world: "placement-policy" });
}

/// World `transport-policy`.
pub(crate) mod transport {
    wasmtime::component::bindgen!({
        path: "../../spec/wit/v0.1",
        world: "transport-policy",
        with: {
            "commonhold:policy/types@0.1.0": super::placement::commonhold::policy::types,
            "commonhold:policy/config@0.1.0": super::placement::commonhold::policy::config,
            "commonhold:policy/log@0.1.0": super::placement::commonhold::policy::log,
            "commonhold:policy/state@0.1.0": super::placement::commonhold::policy::state,
        },
    });
}

/// World `pricing-policy`.
pub(crate) mod pricing {
    wasmtime::component::bindgen!({
        path: "../../spec/wit/v0.1",
        world: "pricing-policy",
        with: {
            "commonhold:policy/types@0.1.0": super::placement::commonhold::policy::types,
            "commonhold:policy/config@0.1.0": super::placement::commonhold::policy::config,
            "commonhold:policy/log@0.1.0": super::placement::commonhold::policy::log,
            "commonhold:policy/state@0.1.0": super::placement::commonhold::policy::state,
        },
    });
}

pub(crate) use placement::commonhold::policy::{config, log, state, types};
