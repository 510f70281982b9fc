//! The built-in default of pricing as a plugin: what the trait's own functions do.
#![no_std]

use commonhold_plugin::pricing::Pricing;

struct Default;

impl Pricing for Default {}

commonhold_plugin::export_pricing!(Default);
