//! The built-in default of transport as a plugin: what the trait's own functions do.
#![no_std]

use commonhold_plugin::transport::Transport;

struct Default;

impl Transport for Default {}

commonhold_plugin::export_transport!(Default);
