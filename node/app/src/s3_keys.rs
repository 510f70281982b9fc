//! The access keys of the S3 interface, kept in `s3-keys.toml` (mode 0600) in the data directory.
//!
//! Invariant: the file is replaced whole or stays as it was, what is answered for is in it, and a secret
//! leaves this module only to whoever just made it and to the check of a request's signature. Secrets are
//! wiped when dropped. Not here: what a key lets in.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use commonhold_client::types::S3KeyView;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::datadir::{random_secret, write_durably};

/// Most keys of one node.
pub const KEYS_MAX: usize = 256;
/// Largest file that is read, bytes.
const FILE_LEN_MAX: u64 = 256 * 1024;
/// The file's name.
const FILE: &str = "s3-keys.toml";
/// What every access key begins with, so that one that lies around is known for what it is.
const PREFIX: &str = "CH";
/// Length of an access key, the one that most clients expect.
const ACCESS_KEY_LEN: usize = 20;

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum S3KeysError {
    /// The file cannot be read or written, or is not what this program writes.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// No key of this name.
    #[error("there is no access key {0}")]
    Missing(String),
    /// There are as many as there may be.
    #[error("there are {KEYS_MAX} access keys already: remove those that nobody uses")]
    TooMany,
}

/// One key as the file has it.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Key {
    access_key: String,
    secret_key: String,
    #[serde(default)]
    name: String,
    created_ms: i64,
}

impl Key {
    fn view(&self) -> S3KeyView {
        S3KeyView {
            access_key: self.access_key.clone(),
            name: self.name.clone(),
            created_ms: self.created_ms,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "key")]
    keys: Vec<Key>,
}

/// The keys of one data directory. One at a time, because it holds what the file says in memory.
pub struct S3Keys {
    path: PathBuf,
    file: Mutex<File>,
}

