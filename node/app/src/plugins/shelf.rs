//! The folder `plugins` of a data directory: `NAME/{plugin.wasm,grant.toml,state.bin}` and `active.toml`
//! (spec/plugins.md, "In a data directory").
//!
//! Invariant: a name that gets here is one step of a path, no symbolic link in the folder is followed,
//! only regular files of bounded length are read, and what is written is private to its user and there
//! whole or not at all. Not here: what the files mean, and who may change them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use commonhold_client::types::PLUGIN_LEN_MAX;
use commonhold_format::policy::Kind;
use commonhold_format::statement::is_policy_name;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Deserialize;

use super::PluginError;
use crate::config::parse_strict;
use crate::datadir::{Places, write_durably};

/// Longest `grant.toml` and `active.toml`, bytes: all settings at their longest, written with escapes.
const TEXT_LEN_MAX: usize = 1 << 20;
/// Longest `state.bin`, bytes; longer than any state.
const STATE_LEN_MAX: usize = 1 << 17;
/// Folders that are looked at.
const PLUGINS_MAX: usize = 256;
/// The plugin's file in its folder.
pub const FILE: &str = "plugin.wasm";
/// Its grant.
pub const GRANT: &str = "grant.toml";
/// What it remembers.
const STATE: &str = "state.bin";
/// Which plugins are enabled.
const ACTIVE: &str = "active.toml";

/// Which plugin the operator enabled for each kind.
pub type Active = BTreeMap<Kind, String>;

/// Names of what is no plugin's folder, and what is wrong with each.
pub type Strange = Vec<(String, String)>;

/// How a file looked; another one, or other contents, look differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Print(Option<[u64; 6]>);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shelf(PathBuf);

/// `active.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    placement: Option<String>,
    transport: Option<String>,
    pricing: Option<String>,
}

impl Shelf {
    /// Of a data directory.
    pub fn new(places: &Places) -> Self {
        Self(places.plugins())
    }

