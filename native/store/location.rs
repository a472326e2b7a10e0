//! Where files lie: one grammar of URIs and paths, for every store.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// A file, an object or a directory. Text is taken literally, as Flink takes it: `%20` is no space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    scheme: &'static str,
    /// The bucket, `container@account.host`, or nothing.
    authority: String,
    /// Components with single slashes between them, none at either end.
    path: String,
}

/// The kinds of store, each by its schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// This machine's file systems.
    File,
    /// Amazon S3, and whatever speaks its protocol.
    S3,
    /// Azure Blob Storage and Data Lake Storage.
    Abfs,
    /// Google Cloud Storage.
    Gs,
}

const SCHEMES: &[(&str, Scheme)] = &[
    ("file", Scheme::File),
    ("s3", Scheme::S3),
    ("s3a", Scheme::S3),
    ("abfs", Scheme::Abfs),
    ("abfss", Scheme::Abfs),
    ("gs", Scheme::Gs),
];

/// A scheme with fewer changes than this was meant.
const NEAR: usize = 2;

impl Location {
    /// Reads `file:///x`, `s3://bucket/x`, `s3a://`, `abfs(s)://container@account.dfs.core.windows.net/x`, `gs://bucket/x`,
    /// each also with `sealed+` before it, or a path of this machine, absolute or relative.
    pub fn parse(text: &str) -> Result<Location> {
        let bad = |reason: &dyn fmt::Display| {
            Kind::InvalidArgument.error(format_args!("'{}': {reason}", text.escape_debug()))
        };
        if text.is_empty() {
            return Err(bad(&"a path or a URI is expected"));
        }
        if text.contains(|letter: char| letter.is_ascii_control()) {
            return Err(bad(&"a path holds no control characters"));
        }
        let bare = text.strip_prefix("sealed+").unwrap_or(text);
        let Some((name, rest)) = split_scheme(bare) else {
            return Location::of_path(Path::new(bare));
        };
        let Some((scheme, kind)) = SCHEMES.iter().find(|(known, _)| *known == name.to_ascii_lowercase()) else {
            return Err(bad(&unknown(name)));
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        match kind {
            Scheme::File if !authority.is_empty() => {
                return Err(bad(&format_args!("file: names no host: write file:///{authority}{path}")));
            }
            Scheme::File if !path.starts_with('/') => return Err(bad(&"file: takes an absolute path: file:///...")),
            Scheme::File => {}
            Scheme::S3 | Scheme::Gs if !is_bucket(authority) => {
                return Err(bad(&format_args!("{scheme}: takes a bucket: {scheme}://bucket/path")));
            }
            Scheme::S3 | Scheme::Gs => {}
            Scheme::Abfs => {
                let parts =
                    authority.split_once('@').filter(|(container, host)| is_bucket(container) && is_bucket(host));
                if parts.is_none() {
                    return Err(bad(&format_args!(
                        "{scheme}: takes a container and an account: {scheme}://container@account.dfs.core.windows.net/path"
                    )));
                }
            }
        }
        Location { scheme, authority: authority.to_owned(), path: String::new() }
            .with(path)
            .map_err(|reason| bad(&reason))
    }

    /// A path of this machine. `..` is resolved as the file system does it, through links.
    pub fn of_path(path: &Path) -> Result<Location> {
        let shown = path.display();
        let absolute = std::path::absolute(path).map_err(|error| Error::io(format_args!("resolve {shown}"), &error))?;
        let parts: Vec<Component<'_>> = absolute.components().collect();
        let resolved = match parts.iter().rposition(|part| *part == Component::ParentDir) {
            None => absolute,
            Some(last) => {
                let upper: PathBuf = parts[..=last].iter().collect();
                let upper = upper.canonicalize().map_err(|error| Error::io(format_args!("resolve {shown}"), &error))?;
                upper.join(parts[last + 1..].iter().collect::<PathBuf>())
            }
        };
        let text = resolved.to_str().ok_or_else(|| {
            Kind::InvalidArgument
                .error(format_args!("'{shown}' is not UTF-8, as the names of Flink's files are: rename it"))
        })?;
        let root = Location { scheme: "file", authority: String::new(), path: String::new() };
        root.with(text).map_err(|reason| Kind::InvalidArgument.error(format_args!("'{shown}': {reason}")))
    }

    /// What lies below, by names with slashes between them.
    #[must_use]
    pub fn join(&self, names: &str) -> Location {
        let mut joined = self.clone();
        for name in names.split('/').filter(|name| !name.is_empty()) {
            if !joined.path.is_empty() {
                joined.path.push('/');
            }
            joined.path.push_str(name);
        }
        joined
    }

    /// The directory that this lies in; `None` for a bucket or `/`.
    pub fn parent(&self) -> Option<Location> {
        if self.path.is_empty() {
            return None;
        }
        let upper = self.path.rsplit_once('/').map_or("", |(upper, _)| upper);
        Some(Location { path: upper.to_owned(), ..self.clone() })
    }

    /// The last component; empty for a bucket or `/`.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// As it was written, in lower case: `file`, `s3`, `s3a`, `abfs`, `abfss`, `gs`.
    pub fn scheme(&self) -> &str {
        self.scheme
    }

    /// The URI without `sealed+`. Tenants' prefixes are matched with it.
    pub fn uri(&self) -> String {
        self.to_string()
    }

    /// The same place, named by the first scheme of its store: `s3` and not `s3a`, `abfs` and not `abfss`.
    #[must_use]
    pub fn canonical(&self) -> Location {
        let first = SCHEMES.iter().find(|(_, kind)| *kind == self.kind()).map_or(self.scheme, |(name, _)| *name);
        Location { scheme: first, ..self.clone() }
    }

    /// The names that lead from `above` to here; `None` if this does not lie below it.
    pub fn below(&self, above: &Location) -> Option<&str> {
        if !self.same_store(above) {
            return None;
        }
        if above.path.is_empty() {
            return Some(&self.path);
        }
        let rest = self.path.strip_prefix(&above.path)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// True if both lie in one bucket, container, or machine.
    pub fn same_store(&self, other: &Location) -> bool {
        self.kind() == other.kind() && self.authority == other.authority
    }

    /// Which kind of store it lies in.
    pub fn kind(&self) -> Scheme {
        // The constructors take the name from this table.
        SCHEMES.iter().find(|(name, _)| *name == self.scheme).map_or(Scheme::File, |(_, kind)| *kind)
    }

    /// The bucket, or `container@account.host`; empty for files.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The key of an object: the path without a slash at its beginning.
    pub fn key(&self) -> &str {
        &self.path
    }

    /// Another object of the same bucket.
    #[cfg(feature = "object-http")]
    pub(super) fn with_key(&self, key: &str) -> Location {
        Location { path: key.to_owned(), ..self.clone() }
    }

    /// The path on this machine.
    pub(super) fn local(&self) -> PathBuf {
        Path::new("/").join(&self.path)
    }

    /// Refuses what would lead elsewhere than it says; names that are joined come out of files.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |part: &str| part == "." || part == ".." || part.contains(|letter: char| letter.is_ascii_control());
        match self.path.split('/').find(|part| bad(part)) {
            Some(part) => Err(Kind::InvalidArgument.error(format_args!(
                "'{}' holds the component '{}'",
                self.to_string().escape_debug(),
                part.escape_debug()
            ))),
            None => Ok(()),
        }
    }

    fn with(self, path: &str) -> Result<Location, String> {
        if path.split('/').any(|part| part == "..") {
            return Err("'..' is not allowed in a URI".to_owned());
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        Ok(Location { path: parts.join("/"), ..self })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.path.is_empty() && self.kind() != Scheme::File { "" } else { "/" };
        write!(f, "{}://{}{slash}{}", self.scheme, self.authority, self.path)
    }
}

/// What stands before the `:/` of a URI, or before the `:` of a scheme that is known.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(':')?;
    let mut letters = name.chars();
    let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    let known = SCHEMES.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    (is_scheme && (rest.starts_with('/') || known)).then_some((name, rest))
}

fn is_bucket(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter))
}

