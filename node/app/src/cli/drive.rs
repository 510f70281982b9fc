//! The commands of the drive as clap sees them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::Span;

/// A path of the drive as people type it: from the root, also without the slash in front.
pub fn drive_path(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a path of the drive begins with \"/\"".to_owned()),
        "." | "./" => Ok("/".to_owned()),
        _ if text.starts_with('/') => Ok(text.to_owned()),
        _ => Ok(format!("/{}", text.strip_prefix("./").unwrap_or(text))),
    }
}

/// Flags of `put`.
#[derive(Debug, Args)]
pub struct Put {
    /// Files, and with -r folders.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Store under this path of the drive. With one PATH it is its new path, unless it is a folder
    /// there already or ends in "/"; then, and with several, PATHs go into it.
    #[arg(long, value_name = "PATH")]
    #[arg(value_parser = drive_path)]
    pub to: Option<String>,
    /// Store folders with all that is in them. Files that are there already with the same size, time
    /// and executable bit are not sent again.
    #[arg(short, long)]
    pub recursive: bool,
}

/// Flags of `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// A path in the drive.
    #[arg(value_parser = drive_path)]
    pub path: String,
    /// Where to write it: a new path, or a folder that exists to put it into. A file that is there already,
    /// under that path or in that folder, is replaced, whatever is in it.
    #[arg(default_value = ".")]
    pub dest: PathBuf,
    /// Fetch a folder with all that is in it.
    #[arg(short, long)]
    pub recursive: bool,
    /// Complete a folder that is there already: files of the same size and time are not fetched again.
    #[arg(long)]
    pub resume: bool,
    /// Fetch an earlier version of a file.
    #[arg(long, value_name = "N", conflicts_with_all = ["recursive", "resume", "prefer"])]
    pub version: Option<u64>,
    /// Ask this provider first wherever it holds a chunk. Cannot be gone on with when it is interrupted.
    #[arg(long, value_name = "PEER_ID", conflicts_with = "resume")]
    pub prefer: Option<String>,
}

/// Flags of `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// A folder of this machine.
    pub dir: PathBuf,
    /// The folder of the drive that becomes like it; without it, one of the same name at the drive's root.
    #[arg(value_parser = drive_path)]
    pub path: Option<String>,
    /// Move what only the drive has to the bin.
    #[arg(long)]
    pub delete: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// A path in the drive.
    #[arg(default_value = "/")]
    #[arg(value_parser = drive_path)]
    pub path: String,
    /// Times and executable bits, too.
    #[arg(short, long)]
    pub long: bool,
}

/// Flags of `mv` and `cp`.
#[derive(Debug, Args)]
pub struct Move {
    /// A path in the drive.
    #[arg(value_parser = drive_path)]
    pub from: String,
    /// Its new path, or a folder of the drive that it goes into.
    #[arg(value_parser = drive_path)]
    pub to: String,
    /// Take the place of a file, which becomes an earlier version.
    #[arg(long)]
    pub replace: bool,
}

/// Flags of `cp`.
#[derive(Debug, Args)]
pub struct Copy {
    /// What is copied where to.
    #[command(flatten)]
    pub paths: Move,
    /// Copy a folder with all that is in it.
    #[arg(short, long)]
    pub recursive: bool,
}

/// Flags of `rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Paths in the drive.
    #[arg(required = true)]
    #[arg(value_parser = drive_path)]
    pub paths: Vec<String>,
    /// Accepted because people type it: folders are removed with all that is in them anyway.
    #[arg(short, long)]
    pub recursive: bool,
    /// Remove for good instead of into the bin, earlier versions too.
    #[arg(long)]
    pub forever: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// `bin …`
#[derive(Debug, Subcommand)]
pub enum Bin {
    /// What was removed and can be restored.
    List,
    /// Put something back.
    Restore {
        /// Its id, or the path that it had; the newest one if there are several.
        item: String,
        /// Put it here instead of where it was.
        #[arg(long, value_name = "PATH")]
        #[arg(value_parser = drive_path)]
        to: Option<String>,
    },
    /// Give up for good what is in the bin.
    Empty {
        /// Only these ids; without any, all.
        ids: Vec<String>,
        /// Only what was removed at least so long ago, like "30 d".
        #[arg(long, value_name = "DURATION")]
        older_than: Option<Span>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Flags of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// A file of the drive.
    #[arg(value_parser = drive_path)]
    pub path: String,
    /// The number of the version, as `versions` shows it.
    #[arg(long, value_name = "N")]
    pub version: u64,
}

/// Flags of `find`.
#[derive(Debug, Args)]
pub struct Find {
    /// A folder of the drive.
    #[arg(default_value = "/")]
    #[arg(value_parser = drive_path)]
    pub path: String,
    /// Only names that contain this; or, with one of the characters * ? [ in it, names that match it as a
    /// whole as a shell would, like "*.txt". Upper and lower case are the same.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Only files (f) or folders (d).
    #[arg(long, value_name = "KIND")]
    pub r#type: Option<Kind>,
}

/// What `find` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Files.
    F,
    /// Folders.
    D,
}