    /// Where a plugin's file is, for people.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name).join(FILE)
    }

    /// Names of the plugins that are there, ascending; and what else is in the folder, with what is wrong.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<(Vec<String>, Strange), PluginError> {
        let (mut names, mut strange) = (Vec::new(), Vec::new());
        match self.folder(None) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((names, strange)),
            Err(error) => return Err(self.failed(&self.0, &error)),
        }
        let entries = fs::read_dir(&self.0).map_err(|error| self.failed(&self.0, &error))?;
        for entry in entries.take(PLUGINS_MAX) {
            let entry = entry.map_err(|error| self.failed(&self.0, &error))?;
            let kind = entry.file_type().map_err(|error| self.failed(&self.0, &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match (is_policy_name(&name), kind.is_dir()) {
                (true, true) => names.push(name),
                (true, false) => strange.push((name, "it is not a folder, and is not followed".to_owned())),
                (false, true) => strange.push((name, "no plugin can have this name".to_owned())),
                // active.toml, and what an interrupted write left.
                (false, false) => {}
            }
        }
        names.sort();
        strange.sort();
        Ok((names, strange))
    }

    /// Which plugins are enabled.
    ///
    /// # Errors
    /// [`PluginError::Refused`] names the line that is not as it must be.
    pub fn active(&self) -> Result<Active, PluginError> {
        let Some(text) = self.text(None, ACTIVE)? else { return Ok(Active::new()) };
        let written: Written = parse_strict(&text).map_err(|why| self.refused(&self.0.join(ACTIVE), &why))?;
        let Written { placement, transport, pricing } = written;
        let rows = [(Kind::Placement, placement), (Kind::Transport, transport), (Kind::Pricing, pricing)];
        let mut active = Active::new();
        for (kind, name) in rows {
            let Some(name) = name else { continue };
            if !is_policy_name(&name) {
                let why = format!("{kind}: a plugin's name is 1 to 40 of a-z, 0-9 and -, a letter first");
                return Err(self.refused(&self.0.join(ACTIVE), &why));
            }
            active.insert(kind, name);
        }
        Ok(active)
    }

    /// Writes which plugins are enabled.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn set_active(&self, active: &Active) -> Result<(), PluginError> {
        let mut text = String::from(
            "# Which plugin decides; the built-in default where none is named. Change it with `commonhold plugin`.\n",
        );
        for (kind, name) in active {
            text.push_str(&format!("{kind} = \"{name}\"\n"));
        }
        self.make(None)?;
        self.write(None, ACTIVE, text.as_bytes())
    }

    /// The plugin's file.
    ///
    /// # Errors
    /// [`PluginError::NotFound`] when there is none.
    pub fn plugin(&self, name: &str) -> Result<Vec<u8>, PluginError> {
        self.read(Some(name), FILE, PLUGIN_LEN_MAX)?.ok_or_else(|| self.missing(name, FILE))
    }

    /// Its grant's text.
    ///
    /// # Errors
    /// [`PluginError::NotFound`] when there is none.
    pub fn grant(&self, name: &str) -> Result<String, PluginError> {
        self.text(Some(name), GRANT)?.ok_or_else(|| self.missing(name, GRANT))
    }

    /// What it remembers, if anything.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self, name: &str) -> Result<Option<Vec<u8>>, PluginError> {
        self.read(Some(name), STATE, STATE_LEN_MAX)
    }

    /// Whether there is a folder of this name.
    pub fn has(&self, name: &str) -> bool {
        self.folder(Some(name)).is_ok()
    }

    /// Puts a plugin and its grant there.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn put(&self, name: &str, file: &[u8], grant: &str) -> Result<(), PluginError> {
        self.make(None)?;
        self.make(Some(name))?;
        self.write(Some(name), FILE, file)?;
        self.set_grant(name, grant)
    }

    /// Writes a grant.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn set_grant(&self, name: &str, grant: &str) -> Result<(), PluginError> {
        self.write(Some(name), GRANT, grant.as_bytes())
    }

    /// Writes what a plugin remembers.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn set_state(&self, name: &str, state: &[u8]) -> Result<(), PluginError> {
        self.write(Some(name), STATE, state)
    }

    /// Removes a plugin's folder. A symbolic link of that name is removed itself.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn remove(&self, name: &str) -> Result<(), PluginError> {
        self.folder(None).map_err(|error| self.failed(&self.0, &error))?;
        let path = self.0.join(name);
        fs::remove_dir_all(&path).map_err(|error| self.failed(&path, &error))
    }

    /// How the files look that decide what is loaded of a plugin.
    pub fn print(&self, name: &str) -> [Print; 2] {
        let look =
            |file| Print(self.open(Some(name), file).ok().and_then(|it| it.metadata().ok()).map(marks));
        [look(FILE), look(GRANT)]
    }

    /// How `active.toml` looks.
    pub fn active_print(&self) -> Print {
        Print(self.open(None, ACTIVE).ok().and_then(|it| it.metadata().ok()).map(marks))
    }

    /// The folder itself, or one in it; a symbolic link is none.
    fn folder(&self, name: Option<&str>) -> io::Result<File> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let all = openat(CWD, &self.0, flags, Mode::empty())?;
        match name {
            None => Ok(all.into()),
            Some(name) => Ok(openat(&all, name, flags, Mode::empty())?.into()),
        }
    }

    /// A file in a folder. Not blocked by one that is a pipe, which is then refused.
    fn open(&self, name: Option<&str>, file: &str) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let found: File = openat(self.folder(name)?, file, flags, Mode::empty())?.into();
        if found.metadata()?.is_file() { Ok(found) } else { Err(io::Error::other("it is no regular file")) }
    }

    fn read(&self, name: Option<&str>, file: &str, max: usize) -> Result<Option<Vec<u8>>, PluginError> {
        let path = self.path(name, file);
        let found = match self.open(name, file) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&path, &error)),
        };
        let mut bytes = Vec::new();
        found.take(max as u64 + 1).read_to_end(&mut bytes).map_err(|error| self.failed(&path, &error))?;
        if bytes.len() > max {
            return Err(self.refused(&path, &format!("it has more than {max} bytes")));
        }
        Ok(Some(bytes))
    }

    fn text(&self, name: Option<&str>, file: &str) -> Result<Option<String>, PluginError> {
        let Some(bytes) = self.read(name, file, TEXT_LEN_MAX)? else { return Ok(None) };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| self.refused(&self.path(name, file), "it is not UTF-8 text"))
    }

    fn make(&self, name: Option<&str>) -> Result<(), PluginError> {
        let path = name.map_or_else(|| self.0.clone(), |name| self.0.join(name));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.failed(&path, &error)),
        }
        self.folder(name).map(drop).map_err(|error| self.failed(&path, &error))
    }

    fn write(&self, name: Option<&str>, file: &str, bytes: &[u8]) -> Result<(), PluginError> {
        let path = self.path(name, file);
        self.folder(name).map_err(|error| self.failed(&path, &error))?;
        // What an interrupted write left, or a link that would be written through.
        let _ = fs::remove_file(path.with_extension("partial"));
        write_durably(&path, bytes, 0o600).map_err(|error| PluginError::Disk(error.to_string()))
    }

    fn path(&self, name: Option<&str>, file: &str) -> PathBuf {
        name.map_or_else(|| self.0.clone(), |name| self.0.join(name)).join(file)
    }

    fn missing(&self, name: &str, file: &str) -> PluginError {
        if self.has(name) {
            let path = self.path(Some(name), file);
            return PluginError::Refused(format!("{} is missing: install it again", path.display()));
        }
        PluginError::NotFound(format!("no plugin {name:?} is installed: see `commonhold plugin list`"))
    }

    fn refused(&self, path: &Path, why: &str) -> PluginError {
        PluginError::Refused(format!("{}: {why}", path.display()))
    }

    fn failed(&self, path: &Path, error: &io::Error) -> PluginError {
        const SYMLINK: i32 = rustix::io::Errno::LOOP.raw_os_error();
        const NO_FOLDER: i32 = rustix::io::Errno::NOTDIR.raw_os_error();
        match error.raw_os_error() {
            Some(SYMLINK | NO_FOLDER) => {
                self.refused(path, "there is a symbolic link or no folder, which is not followed")
            }
            _ => PluginError::Disk(format!("{}: {error}", path.display())),
        }
    }
}

