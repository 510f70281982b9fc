//! Reads the vectors of one topic: every file in spec/vectors/<topic>, each field exactly once.
//!
//! A field that a test does not take, or a field that is missing, fails the test: nothing that a
//! vector says goes unchecked.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod drive;

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value};

/// One vector; fields are taken out as they are read.
pub(crate) struct Case {
    name: String,
    fields: Map<String, Value>,
}

/// Gives every case of a topic to `check` and fails when there is none, or one is not read whole.
pub(crate) fn for_each(topic: &str, mut check: impl FnMut(&str, &mut Case)) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(topic);
    let mut names: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{} is empty", folder.display());
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read(&path).unwrap();
        let mut case =
            Case { fields: serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}")), name };
        assert!(!case.text("description").is_empty());
        let expect = case.text("expect");
        check(&expect, &mut case);
        let rest: Vec<&String> = case.fields.keys().collect();
        assert!(rest.is_empty(), "{}: unknown fields {rest:?}", case.name);
    }
}

impl Case {
    /// The file name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the field is there and has not been taken.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    fn take(&mut self, field: &str) -> Value {
        self.fields.remove(field).unwrap_or_else(|| panic!("{}: no field {field:?}", self.name))
    }

    /// A text.
    pub(crate) fn text(&mut self, field: &str) -> String {
        match self.take(field) {
            Value::String(text) => text,
            other => panic!("{}: {field} is {other}, not a text", self.name),
        }
    }

    /// A number, which is written as a decimal text so that every language reads all 64 bits.
    pub(crate) fn number<N: std::str::FromStr>(&mut self, field: &str) -> N {
        let text = self.text(field);
        text.parse().unwrap_or_else(|_| panic!("{}: {field} is {text:?}, not a number", self.name))
    }

    /// Bytes in hexadecimal.
    pub(crate) fn bytes(&mut self, field: &str) -> Vec<u8> {
        let text = self.text(field);
        HEXLOWER.decode(text.as_bytes()).unwrap_or_else(|e| panic!("{}: {field}: {e}", self.name))
    }

    /// Bytes in hexadecimal, or null.
    pub(crate) fn optional_bytes(&mut self, field: &str) -> Option<Vec<u8>> {
        if self.fields.get(field) == Some(&Value::Null) {
            self.take(field);
            return None;
        }
        Some(self.bytes(field))
    }

    /// A hash in hexadecimal.
    pub(crate) fn hash(&mut self, field: &str) -> [u8; 32] {
        self.bytes(field).try_into().unwrap()
    }

    /// A hash in hexadecimal, or null.
    pub(crate) fn optional_hash(&mut self, field: &str) -> Option<[u8; 32]> {
        Some(self.optional_bytes(field)?.try_into().unwrap())
    }

    /// An array of texts.
    pub(crate) fn texts(&mut self, field: &str) -> Vec<String> {
        match self.take(field) {
            Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
            other => panic!("{}: {field} is {other}, not an array", self.name),
        }
    }

    /// An array of bytes in hexadecimal.
    pub(crate) fn byte_strings(&mut self, field: &str) -> Vec<Vec<u8>> {
        self.texts(field).iter().map(|text| HEXLOWER.decode(text.as_bytes()).unwrap()).collect()
    }

    /// An array of hashes in hexadecimal.
    pub(crate) fn hashes(&mut self, field: &str) -> Vec<[u8; 32]> {
        self.byte_strings(field).into_iter().map(|bytes| bytes.try_into().unwrap()).collect()
    }

    /// An object, read whole by `read`.
    pub(crate) fn object<T>(&mut self, field: &str, read: impl FnOnce(&mut Case) -> T) -> T {
        let value = self.take(field);
        self.part(field, value, read)
    }

    /// An array of objects, each read whole by `read`.
    pub(crate) fn objects<T>(&mut self, field: &str, mut read: impl FnMut(&mut Case) -> T) -> Vec<T> {
        match self.take(field) {
            Value::Array(items) => items.into_iter().map(|item| self.part(field, item, &mut read)).collect(),
            other => panic!("{}: {field} is {other}, not an array", self.name),
        }
    }

    fn part<T>(&self, field: &str, value: Value, read: impl FnOnce(&mut Case) -> T) -> T {
        let name = format!("{}, {field}", self.name);
        let Value::Object(fields) = value else {
            panic!("{name} is {value}, not an object");
        };
        let mut part = Case { name, fields };
        let read = read(&mut part);
        assert!(part.fields.is_empty(), "{}: unknown fields", part.name);
        read
    }
}
