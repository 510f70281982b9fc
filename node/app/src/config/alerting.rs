//! Whom a node tells what its operator should know at once.

use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;
use serde::Deserialize;

use super::Span;

/// Table `[alerts]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Where messages are sent; nowhere without it.
    pub url: Option<HookUrl>,
    /// The name of the header that carries the secret.
    pub secret_header: String,
    /// The file whose first line is the secret; relative to the data directory.
    pub secret_file: Option<PathBuf>,
    /// How long a condition has to be so, or not to be so, before it is told.
    pub settle: Span,
    /// Percent of the lent disk from which on it is said to be filling.
    pub disk_percent: u8,
    /// After how long without a request a provider is silent.
    pub silent_after: Span,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            url: None,
            secret_header: "Authorization".to_owned(),
            secret_file: None,
            settle: Span(60),
            disk_percent: 90,
            silent_after: Span(3600),
        }
    }
}

/// An address of http or https, without a name and password. What shows it to people shows its host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(Uri);

impl std::fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HookUrl({}://{}/..)", if self.is_https() { "https" } else { "http" }, self.authority())
    }
}

impl<'de> Deserialize<'de> for HookUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for HookUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What is wrong is not repeated: the address may be a secret.
        let refused =
            || "url is not an address for alerts; write it like \"https://example.org/hook\"".to_owned();
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().filter(|it| !it.as_str().contains('@')).ok_or_else(refused)?;
        if !is_web || authority.host().is_empty() || text.contains('#') {
            return Err(refused());
        }
        Ok(Self(uri))
    }
}

impl HookUrl {
    /// Is it https?
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Host and port as they stand there.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |it| it.as_str())
    }

    /// Whom to connect to. An IPv6 address is without its brackets.
    pub fn host_and_port(&self) -> (&str, u16) {
        let host = self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        (host, self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 }))
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        self.0.path_and_query().map_or("/", |it| it.as_str())
    }

    /// As it stands in the configuration.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_taken_and_shown_by_their_host() {
        let url: HookUrl = "https://example.org/services/T0/B0?x=secret".parse().unwrap();
        assert_eq!((url.host_and_port(), url.path()), (("example.org", 443), "/services/T0/B0?x=secret"));
        assert!(url.is_https() && !format!("{url:?}").contains("secret"));
        let url: HookUrl = "http://[::1]:8080".parse().unwrap();
        assert_eq!((url.host_and_port(), url.path()), (("::1", 8080), "/"));
        for text in [
            "",
            "example.org",
            "/hook",
            "ftp://example.org",
            "https://",
            "http://a:b@example.org/",
            "https://example.org/#x",
            "file:///etc/passwd",
        ] {
            let why = text.parse::<HookUrl>().unwrap_err();
            assert!(why.contains("https://example.org/hook"), "{text}");
        }
    }
}
