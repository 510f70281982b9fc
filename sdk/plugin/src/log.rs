//! Lines for the operator; needs the capability `log`.
//!
//! At most 16 lines of 256 bytes in a call are kept.

fn write(level: u32, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::shared::commonhold::policy::log::write(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    crate::test::write(level, message);
}

/// For whoever develops the plugin.
pub fn debug(message: &str) {
    write(0, message);
}

/// Good to know.
pub fn info(message: &str) {
    write(1, message);
}

/// Something is not as it should be.
pub fn warning(message: &str) {
    write(2, message);
}

/// Something does not work.
pub fn error(message: &str) {
    write(3, message);
}
