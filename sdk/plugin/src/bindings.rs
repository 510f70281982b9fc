//! What wit-bindgen makes of spec/wit/v0.1: records, imports, and the glue of the exports.
//!
//! Each world has a module of its own, and all three share the records of `types` and the imports. The
//! description of a world goes into a component only where its `export!` is used, so a placement plugin
//! exports `placement` and nothing else; imports that a plugin does not call are left out.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used)]

pub mod shared {
    wit_bindgen::generate!({
        inline: "
            package commonhold:guest;
            world shared {
                import commonhold:policy/types@0.1.0;
                import commonhold:policy/config@0.1.0;
                import commonhold:policy/log@0.1.0;
                import commonhold:policy/state@0.1.0;
            }
        ",
        path: "../../spec/wit/v0.1",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
        runtime_path: "::commonhold_plugin::rt",
    });
}

macro_rules! world {
    ($module:ident, $world:literal, $bindings:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../spec/wit/v0.1",
                world: $world,
                with: {
                    "commonhold:policy/types@0.1.0": crate::bindings::shared::commonhold::policy::types,
                    "commonhold:policy/config@0.1.0": crate::bindings::shared::commonhold::policy::config,
                    "commonhold:policy/log@0.1.0": crate::bindings::shared::commonhold::policy::log,
                    "commonhold:policy/state@0.1.0": crate::bindings::shared::commonhold::policy::state,
                },
                pub_export_macro: true,
                default_bindings_module: $bindings,
                additional_derives: [PartialEq, Eq],
                runtime_path: "::commonhold_plugin::rt",
            });
        }
    };
}

world!(placement, "placement-policy", "commonhold_plugin::bindings::placement");
world!(transport, "transport-policy", "commonhold_plugin::bindings::transport");
world!(pricing, "pricing-policy", "commonhold_plugin::bindings::pricing");
