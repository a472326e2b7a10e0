//! Tenants: whose a file is, found by its path, and which ones this process may open.

use crate::config::options;
use crate::error::{Kind, Result};

/// The tenants of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    default: String,
    named: Vec<TenantConfig>,
    open: Vec<String>,
}

/// One configured tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantConfig {
    /// Its name, as it stands in the head of its files.
    pub name: String,
    /// The path prefixes of its files.
    pub paths: Vec<String>,
    /// Its key-encryption keys, if they are not the providers' common ones: one for all key services, or one for each of
    /// them in their order.
    pub keys: Vec<String>,
}

/// The longest name that fits the file format.
const MAX_NAME: usize = 128;

impl Tenants {
    /// Checks names and prefixes against each other.
    pub(super) fn new(default: String, named: Vec<TenantConfig>, open: Option<Vec<String>>) -> Result<Tenants> {
        check_name(options::TENANT.key, &default)?;
        for tenant in &named {
            check_name(&options::TENANT_PATHS.key_of(&tenant.name), &tenant.name)?;
        }
        refuse_shared_prefixes(&named)?;
        let all = || std::iter::once(&default).chain(named.iter().map(|tenant| &tenant.name));
        let open = match open {
            Some(open) => open,
            None => {
                let mut open: Vec<String> = all().cloned().collect();
                open.sort();
                open.dedup();
                open
            }
        };
        for name in &open {
            check_name(options::OPEN_TENANTS.key, name)?;
        }
        if let Some(name) = all().find(|name| !open.contains(name)) {
            return Err(Kind::Config.error(format_args!(
                "{} leaves out '{name}', a tenant that {} or {} makes this process seal for: it could not open its own files",
                options::OPEN_TENANTS.key,
                options::TENANT.key,
                options::TENANT_PATHS.key_of(name)
            )));
        }
        Ok(Tenants { default, named, open })
    }

    /// Whose the files are that no prefix claims.
    pub fn default_tenant(&self) -> &str {
        &self.default
    }

    /// The tenants with prefixes or a key of their own.
    pub fn named(&self) -> &[TenantConfig] {
        &self.named
    }

    /// The tenants that this process seals for.
    pub fn sealing(&self) -> impl Iterator<Item = &String> {
        let others = self.named.iter().map(|tenant| &tenant.name).filter(|name| **name != self.default);
        std::iter::once(&self.default).chain(others)
    }

    /// The tenants whose files this process may open; those that it seals for are among them.
    pub fn open(&self) -> &[String] {
        &self.open
    }

    /// True if this process may open files of this tenant.
    pub fn may_open(&self, tenant: &str) -> bool {
        self.open.iter().any(|name| name == tenant)
    }

    /// The tenant's own key-encryption keys, as configured.
    pub fn keys_of(&self, tenant: &str) -> &[String] {
        self.named.iter().find(|named| named.name == tenant).map_or(&[], |named| &named.keys)
    }

    /// Whose a file at this path is: the longest prefix of whole components wins. `sealed+s3://b/x`, `s3://b/x` and
    /// `s3a://b/x` are the same path, as are `file:///x`, `file:/x` and `/x`; make a relative path absolute first.
    pub fn of_path(&self, path: &str) -> &str {
        self.claimed_by(path).unwrap_or(&self.default)
    }

    /// As [`of_path`](Self::of_path), but `None` where no prefix claims the path.
    pub fn claimed_by(&self, path: &str) -> Option<&str> {
        let path = normalize(path);
        let prefixes =
            self.named.iter().flat_map(|tenant| tenant.paths.iter().map(move |prefix| (normalize(prefix), tenant)));
        let longest = prefixes.filter(|(prefix, _)| holds(prefix, &path)).max_by_key(|(prefix, _)| prefix.len());
        longest.map(|(_, tenant)| tenant.name.as_str())
    }
}

fn refuse_shared_prefixes(named: &[TenantConfig]) -> Result<()> {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for tenant in named {
        for prefix in tenant.paths.iter().map(|prefix| normalize(prefix)) {
            if let Some((_, other)) = seen.iter().find(|(known, _)| *known == prefix) {
                return Err(Kind::Config.error(format_args!(
                    "{} and {} both hold the prefix '{prefix}'",
                    options::TENANT_PATHS.key_of(other),
                    options::TENANT_PATHS.key_of(&tenant.name)
                )));
            }
            seen.push((prefix, &tenant.name));
        }
    }
    Ok(())
}

fn check_name(key: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(|c: char| c.is_control()) {
        return Err(Kind::Config.error(format_args!(
            "{key}: a tenant's name has 1 to {MAX_NAME} bytes and no control characters, unlike '{}'",
            name.escape_debug()
        )));
    }
    Ok(())
}

fn holds(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

/// The schemes by which the same storage is reached.
fn storage_of(scheme: &str) -> String {
    match scheme.to_ascii_lowercase().as_str() {
        "s3a" | "s3n" => "s3".to_owned(),
        "abfss" => "abfs".to_owned(),
        "wasbs" => "wasb".to_owned(),
        other => other.to_owned(),
    }
}

/// `scheme://authority/components`, without `sealed+`, doubled slashes, `.` and `..`.
fn normalize(path: &str) -> String {
    let path = path.strip_prefix("sealed+").unwrap_or(path);
    let (scheme, rest) = match path.split_once(":/") {
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => (scheme, format!("/{rest}")),
        _ => ("file", path.to_owned()),
    };
    let (authority, rest) = match rest.strip_prefix("//") {
        Some(rest) if scheme != "file" || path.contains("://") => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        _ => ("", rest.as_str()),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if rest.starts_with('/') || rest.is_empty() { "/" } else { "" };
    format!("{}://{authority}{slash}{}", storage_of(scheme), parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants() -> Tenants {
        let tenant = |name: &str, paths: &[&str]| TenantConfig {
            name: name.to_owned(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            keys: Vec::new(),
        };
        let named = vec![
            tenant("a", &["s3://b/a", "/data/a/"]),
            tenant("deep", &["sealed+s3://b/a/deep"]),
            tenant("bucket", &["s3://whole"]),
        ];
        Tenants::new("default".to_owned(), named, None).unwrap()
    }

    #[test]
    fn the_longest_prefix_of_whole_components_wins() {
        let tenants = tenants();
        for (path, tenant) in [
            ("s3://b/a/chk-1/x", "a"),
            ("sealed+s3://b/a", "a"),
            ("sealed+s3a://b/a/x", "a"),
            ("s3://b/ab/x", "default"),
            ("s3://b/a/deep/x", "deep"),
            ("S3://b/a//deep/./x", "deep"),
            ("s3://b/a/deep/../x", "a"),
            ("s3://b/a/../other/x", "default"),
            ("s3://other/a/x", "default"),
            ("s3://whole/x", "bucket"),
            ("s3://whole", "bucket"),
            ("s3://wholesale/x", "default"),
            ("/data/a/x", "a"),
            ("file:/data/a/x", "a"),
            ("sealed+file:///data/a/x", "a"),
            ("data/a/x", "default"),
        ] {
            assert_eq!(tenants.of_path(path), tenant, "{path}");
        }
    }

    #[test]
    fn a_process_opens_those_it_seals_for_and_no_others_by_default() {
        let tenants = tenants();
        assert!(tenants.may_open("default") && tenants.may_open("deep"));
        assert!(!tenants.may_open("other"));
    }
}