impl S3Keys {
    /// Reads the keys of the data directory `dir`; none when the file is not there.
    ///
    /// # Errors
    /// [`S3KeysError::File`] when others can read it or it is not valid.
    pub fn open(dir: &Path) -> Result<Self, S3KeysError> {
        let path = dir.join(FILE);
        let file = read(&path).map_err(|why| S3KeysError::File { file: path.clone(), why })?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// All keys, oldest first, without their secrets.
    pub fn list(&self) -> Vec<S3KeyView> {
        self.lock().keys.iter().map(Key::view).collect()
    }

    /// Makes a key and keeps it; answers it with its secret.
    ///
    /// # Errors
    /// [`S3KeysError`] when there are too many, or it cannot be written; then it does not exist.
    pub fn add(&self, name: &str, now_ms: i64) -> Result<(S3KeyView, Zeroizing<String>), S3KeysError> {
        let mut file = self.lock();
        if file.keys.len() >= KEYS_MAX {
            return Err(S3KeysError::TooMany);
        }
        let mut access_key = PREFIX.to_owned() + &BASE32_NOPAD.encode(&random_secret()[..16]);
        access_key.truncate(ACCESS_KEY_LEN);
        let secret_key = Zeroizing::new(BASE64URL_NOPAD.encode(&*random_secret()));
        let secret = secret_key.as_str().to_owned();
        file.keys.push(Key { access_key, secret_key: secret, name: name.to_owned(), created_ms: now_ms });
        if let Err(error) = self.write(&file) {
            file.keys.pop();
            return Err(error);
        }
        let view = file.keys.last().map(Key::view).unwrap_or_default();
        Ok((view, secret_key))
    }

    /// Takes a key away for good.
    ///
    /// # Errors
    /// [`S3KeysError::Missing`], or when the file cannot be written; then the key goes on to be one.
    pub fn remove(&self, access_key: &str) -> Result<S3KeyView, S3KeysError> {
        let mut file = self.lock();
        let at = file.keys.iter().position(|key| key.access_key == access_key);
        let at = at.ok_or_else(|| S3KeysError::Missing(access_key.chars().take(80).collect()))?;
        let key = file.keys.remove(at);
        if let Err(error) = self.write(&file) {
            file.keys.insert(at, key);
            return Err(error);
        }
        Ok(key.view())
    }

    /// The secret of an access key.
    pub fn find(&self, access_key: &str) -> Option<Zeroizing<String>> {
        let file = self.lock();
        let key = file.keys.iter().find(|key| key.access_key == access_key)?;
        Some(Zeroizing::new(key.secret_key.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, file: &File) -> Result<(), S3KeysError> {
        let refused = |why: String| S3KeysError::File { file: self.path.clone(), why };
        let text = toml::to_string(file).map_err(|error| refused(error.to_string()))?;
        let text = Zeroizing::new(text);
        write_durably(&self.path, text.as_bytes(), 0o600).map_err(|error| refused(error.to_string()))
    }
}

impl std::fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Keys").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<File, String> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => return Err(error.to_string()),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err("others can read or write these keys; run `chmod 600` on it".into());
    }
    if metadata.len() > FILE_LEN_MAX {
        return Err(format!("it is longer than {FILE_LEN_MAX} bytes"));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| error.to_string())?);
    // The parser's own message would show the line, and with it a secret.
    let file: File = toml::from_str(&text).map_err(|_| {
        "it is not a list of keys as this program writes it; remove it to begin anew".to_owned()
    })?;
    let mut names: Vec<&str> = file.keys.iter().map(|key| key.access_key.as_str()).collect();
    names.sort_unstable();
    let unusable = |key: &Key| key.access_key.is_empty() || key.secret_key.is_empty();
    if names.windows(2).any(|pair| pair[0] == pair[1]) || file.keys.iter().any(unusable) {
        return Err("a key in it is there twice, or empty".into());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_stay_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let keys = S3Keys::open(dir.path()).unwrap();
        assert!(keys.list().is_empty() && keys.find("").is_none());
        let (first, secret) = keys.add("laptop", 5).unwrap();
        let (second, other) = keys.add("with \"quotes\" = 1", 6).unwrap();
        assert_ne!((&first.access_key, &*secret), (&second.access_key, &*other));
        assert_eq!((first.access_key.len(), secret.len()), (20, 43));
        let again = S3Keys::open(dir.path()).unwrap();
        assert_eq!(again.list(), [first.clone(), second.clone()]);
        assert_eq!(again.find(&first.access_key).unwrap(), secret);
        assert_eq!(again.remove(&first.access_key).unwrap(), first);
        assert!(matches!(again.remove(&first.access_key), Err(S3KeysError::Missing(_))));
        assert!(again.find(&first.access_key).is_none());
        assert_eq!(S3Keys::open(dir.path()).unwrap().list(), [second]);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{again:?}").contains(&*other));
    }

    #[test]
    fn a_file_that_others_read_or_that_is_damaged_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        S3Keys::open(dir.path()).unwrap().add("a", 1).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(S3Keys::open(dir.path()).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = good.lines().find_map(|line| line.strip_prefix("secret_key = ")).unwrap().to_owned();
        for bad in [
            format!("{good}{good}"),
            format!("{good}more = 1\n"),
            good.replace("secret_key", "secret"),
            format!("[[key]]\naccess_key = \"x\"\nsecret_key = \"\"\ncreated_ms = 1\n{good}"),
            format!("{good}#{}", "x".repeat(300_000)),
        ] {
            fs::write(&path, bad).unwrap();
            let why = S3Keys::open(dir.path()).unwrap_err().to_string();
            assert!(!why.contains(secret.trim_matches('"')), "{why}");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(S3Keys::open(dir.path()).unwrap().list().len(), 1);
    }

    #[test]
    fn a_key_that_cannot_be_written_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let keys = S3Keys::open(dir.path()).unwrap();
        let (kept, _) = keys.add("a", 1).unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(keys.add("b", 2).is_err());
        assert!(keys.remove(&kept.access_key).is_err());
        assert_eq!(keys.list(), [kept]);
    }

    #[test]
    fn there_is_an_end_to_keys() {
        let dir = tempfile::tempdir().unwrap();
        let keys = S3Keys::open(dir.path()).unwrap();
        for at in 0..KEYS_MAX {
            let (access_key, secret_key) = (format!("key {at}"), "s".to_owned());
            keys.lock().keys.push(Key { access_key, secret_key, name: String::new(), created_ms: 0 });
        }
        assert!(matches!(keys.add("one more", 1), Err(S3KeysError::TooMany)));
    }
}
