//! One HTTP client with explicit limits. It retries nothing and follows no redirect, which would carry credentials
//! elsewhere.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, NoProxy, Proxy, Url, redirect, retry};

use super::tls;
use crate::error::{Error, Kind, Result};

/// Idle connections are dropped before the load balancers of the clouds (60 s and more) drop them unnoticed.
const KEEP_IDLE: Duration = Duration::from_secs(50);

/// Never reached through a proxy: this machine, and the clouds' metadata servers.
const DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.0.0/16,metadata.google.internal";

/// How long one attempt may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To connect.
    pub connect: Duration,
    /// From the beginning until the answer is read.
    pub attempt: Duration,
    /// Between two pieces of the answer.
    pub read: Duration,
}

/// A client with these limits, which trusts the authorities of `ca_file` (as `ca_option` names it) or else the system's.
/// The proxy is the given one, or what the environment says. It connects to nothing yet.
pub fn client(
    limits: Limits,
    ca_option: &str,
    ca_file: Option<&Path>,
    proxy: Option<&str>,
    https: bool,
) -> Result<Client> {
    tls::install();
    let mut builder = Client::builder()
        .user_agent(concat!("sealpoint/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect)
        .timeout(limits.attempt)
        .read_timeout(limits.read)
        .pool_idle_timeout(KEEP_IDLE)
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .https_only(https)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy();
    for proxy in proxies(proxy)? {
        builder = builder.proxy(proxy);
    }
    if let Some(path) = ca_file {
        let authorities = tls::Authorities::read(ca_option, path)?;
        let roots = authorities.der.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>();
        let roots = roots.map_err(|error| Kind::Config.error(format_args!("{ca_option}: {error}")))?;
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|error| {
        Kind::Config.error(format_args!(
            "no TLS client can be made: {}; set {ca_option} if this machine has no certificates of authorities",
            root_cause(&error)
        ))
    })
}

/// `kms.proxy`, or what the environment names; with `NO_PROXY` either way.
fn proxies(configured: Option<&str>) -> Result<Vec<Proxy>> {
    let variable = |name: &str| {
        let value = std::env::var(name.to_uppercase()).or_else(|_| std::env::var(name));
        value.ok().filter(|value| !value.is_empty())
    };
    let direct = format!("{DIRECT},{}", variable("no_proxy").unwrap_or_default());
    // A proxy's address may hold a password: it is not repeated.
    let bad = |source: &str| Kind::Config.error(format_args!("{source}: http://host:port is expected"));
    let proxy = |source: &str, made: reqwest::Result<Proxy>| {
        Ok::<_, Error>(made.map_err(|_| bad(source))?.no_proxy(NoProxy::from_string(&direct)))
    };
    if let Some(url) = configured {
        return Ok(vec![proxy("kms.proxy", Proxy::all(url))?]);
    }
    let mut found = Vec::new();
    if let Some(url) = variable("https_proxy") {
        found.push(proxy("HTTPS_PROXY", Proxy::https(url))?);
    }
    if let Some(url) = variable("http_proxy") {
        found.push(proxy("HTTP_PROXY", Proxy::http(url))?);
    }
    if let Some(url) = variable("all_proxy") {
        found.push(proxy("ALL_PROXY", Proxy::all(url))?);
    }
    Ok(found)
}

/// True for a host that is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The server of an address, without path and query, which may hold what is secret.
pub fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The innermost text: the outer ones of HTTP clients say only that something failed.
pub fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
