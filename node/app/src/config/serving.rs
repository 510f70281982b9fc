//! What a node serves beside the local API: links to everybody, S3 to the programs of its owner, and whether it
//! is well to what watches it.

use std::net::SocketAddr;

use commonhold_gateway::{Budgets, Rate};
use serde::Deserialize;

use super::{ByteSize, LoopbackAddress};

/// Table `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where pages of links are served to everybody; nowhere without it. Port 0 takes any free port.
    pub listen: Option<SocketAddr>,
    /// How others reach that, like `https://drive.example.org`: what links of this node begin with.
    pub base: Option<String>,
    /// Bytes a second for one client.
    pub client_rate: ByteSize,
    /// Bytes a second for one link.
    pub link_rate: ByteSize,
    /// Largest file that a drop box takes.
    pub drop_max: ByteSize,
    /// Whether a web server in front of this one says who the client is.
    pub trust_proxy: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: None,
            base: None,
            client_rate: ByteSize(16 << 20),
            link_rate: ByteSize(64 << 20),
            drop_max: ByteSize(4 << 30),
            trust_proxy: false,
        }
    }
}

impl GatewayConfig {
    /// As the gateway takes them. Half a minute's worth may be drawn at once.
    pub fn budgets(&self) -> Budgets {
        let rate = |per_second: u64| Rate {
            per_second: per_second.max(1),
            burst: per_second.max(1).saturating_mul(32),
        };
        Budgets {
            per_client: rate(self.client_rate.0),
            per_link: rate(self.link_rate.0),
            // Sealed, a file is a little longer.
            deposit_len_max: self.drop_max.0.saturating_add(self.drop_max.0 / 64).saturating_add(8 << 10),
            trust_proxy: self.trust_proxy,
        }
    }

    /// What links begin with when nobody says otherwise.
    pub fn link_base(&self, listening: Option<SocketAddr>) -> String {
        match (&self.base, listening) {
            (Some(base), _) => base.trim_end_matches('/').to_owned(),
            (None, Some(address)) if !address.ip().is_unspecified() => format!("http://{address}"),
            (None, Some(address)) => format!("http://127.0.0.1:{}", address.port()),
            // Any node's gateway opens them.
            (None, None) => "http://127.0.0.1:4780".to_owned(),
        }
    }
}

/// Table `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where `/healthz`, `/readyz` and `/metrics` are served beside the local API's address; nowhere without
    /// it. Port 0 takes any free port.
    pub listen: Option<SocketAddr>,
    /// Names, beside addresses and `localhost`, by which that may be asked.
    pub names: Vec<String>,
}

/// Table `[s3]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// Loopback address of the S3 interface; off without it. Port 0 takes any free port.
    pub listen: Option<LoopbackAddress>,
}