/// Flags of `cat`.
#[derive(Debug, Args)]
pub struct Cat {
    /// A file of the drive.
    #[arg(value_parser = drive_path)]
    pub path: String,
    /// Only these bytes, counted from 0: "100-199", "100-" to the end, "-100" the last ones.
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    pub range: Option<ByteRange>,
    /// An earlier version.
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
}

/// Bytes of a file, as people write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// The first one and the last one, both included.
    Part(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl std::str::FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not a range of bytes, like 100-199, 100- or -100");
        let (first, last) = text.split_once('-').ok_or_else(refused)?;
        let number = |digits: &str| {
            let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| plain).ok_or_else(refused)
        };
        match (first, last) {
            ("", last) => Ok(Self::Last(number(last)?)),
            (first, "") => Ok(Self::Part(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last { Err(refused()) } else { Ok(Self::Part(first, Some(last))) }
            }
        }
    }
}

/// Flags of `open`.
#[derive(Debug, Args)]
pub struct Open {
    /// The link. Without it, or with `-`, it is read from the terminal or from standard input, so that
    /// nobody else on this machine sees it in the list of processes.
    pub link: Option<String>,
    /// Where to write it: a new path, or a folder that exists to put it into.
    #[arg(default_value = ".")]
    pub dest: PathBuf,
    /// Only list what is there.
    #[arg(long)]
    pub list: bool,
    /// Something below what is shared, like "/Photos/2024".
    #[arg(long)]
    #[arg(value_parser = drive_path)]
    pub path: Option<String>,
    /// Ask for the link's password at once, on the terminal or from standard input. It is asked for anyway
    /// when it is needed.
    #[arg(long)]
    pub password: bool,
}

/// `drive …`
#[derive(Debug, Subcommand)]
pub enum Drive {
    /// The drive's current state, and other histories that another device wrote.
    Heads,
    /// Take another history into the current one; what both changed is kept twice.
    Merge {
        /// The first digits of its hash, at least 8.
        hash: String,
    },
    /// Begin an empty drive on a machine that was restored, when nothing was ever stored with its 24 words.
    Begin,
    /// Give another history up for good.
    Forget {
        /// The first digits of its hash, at least 8.
        hash: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Verify that everything is there as often as it should be, without downloading whole files.
    Check {
        /// Only what is below this path; without it everything, bin and versions included.
        #[arg(value_parser = drive_path)]
        path: Option<String>,
        /// Have what is missing made again.
        #[arg(long)]
        repair: bool,
    },
    /// Files that were begun in parts and are not complete.
    Uploads {
        /// Give these up, by their ids: their parts are freed.
        #[arg(long, value_name = "ID")]
        abandon: Vec<String>,
    },
}

/// Flags of `share`.
#[derive(Debug, Args)]
pub struct Share {
    /// A file, or with --folder a folder, of the drive.
    #[arg(value_parser = drive_path)]
    pub path: String,
    /// Let the link end after this time, like "30d".
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<Span>,
    /// Protect it with a password, asked for on the terminal, or read from standard input when that is none.
    #[arg(long)]
    pub password: bool,
    /// Share a folder with all that is and will be in it.
    #[arg(long)]
    pub folder: bool,
    /// Let others put files into the folder; they see nothing of it.
    #[arg(long, value_name = "KIND", requires = "folder")]
    pub writable: Option<Writable>,
    /// Where the link points, like `https://drive.example.org`, instead of what the configuration says.
    #[arg(long, value_name = "URL")]
    pub base: Option<String>,
    /// Draw no QR code.
    #[arg(long)]
    pub no_qr: bool,
}

/// What others may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Writable {
    /// New files, without seeing any.
    DropBox,
}

/// `s3 …`
#[derive(Debug, Subcommand)]
pub enum S3 {
    /// Keys that S3 clients sign with.
    #[command(subcommand)]
    Key(S3Key),
}

/// `s3 key …`
#[derive(Debug, Subcommand)]
pub enum S3Key {
    /// Make a key; its secret is shown once.
    New {
        /// What it is for.
        #[arg(default_value = "")]
        name: String,
    },
    /// Show the keys, without their secrets.
    List,
    /// Take a key away: it lets nobody in any more.
    Remove {
        /// The access key.
        access_key: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, drive_path};

    #[test]
    fn paths_begin_at_the_root_with_or_without_a_slash() {
        for (typed, meant) in
            [("/a", "/a"), ("a/b", "/a/b"), ("./a", "/a"), (".", "/"), ("/", "/"), ("a/", "/a/")]
        {
            assert_eq!(drive_path(typed).as_deref(), Ok(meant));
        }
        assert!(drive_path("").is_err());
    }

    #[test]
    fn ranges_of_bytes_are_read() {
        assert_eq!("0-0".parse(), Ok(ByteRange::Part(0, Some(0))));
        assert_eq!("5-".parse(), Ok(ByteRange::Part(5, None)));
        assert_eq!("-5".parse(), Ok(ByteRange::Last(5)));
        for bad in ["", "-", "5", "9-5", "a-b", "1-2-3", "+1-2", "1-18446744073709551616"] {
            assert!(bad.parse::<ByteRange>().is_err(), "{bad}");
        }
    }
}
