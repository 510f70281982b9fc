//! The URL of a link, and the short form that a node takes (spec/links.md, section 1).

use std::fmt;

use zeroize::Zeroizing;

use super::{LinkError, LinkId, LinkSecret};

/// Longest URL of a link, bytes.
pub const LINK_URL_LEN_MAX: usize = 2048;
/// Between the gateway's address and the id.
const PATH: &str = "/s/";

/// A link as people send it. `Debug` shows no secret, and there is no `Display`, so that it does not end up
/// in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkUrl {
    base: Option<String>,
    /// The link.
    pub id: LinkId,
    /// Its secret.
    pub secret: LinkSecret,
}

impl fmt::Debug for LinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkUrl({}#..)", self.public_text())
    }
}

/// `http://` or `https://`, a host, perhaps a port and a path; no user, query or fragment, and no slash at
/// the end.
fn check_base(base: &str) -> Result<(), LinkError> {
    let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
    let rest = rest.ok_or(LinkError::Url("its address starts with neither https:// nor http://"))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    if rest.is_empty() || rest.starts_with(['/', ':']) || rest.ends_with('/') || !rest.bytes().all(allowed) {
        return Err(LinkError::Url("its address is not that of a gateway"));
    }
    Ok(())
}

impl LinkUrl {
    /// Puts a link together. `base` is a gateway's address, `https://…` or `http://…`, without a slash at
    /// its end; without one the text is `ID#SECRET`, which a node takes.
    ///
    /// # Errors
    /// [`LinkError::Url`].
    pub fn new(base: Option<&str>, id: LinkId, secret: LinkSecret) -> Result<Self, LinkError> {
        if let Some(base) = base {
            check_base(base)?;
        }
        let url = Self { base: base.map(str::to_owned), id, secret };
        if url.text().len() > LINK_URL_LEN_MAX {
            return Err(LinkError::Url("it is longer than 2,048 bytes"));
        }
        Ok(url)
    }

    /// Strict inverse of [`LinkUrl::text`]. White space is not removed.
    ///
    /// # Errors
    /// [`LinkError::Url`] with the first reason found.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        if text.len() > LINK_URL_LEN_MAX {
            return Err(LinkError::Url("it is longer than 2,048 bytes"));
        }
        let (address, secret) =
            text.split_once('#').ok_or(LinkError::Url("nothing stands after a # sign in it"))?;
        let (base, id) = match address.rsplit_once(PATH) {
            Some((base, id)) => (Some(base), id),
            None if address.contains('/') => {
                return Err(LinkError::Url("its address has no /s/ before the link's id"));
            }
            None => (None, address),
        };
        Self::new(base, id.parse()?, LinkSecret::from_text(secret)?)
    }

    /// The gateway that the link names, if it names one.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Everything before the # sign: it may be logged, and gives nothing away but which link it is.
    pub fn public_text(&self) -> String {
        match &self.base {
            Some(base) => format!("{base}{PATH}{}", self.id),
            None => self.id.to_string(),
        }
    }

    /// The whole link, secret included.
    pub fn text(&self) -> Zeroizing<String> {
        let (public, secret) = (self.public_text(), self.secret.to_text());
        // Room for all of it: growing would leave the secret behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(public.len() + 1 + secret.len()));
        text.push_str(&public);
        text.push('#');
        text.push_str(&secret);
        text
    }
}