fn unknown(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let nearest = SCHEMES.iter().map(|(known, _)| (strsim::damerau_levenshtein(known, &lower), *known)).min();
    let hint = match (lower.as_str(), nearest) {
        ("hdfs" | "viewfs" | "webhdfs" | "oss" | "obs" | "maprfs" | "wasb" | "wasbs", _) => {
            "only Flink itself reaches it: copy the files to one of these, or mount them".to_owned()
        }
        (_, Some((distance, known))) if distance <= NEAR => format!("did you mean {known}?"),
        _ => "or give a path of this machine".to_owned(),
    };
    format!("there is no scheme '{name}' here, only file, s3, s3a, abfs, abfss and gs; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Location::parse(text).unwrap().to_string()
    }

    fn reason(text: &str) -> String {
        let error = Location::parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        error.to_string()
    }

    #[test]
    fn every_form_of_a_place_has_one_uri() {
        for (text, uri) in [
            ("/data/chk-1", "file:///data/chk-1"),
            ("/", "file:///"),
            ("file:/data//chk-1/", "file:///data/chk-1"),
            ("sealed+file:///data/./chk-1", "file:///data/chk-1"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("S3://bucket/a//b/", "s3://bucket/a/b"),
            ("sealed+s3a://bucket/a", "s3a://bucket/a"),
            ("s3://bucket/a%20b?c#d e", "s3://bucket/a%20b?c#d e"),
            ("abfss://c@a.dfs.core.windows.net/x/y", "abfss://c@a.dfs.core.windows.net/x/y"),
            ("gs://bucket_1.example/x", "gs://bucket_1.example/x"),
            ("/with:/colon", "file:///with:/colon"),
        ] {
            assert_eq!(parsed(text), uri, "{text}");
            assert_eq!(parsed(uri), uri);
        }
    }

    #[test]
    fn a_relative_path_is_one_of_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(parsed("x/y"), format!("file://{}", here.join("x/y").display()));
        assert_eq!(parsed("with:colon"), format!("file://{}", here.join("with:colon").display()));
        let upper = here.canonicalize().unwrap();
        assert_eq!(parsed("../x"), format!("file://{}", upper.parent().unwrap().join("x").display()));
        assert_eq!(Location::parse("no-such-directory/../x").unwrap_err().kind(), Kind::Io);
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_next_step() {
        for (text, expected) in [
            ("", "is expected"),
            ("s4://bucket/x", "did you mean s3?"),
            ("abfa://c@a/x", "did you mean abfs?"),
            ("gcs://bucket/x", "did you mean gs?"),
            ("hdfs://name/x", "only Flink itself"),
            ("https://bucket/x", "only file, s3"),
            ("s3:///x", "takes a bucket"),
            ("s3:bucket/x", "takes a bucket"),
            ("s3://b@c/x", "takes a bucket"),
            ("s3://b:9000/x", "takes a bucket"),
            ("gs:/bucket/x", "takes a bucket"),
            ("abfs://container/x", "container@account"),
            ("file://host/x", "file:///host/x"),
            ("file:x", "absolute path"),
            ("s3://bucket/a/../../other", "'..'"),
            ("s3://bucket/a\nb", "control characters"),
            ("/a\0b", "control characters"),
        ] {
            assert!(reason(text).contains(expected), "{text}: {}", reason(text));
        }
    }

    #[test]
    fn places_lead_up_and_down() {
        let root = Location::parse("s3a://bucket").unwrap();
        let file = root.join("job/").join("chk-1/_metadata");
        assert_eq!((file.to_string().as_str(), file.name()), ("s3a://bucket/job/chk-1/_metadata", "_metadata"));
        assert_eq!(file.parent().unwrap().to_string(), "s3a://bucket/job/chk-1");
        assert_eq!((root.parent(), root.name()), (None, ""));
        let job = Location::parse("s3://bucket/job").unwrap();
        assert_eq!(file.below(&job), Some("chk-1/_metadata"));
        assert_eq!((file.below(&file), job.below(&file)), (Some(""), None));
        assert_eq!(Location::parse("s3://bucket/jobs").unwrap().below(&job), None);
        assert_eq!(Location::parse("gs://bucket/job/x").unwrap().below(&job), None);
    }

    #[test]
    fn a_name_out_of_a_file_leads_nowhere_else() {
        let root = Location::parse("/data").unwrap();
        for bad in ["../etc/passwd", "a/../../b", "./x", "a\nb", "a\0b"] {
            assert_eq!(root.join(bad).check().unwrap_err().kind(), Kind::InvalidArgument, "{bad:?}");
        }
        assert!(root.join("..a/b..").check().is_ok());
    }
}
