//! A data directory: its version, its lock, its key files and its places.
//!
//! Invariant: whoever holds a [`DataDir`] is the only process that does; its version is the one
//! that this program writes; its secret files can be read by their user alone. Not here: what the
//! rooms keep in their own folders.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use commonhold_format::ids::NodeId;
use commonhold_format::keys::{DeviceSecret, PartyKey, RootSecret};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};

/// What the file `format` says in a directory of this version.
const FORMAT: &str = "commonhold-data 1";

/// Why a data directory cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// `init` on a directory that is one already.
    #[error("{0} is a data directory already; nothing was changed")]
    Exists(PathBuf),
    /// `init` on a directory that holds something else.
    #[error("{0} is not empty; choose a new or empty directory")]
    NotEmpty(PathBuf),
    /// No data directory there.
    #[error("{0} is not a data directory: run `commonhold --data-dir {0} init` first")]
    Missing(PathBuf),
    /// Written by another version of the program.
    #[error(
        "{dir} was written by another version: its format is {found:?}, this program knows {FORMAT:?}; use the matching program, nothing was changed"
    )]
    Version {
        /// The directory.
        dir: PathBuf,
        /// What its file `format` says, cut to 60 characters.
        found: String,
    },
    /// Another process runs on it.
    #[error("{0} is in use by another commonhold process")]
    Locked(PathBuf),
    /// A key file is not what it must be.
    #[error("{file}: {why}")]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The store would be in the data directory itself.
    #[error(
        "{config}: dir under [store] is the data directory itself; name a folder of its own, like \"store\""
    )]
    StoreDir {
        /// The configuration.
        config: PathBuf,
    },
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError + '_ {
    move |source| DataDirError::Io { path: path.to_owned(), source }
}

/// The places in a data directory. Naming them needs no lock.
#[derive(Debug, Clone)]
pub struct Places(PathBuf);

impl Places {
    /// The places under `dir`.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// `commonhold.toml`.
    pub fn config(&self) -> PathBuf {
        self.0.join("commonhold.toml")
    }

    /// The bearer token of the local API, 0600.
    pub fn token(&self) -> PathBuf {
        self.0.join("api.token")
    }

    /// The URL of the local API; exists while a node runs.
    pub fn api_url(&self) -> PathBuf {
        self.0.join("api.url")
    }

    /// The store's folder, which may be on another disk.
    pub fn store(&self, config: &Config) -> PathBuf {
        self.0.join(&config.store.dir)
    }

    /// The id of the store, so that another one's disk is noticed.
    pub fn store_id(&self) -> PathBuf {
        self.0.join("store-id")
    }

    /// Contracts whose chunks are lost with a disk.
    pub fn lost_contracts(&self) -> PathBuf {
        self.0.join("lost-contracts")
    }

    /// The ledger's folder.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    /// Heads of others' ledgers.
    pub fn heads(&self) -> PathBuf {
        self.0.join("heads")
    }

    /// Since when contracts of owners are stopped.
    pub fn stopped_since(&self) -> PathBuf {
        self.0.join("stopped-since")
    }

    /// What chunks took of the line.
    pub fn traffic(&self) -> PathBuf {
        self.0.join("traffic.toml")
    }

    /// Links that were taken back while the drive could not be changed.
    pub fn revoked_links(&self) -> PathBuf {
        self.0.join("revoked-links")
    }

    /// Links that this node's gateway does not serve.
    pub fn blocked_links(&self) -> PathBuf {
        self.0.join("blocked-links")
    }

    /// The drive's folder.
    pub fn drive(&self) -> PathBuf {
        self.0.join("drive")
    }

    /// Policy plugins, one folder each.
    pub fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }

    /// Evidence of audits, one file per challenge and proof.
    pub fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }

    /// What the node decided, and how it went.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    fn format(&self) -> PathBuf {
        self.0.join("format")
    }

    fn root_key(&self) -> PathBuf {
        self.0.join("keys").join("root.key")
    }

    fn device_key(&self) -> PathBuf {
        self.0.join("keys").join("device.key")
    }
}

