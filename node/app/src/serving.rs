//! What a node serves beside the local API: pages of links, S3, and what those need who watch it.
//!
//! Invariant: addresses are bound before the node says that it is ready, so that one which is taken is an
//! error that somebody reads.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use commonhold_gateway::{S3Options, serve_health, serve_links, serve_s3};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::config::Config;
use crate::datadir::Places;
use crate::links::Links;
use crate::s3_keys::S3Keys;

/// Bound, and not served yet.
pub struct Served {
    gateway: Option<TcpListener>,
    s3: Option<TcpListener>,
    metrics: Option<TcpListener>,
    /// Where pages of links are served, if they are.
    pub gateway_url: Option<String>,
    /// Where S3 is served, if it is.
    pub s3_url: Option<String>,
    /// Its access keys.
    pub s3_keys: Arc<S3Keys>,
}

impl Served {
    /// Binds the addresses of the configuration.
    ///
    /// # Errors
    /// A sentence that names the address and the table to change.
    pub async fn bind(config: &Config, places: &Places) -> Result<Self> {
        let bind = async |address: Option<SocketAddr>, what: &str, table: &str| match address {
            None => Ok(None),
            Some(address) => TcpListener::bind(address).await.map(Some).with_context(|| {
                let file = places.config();
                format!(
                    "{what} cannot be served on {address}: set another address under [{table}] in {}",
                    file.display()
                )
            }),
        };
        let gateway = bind(config.gateway.listen, "the pages of links", "gateway").await?;
        let s3_listen = config.s3.listen.map(|listen| listen.0).filter(|_| config.owner.enabled);
        let s3 = bind(s3_listen, "S3", "s3").await?;
        let metrics = bind(config.metrics.listen, "what watches the node", "metrics").await?;
        let url = |listener: &Option<TcpListener>| -> Result<Option<String>> {
            listener.as_ref().map(|it| Ok(format!("http://{}", it.local_addr()?))).transpose()
        };
        Ok(Self {
            gateway_url: url(&gateway)?,
            s3_url: url(&s3)?,
            gateway,
            s3,
            metrics,
            s3_keys: Arc::new(S3Keys::open(places.dir())?),
        })
    }

    /// Where pages of links are served.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until the tasks are ended.
    pub fn run(self, tasks: &mut JoinSet<()>, config: &Config, links: Arc<Links>, api: Arc<Api>) {
        if let Some(listener) = self.gateway {
            let counts = api.interfaces.gateway.clone();
            tasks.spawn(serve_links(
                listener,
                links,
                config.gateway.budgets(),
                counts,
                std::future::pending(),
            ));
        }
        if let Some(listener) = self.s3 {
            let options = S3Options { counts: api.interfaces.s3.clone(), ..S3Options::default() };
            tasks.spawn(serve_s3(listener, api.clone(), self.s3_keys, options, std::future::pending()));
        }
        if let Some(listener) = self.metrics {
            let (names, counts) = (config.metrics.names.clone(), api.interfaces.metrics.clone());
            tasks.spawn(serve_health(listener, api, names, counts, std::future::pending()));
        }
    }
}
