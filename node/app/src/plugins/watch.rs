//! What happens to plugins by themselves: loading at the start, hot reload when a file changes, saving
//! what they remember.
//!
//! Invariant: a file is loaded when it looked the same at two looks in a row, so that one that is still
//! being written is not taken for a damaged one. Runs off the runtime's threads, where compiling may take
//! its time.

use std::sync::Arc;
use std::time::Duration;

use super::{PluginError, Plugins, Post, lock};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What plugins remember is saved once in so many looks.
const SAVE_EVERY: u32 = 60;
/// How long the start of a node waits for plugins; they are loaded on after it.
const START_PATIENCE: Duration = Duration::from_secs(10);

impl Plugins {
    /// Loads what is enabled. What does not load is a problem that the operator sees.
    pub fn start(&self) {
        let _one = self.one_change();
        if let Err(why) = self.read_active() {
            tracing::warn!("{why}");
        }
        for post in self.posts.values() {
            let name = post.now().name.clone();
            if let Some(name) = name {
                // Noted, and in the log.
                let _ = self.load(post.kind, &name);
            }
        }
    }

    /// The same off the runtime's threads; waits a while for it, so that a node with plugins does not
    /// begin without them when they load as fast as most do.
    pub async fn start_soon(self: &Arc<Self>) {
        let plugins = self.clone();
        let starting = tokio::task::spawn_blocking(move || plugins.start());
        if tokio::time::timeout(START_PATIENCE, starting).await.is_err() {
            tracing::warn!("plugins are still being loaded; the default decides until then");
        }
    }

    /// Reads what is enabled, on a data directory on which no node runs, and loads nothing.
    ///
    /// # Errors
    /// When `active.toml` cannot be read.
    pub fn open_at_rest(&self) -> Result<(), PluginError> {
        self.read_active()
    }

    /// Saves what plugins remember.
    pub fn save(&self) {
        let _one = self.one_change();
        self.posts.values().for_each(|post| self.save_state(post));
    }

    /// Loads again what has changed on disk.
    fn look(&self) {
        let _one = self.one_change();
        if self.active_changed() {
            let before: Vec<_> = self.posts.values().map(|post| post.now().name.clone()).collect();
            if let Err(why) = self.read_active() {
                tracing::warn!("{why}");
            }
            for (post, before) in self.posts.values().zip(before) {
                let name = post.now().name.clone();
                if let Some(name) = name.filter(|name| before.as_ref() != Some(name)) {
                    let _ = self.load(post.kind, &name);
                }
            }
        }
        for post in self.posts.values() {
            if let Some(name) = self.changed(post) {
                let _ = self.load(post.kind, &name);
            }
        }
    }

    /// Name of the enabled plugin of which a file has changed and looks the same at two looks.
    fn changed(&self, post: &Post) -> Option<String> {
        let mut now = post.now();
        let prints = self.shelf.print(now.name.as_deref()?);
        if now.prints == Some(prints) {
            now.changed = None;
            return None;
        }
        if now.changed == Some(prints) {
            return now.name.clone();
        }
        now.changed = Some(prints);
        None
    }

    fn active_changed(&self) -> bool {
        let print = self.shelf.active_print();
        let mut active = lock(&self.active);
        let (known, changed) = *active;
        *active = (known, (print != known).then_some(print));
        print != known && changed == Some(print)
    }

    /// `active.toml` is what this node has written.
    pub(super) fn active_is_known(&self) {
        *lock(&self.active) = (self.shelf.active_print(), None);
        *lock(&self.misread) = None;
    }

    /// Reads which plugins are enabled. Who is not enabled any more leaves its seat; a file that cannot
    /// be read changes nothing.
    pub(super) fn read_active(&self) -> Result<(), PluginError> {
        *lock(&self.active) = (self.shelf.active_print(), None);
        let read = self.shelf.active();
        *lock(&self.misread) = read.as_ref().err().map(ToString::to_string);
        let active = read?;
        for post in self.posts.values() {
            let name = active.get(&post.kind);
            if post.now().name.as_ref() != name {
                self.vacate(post);
                post.now().name = name.cloned();
            }
        }
        Ok(())
    }
}

/// Looks at the files of plugins and saves what they remember, until it is dropped.
pub async fn look_forever(plugins: Arc<Plugins>) {
    for turn in 1_u32.. {
        tokio::time::sleep(LOOK_EVERY).await;
        let plugins = plugins.clone();
        let looked = tokio::task::spawn_blocking(move || {
            plugins.look();
            if turn.is_multiple_of(SAVE_EVERY) {
                plugins.save();
            }
        });
        if looked.await.is_err() {
            tracing::error!("the files of plugins could not be looked at: an internal task failed");
        }
    }
}