/// A locked data directory with its keys and configuration.
pub struct DataDir {
    /// Where things are.
    pub places: Places,
    /// The secret behind the recovery phrase.
    pub root: RootSecret,
    /// This directory's own secret.
    pub device: DeviceSecret,
    /// The checked configuration.
    pub config: Config,
    _lock: File,
}

impl DataDir {
    /// Makes a data directory: keys, token and a commented configuration.
    ///
    /// # Errors
    /// [`DataDirError::Exists`] and [`DataDirError::NotEmpty`] leave everything as it was.
    pub fn init(dir: &Path, root: &RootSecret, config: &Config) -> Result<(), DataDirError> {
        let places = Places::new(dir);
        match fs::read_dir(dir) {
            Ok(_) if places.format().exists() => return Err(DataDirError::Exists(dir.to_owned())),
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(DataDirError::NotEmpty(dir.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_at(dir)(error)),
        }
        let private =
            |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_at(path));
        private(dir)?;
        private(&dir.join("keys"))?;
        write_secret(&places.root_key(), root.as_bytes())?;
        write_secret(&places.device_key(), &random_secret())?;
        let token = Zeroizing::new(HEXLOWER.encode(&*random_secret()));
        write_secret_text(&places.token(), &token)?;
        fs::write(places.config(), config.to_commented_toml()).map_err(io_at(&places.config()))?;
        // Last: a directory is a data directory once its format stands.
        write_durably(&places.format(), format!("{FORMAT}\n").as_bytes(), 0o644)
    }

    /// Opens and locks a data directory.
    ///
    /// # Errors
    /// [`DataDirError`] says which file is wrong and what to do.
    pub fn open(dir: &Path) -> Result<Self, DataDirError> {
        let places = Places::new(dir);
        check_format(&places)?;
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::Locked(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io_at(&lock_path)(error)),
        }
        let config = Config::load(&places.config())?;
        // One that is not there yet is another.
        if fs::canonicalize(places.store(&config)).ok() == fs::canonicalize(dir).ok() {
            return Err(DataDirError::StoreDir { config: places.config() });
        }
        let root = RootSecret::from_bytes(*read_secret(&places.root_key())?);
        let device = DeviceSecret::from_bytes(*read_secret(&places.device_key())?);
        Ok(Self { places, root, device, config, _lock: lock })
    }
}

fn check_format(places: &Places) -> Result<(), DataDirError> {
    let path = places.format();
    match fs::read_to_string(&path) {
        Ok(text) if text.trim_end() == FORMAT => Ok(()),
        Ok(text) => Err(DataDirError::Version {
            dir: places.dir().to_owned(),
            found: text.trim_end().chars().take(60).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataDirError::Missing(places.dir().to_owned()))
        }
        Err(error) => Err(io_at(&path)(error)),
    }
}

/// Reads the API's URL and token, as a client of a running node.
///
/// # Errors
/// `Ok(None)` when no node has announced itself there.
pub fn read_api(places: &Places) -> Result<Option<(String, Zeroizing<String>)>, DataDirError> {
    check_format(places)?;
    let url = match fs::read_to_string(places.api_url()) {
        Ok(url) => url.trim_end().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(&places.api_url())(error)),
    };
    let token = fs::read_to_string(places.token()).map_err(io_at(&places.token()))?;
    Ok(Some((url, Zeroizing::new(token.trim_end().to_owned()))))
}

/// The key that signs for this directory's party. Needs no lock: a key file never changes.
///
/// # Errors
/// [`DataDirError`] says which file is wrong and what to do.
pub fn read_party_key(places: &Places) -> Result<PartyKey, DataDirError> {
    check_format(places)?;
    Ok(RootSecret::from_bytes(*read_secret(&places.root_key())?).party_key())
}

