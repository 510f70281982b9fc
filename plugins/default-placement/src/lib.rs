//! The built-in default of placement as a plugin: what the trait's own functions do.
#![no_std]

use commonhold_plugin::placement::Placement;

struct Default;

impl Placement for Default {}

commonhold_plugin::export_placement!(Default);
