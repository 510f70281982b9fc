//! PLUGIN_NAME: how data travels.
#![no_std]

use commonhold_plugin::time::Window;
use commonhold_plugin::transport::*;

/// Within `hours` (like "mon-fri 08:00-18:00") chunks go out with at most `upload` bytes per second
/// (default 1 MiB); otherwise as fast as they can.
struct Policy;

impl Transport for Policy {
    fn limit(now: Moment, _traffic: Traffic) -> Limits {
        let busy = config::get("hours", Window::ALWAYS).contains(&now);
        let upload = if busy { config::bytes("upload", 1 << 20) } else { 0 };
        Limits { upload, download: 0 }
    }
}

commonhold_plugin::export_transport!(Policy, log);

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    #[test]
    fn uploads_are_slow_in_office_hours() {
        let _host = Host::new().config("hours", "mon-fri 08:00-18:00").config("upload", "200 KB");
        let upload = |moment| Policy::limit(moment, Traffic::default()).upload;
        assert_eq!(upload(Moment::at(0, 9, 0)), 200_000);
        assert_eq!(upload(Moment::at(0, 18, 0)), 0);
        assert_eq!(upload(Moment::at(6, 9, 0)), 0);
    }
}