/// The peer id of this directory's node.
///
/// # Errors
/// As [`read_party_key`].
pub fn read_node(places: &Places) -> Result<NodeId, DataDirError> {
    check_format(places)?;
    Ok(DeviceSecret::from_bytes(*read_secret(&places.device_key())?).node())
}

/// 32 fresh random bytes.
pub fn random_secret() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).expect("the operating system gives random bytes");
    bytes
}

/// Writes `bytes` under `path` at once or not at all, and syncs file and directory.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DataDirError> {
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        match path.parent() {
            // A name alone lies in the working directory.
            Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(io_at(path))
}

fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<(), DataDirError> {
    write_secret_text(path, &Zeroizing::new(HEXLOWER.encode(secret)))
}

fn write_secret_text(path: &Path, text: &str) -> Result<(), DataDirError> {
    let line = Zeroizing::new(format!("{text}\n"));
    write_durably(path, line.as_bytes(), 0o600)
}

fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, DataDirError> {
    let key = |why: &str| DataDirError::Key { file: path.to_owned(), why: why.to_owned() };
    let mode = fs::metadata(path).map_err(io_at(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(key("others can read or write this key; run `chmod 600` on it"));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io_at(path))?);
    let bytes = HEXLOWER
        .decode(text.trim_end().as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| key("a key file holds 64 hexadecimal digits"))?;
    let secret = Zeroizing::new(bytes);
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("node");
        DataDir::init(&dir, &RootSecret::from_bytes([7; 32]), &Config::default()).unwrap();
        (temp, dir)
    }

    #[test]
    fn a_second_process_is_refused_and_keys_are_private() {
        let (_temp, dir) = made();
        let open = DataDir::open(&dir).unwrap();
        assert_eq!(open.root.as_bytes(), &[7; 32]);
        assert!(matches!(DataDir::open(&dir), Err(DataDirError::Locked(_))));
        for file in ["keys/root.key", "keys/device.key", "api.token"] {
            assert_eq!(fs::metadata(dir.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
        drop(open);
        DataDir::open(&dir).unwrap();
    }

    #[test]
    fn another_version_and_missing_and_used_directories_are_refused() {
        let (temp, dir) = made();
        assert!(matches!(
            DataDir::init(&dir, &RootSecret::from_bytes([8; 32]), &Config::default()),
            Err(DataDirError::Exists(_))
        ));
        fs::write(dir.join("format"), "commonhold-data 2\n").unwrap();
        let error = DataDir::open(&dir).err().unwrap();
        assert!(error.to_string().contains("commonhold-data 2"), "{error}");
        assert!(matches!(DataDir::open(&temp.path().join("none")), Err(DataDirError::Missing(_))));
        fs::write(temp.path().join("letter"), "x").unwrap();
        assert!(matches!(
            DataDir::init(temp.path(), &RootSecret::from_bytes([8; 32]), &Config::default()),
            Err(DataDirError::NotEmpty(_))
        ));
    }

    #[test]
    fn a_store_in_the_data_directory_itself_is_refused_by_a_sentence_of_its_own() {
        let (_temp, dir) = made();
        let file = dir.join("commonhold.toml");
        let text = fs::read_to_string(&file).unwrap();
        for itself in [".", "", "./", "keys/..", &dir.display().to_string()] {
            let there = text.replace("dir = \"store\"", &format!("dir = {itself:?}"));
            assert_ne!(there, text);
            fs::write(&file, there).unwrap();
            let error = DataDir::open(&dir).err().unwrap().to_string();
            assert!(error.contains("is the data directory itself"), "{itself:?}: {error}");
        }
        fs::write(&file, text).unwrap();
        DataDir::open(&dir).unwrap();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_temp, dir) = made();
        let key = dir.join("keys/root.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = DataDir::open(&dir).err().unwrap();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
