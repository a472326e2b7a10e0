//! The HTTP client under the SDK: our limits, the configured authorities and proxy.

use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_kms::config::SharedHttpClient;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};

use crate::config::KmsTransport;
use crate::error::{Kind, Result};
use crate::kms::CA_FILE;
use crate::net::tls;

/// Idle connections are dropped before the load balancers of the cloud drop them unnoticed.
const KEEP_IDLE: Duration = Duration::from_secs(50);

/// A client for everything that is called: AWS KMS, STS, and the machine's metadata service.
pub fn http_client(config: &KmsTransport) -> Result<SharedHttpClient> {
    tls::install();
    let (context, proxy) = (tls_context(config)?, proxy(config)?);
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder().pool_idle_timeout(KEEP_IDLE).proxy_config(proxy.clone());
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context.clone()).build()
    }))
}

/// The limits of one attempt; how long an operation takes as a whole is limited above this client.
pub fn limits(config: &KmsTransport) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout)
        .operation_attempt_timeout(config.attempt_timeout)
        .build()
}

/// One policy of ours stands over all clients, so the SDK's own is off.
pub fn no_retry() -> RetryConfig {
    RetryConfig::disabled()
}

/// Checks the configured address: `https`, and `http` only to this machine.
pub fn check_endpoint(text: &str) -> Result<()> {
    let bad = |reason: &str| Kind::Config.error(format_args!("kms.aws.endpoint: {reason}"));
    let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("an address such as https://host is expected"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        // The text is not repeated: it holds a credential.
        return Err(bad("an address holds no user and no password"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_host = bare.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.bytes().all(name));
    if !is_host || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(bad(&format!("'{}' is no host", authority.escape_debug())));
    }
    if !path.is_empty() {
        return Err(bad("nothing follows the host and the port"));
    }
    match scheme {
        "https" => Ok(()),
        "http" if host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) => Ok(()),
        "http" => Err(bad("https is required (http only to this machine, 127.0.0.1 or localhost)")),
        _ => Err(bad("https is required")),
    }
}

/// The configured authorities stand instead of the system's.
fn tls_context(config: &KmsTransport) -> Result<TlsContext> {
    let mut trusted = TrustStore::default();
    if let Some(path) = &config.ca_file {
        // Read and checked here: the client below panics on what is no certificate.
        trusted = TrustStore::empty().with_pem_certificate(tls::Authorities::read(CA_FILE, path)?.pem);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build();
    context.map_err(|error| Kind::Config.error(format_args!("no TLS client can be made: {error}")))
}

/// `kms.proxy`, or what the environment names, for `https` only: what is called by plain `http` is on this machine or
/// beside it, and its answers (credentials) are no proxy's business.
fn proxy(config: &KmsTransport) -> Result<ProxyConfig> {
    let variable = |name: &str| {
        let value = std::env::var(name.to_uppercase()).or_else(|_| std::env::var(name));
        value.ok().filter(|value| !value.is_empty())
    };
    let (source, address) = match (&config.proxy, variable("https_proxy"), variable("all_proxy")) {
        (Some(address), _, _) => ("kms.proxy", address.clone()),
        (None, Some(address), _) => ("HTTPS_PROXY", address),
        (None, None, Some(address)) => ("ALL_PROXY", address),
        (None, None, None) => return Ok(ProxyConfig::disabled()),
    };
    let address = if address.contains("://") { address } else { format!("http://{address}") };
    // The address may hold a password: it is not repeated.
    let bad = |_| Kind::Config.error(format_args!("{source}: http://host:port is expected"));
    let direct = format!("localhost,127.0.0.0/8,::1,{}", variable("no_proxy").unwrap_or_default());
    Ok(ProxyConfig::https(address).map_err(bad)?.no_proxy(direct))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::config::AwsKmsConfig;
    use crate::kms::KmsClient;
    use crate::kms::aws::AwsKmsClient;

    #[test]
    fn https_goes_through_the_proxy_whose_password_is_never_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, "[default]\naws_access_key_id = AKID\naws_secret_access_key = hunter3\n").unwrap();
        let config = AwsKmsConfig {
            region: "eu-west-1".to_owned(),
            key_id: "alias/flink".to_owned(),
            open_key_ids: Vec::new(),
            endpoint: Some("https://kms.example".to_owned()),
            fips: false,
            profile: Some("default".to_owned()),
            credentials_file: Some(file),
            role_arn: None,
        };
        let transport = KmsTransport {
            attempt_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            ca_file: None,
            proxy: Some(format!("http://user:hunter2@{address}")),
        };
        let client = AwsKmsClient::new(&config, &transport).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(client.current_key_version()).unwrap_err();
        assert_eq!(error.kind(), Kind::KmsUnavailable, "{error}");
        assert!(!error.message().contains("hunter"), "{error}");
        let request = proxy.join().unwrap();
        assert!(request.starts_with("CONNECT kms.example:443 "), "{request}");
        // "user:hunter2"
        assert!(request.to_lowercase().contains("proxy-authorization: basic dxnlcjpodw50zxiy"), "{request}");
    }

    #[test]
    fn an_endpoint_is_https_or_this_machine() {
        for good in [
            "https://vpce-0a1b.kms.eu-central-1.vpce.amazonaws.com",
            "https://kms.internal:8443/",
            "http://127.0.0.1:4566",
            "http://localhost:4566",
            "http://[::1]:4566",
            "https://[2001:db8::1]",
        ] {
            assert!(check_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "kms.internal",
            "kms.internal:443",
            "http://kms.internal",
            "http://10.0.0.1",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "https://",
            "https://:443",
            "https://host:port",
            "https://host:99999",
            "https://host/path",
            "https://host?query",
            "https://ho st",
            "ftp://host",
        ] {
            let error = check_endpoint(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.message().starts_with("kms.aws.endpoint: "), "{error}");
        }
        assert!(!check_endpoint("https://u:hunter2@host").unwrap_err().message().contains("hunter2"));
    }
}