/// What changes when a file is written or another takes its place; the change time cannot be set.
fn marks(it: fs::Metadata) -> [u64; 6] {
    let time = |seconds: i64, nanoseconds: i64| [seconds.cast_unsigned(), nanoseconds.cast_unsigned()];
    let ([modified, modified_nanoseconds], [changed, changed_nanoseconds]) =
        (time(it.mtime(), it.mtime_nsec()), time(it.ctime(), it.ctime_nsec()));
    [it.ino(), it.len(), modified, modified_nanoseconds, changed, changed_nanoseconds]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let temp = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(&Places::new(temp.path()));
        (temp, shelf)
    }

    #[test]
    fn what_is_put_there_is_private_and_read_back() {
        let (temp, shelf) = shelf();
        assert_eq!(shelf.names().unwrap(), (vec![], vec![]));
        assert_eq!(shelf.active().unwrap(), Active::new());
        assert!(matches!(shelf.plugin("spread"), Err(PluginError::NotFound(_))));
        shelf.put("spread", b"code", "follow = true\n").unwrap();
        shelf.set_state("spread", b"state").unwrap();
        let active = Active::from([(Kind::Placement, "spread".to_owned())]);
        shelf.set_active(&active).unwrap();
        assert_eq!(shelf.names().unwrap(), (vec!["spread".to_owned()], vec![]));
        assert_eq!(shelf.active().unwrap(), active);
        assert_eq!(shelf.plugin("spread").unwrap(), b"code");
        assert_eq!(shelf.grant("spread").unwrap(), "follow = true\n");
        assert_eq!(shelf.state("spread").unwrap().unwrap(), b"state");
        for file in ["active.toml", "spread/plugin.wasm", "spread/grant.toml", "spread/state.bin"] {
            let mode = fs::metadata(temp.path().join("plugins").join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let print = shelf.print("spread");
        shelf.put("spread", b"edoc", "follow = true\n").unwrap();
        assert_ne!(shelf.print("spread")[0], print[0]);
        shelf.remove("spread").unwrap();
        assert!(!shelf.has("spread"));
    }

    #[test]
    fn attack_39_links_are_not_followed_and_pipes_do_not_block() {
        let (temp, shelf) = shelf();
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join(FILE), "secret").unwrap();
        fs::write(outside.join(GRANT), "follow = true").unwrap();
        shelf.put("real", b"code", "follow = true").unwrap();
        let plugins = temp.path().join("plugins");
        symlink(&outside, plugins.join("linked")).unwrap();
        assert!(shelf.plugin("linked").is_err());
        assert!(shelf.put("linked", b"x", "y").is_err());
        assert!(shelf.set_state("linked", b"x").is_err());
        let (names, strange) = shelf.names().unwrap();
        assert_eq!((names.as_slice(), strange.len()), (["real".to_owned()].as_slice(), 1));
        fs::remove_file(plugins.join("real").join(FILE)).unwrap();
        symlink(outside.join(FILE), plugins.join("real").join(FILE)).unwrap();
        let error = shelf.plugin("real").unwrap_err().to_string();
        assert!(error.contains("not followed"), "{error}");
        // A write replaces the link and leaves what it points to; so does one through a link that a
        // write would pass by.
        symlink(outside.join(FILE), plugins.join("real").join("plugin.partial")).unwrap();
        shelf.put("real", b"new", "follow = true").unwrap();
        assert_eq!(shelf.plugin("real").unwrap(), b"new");
        assert_eq!(fs::read(outside.join(FILE)).unwrap(), b"secret");
        fs::remove_file(plugins.join("real").join(FILE)).unwrap();
        let pipe = plugins.join("real").join(FILE);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(shelf.plugin("real").is_err());
        // The link goes and not what it points to.
        shelf.remove("linked").unwrap();
        assert!(outside.join(FILE).exists());
        // The whole folder is not followed either.
        fs::rename(&plugins, temp.path().join("elsewhere")).unwrap();
        symlink(temp.path().join("elsewhere"), &plugins).unwrap();
        assert!(shelf.plugin("real").is_err() && shelf.names().is_err() && shelf.active().is_err());
        assert!(shelf.remove("real").is_err());
    }

    #[test]
    fn attack_39_names_that_are_paths_are_refused_wherever_they_are_written() {
        let (temp, shelf) = shelf();
        fs::create_dir(temp.path().join("plugins")).unwrap();
        for name in ["../x", "/etc", "a/b", ".", "..", "", "A", "-a", "a\\u0000"] {
            fs::write(temp.path().join("plugins/active.toml"), format!("placement = \"{name}\"\n")).unwrap();
            assert!(shelf.active().is_err(), "{name:?}");
        }
        fs::write(temp.path().join("plugins/active.toml"), "\nplacment = \"x\"\n").unwrap();
        assert!(shelf.active().unwrap_err().to_string().contains("line 2"));
        fs::write(temp.path().join("plugins/active.toml"), vec![b'#'; TEXT_LEN_MAX + 1]).unwrap();
        assert!(shelf.active().unwrap_err().to_string().contains("bytes"));
    }
}
