//! HTTP to key services: one client with explicit limits, and one reading of everything that can go wrong before an
//! answer is there. Nothing is retried here, no redirect is followed (it would carry credentials elsewhere).

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url};
use zeroize::Zeroizing;

use crate::config::KmsTransport;
use crate::error::{Error, Kind, Result};
use crate::kms::timestamp::http_date;
use crate::kms::{CA_FILE, PROXY, clocks};
use crate::net::{self, Limits, at_proxy, is_loopback, place, root_cause, tls};

/// The most bytes that an answer may have; the largest that key services give are lists of versions.
const MAX_BODY: usize = 1024 * 1024;

/// A client with the limits, the authorities and the proxy of the configuration. It connects to nothing yet.
pub fn client(config: &KmsTransport) -> Result<Client> {
    let limits =
        Limits { connect: config.connect_timeout, attempt: config.attempt_timeout, read: config.attempt_timeout };
    net::client(limits, CA_FILE, config.ca_file.as_deref(), config.proxy.as_deref(), false)
}

/// A service's address as the configuration gives it: `https`, and `http` only to this machine.
pub fn address(option: &str, text: &str) -> Result<Url> {
    let bad = |reason: &str| Kind::Config.error(format_args!("{option}: {reason}, unlike '{}'", text.escape_debug()));
    let url = Url::parse(text)
        .map_err(|error| bad(&format!("an address such as https://host:port is expected ({error})")))?;
    let host = url.host_str().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not repeated: it holds a credential.
        return Err(Kind::Config.error(format_args!("{option}: an address holds no user and no password")));
    }
    match url.scheme() {
        _ if host.is_empty() => Err(bad("an address such as https://host:port is expected")),
        _ if url.query().is_some() || url.fragment().is_some() => Err(bad("an address ends before any ? or #")),
        "https" => Ok(url),
        "http" if is_loopback(host) => Ok(url),
        "http" => Err(bad("https is required (http only to this machine, 127.0.0.1 or localhost)")),
        _ => Err(bad("https is required")),
    }
}

/// What a service answered, whatever its status.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long the service asks callers to stay away.
    pub retry_after: Option<Duration>,
    /// The other headers.
    pub headers: HeaderMap,
    /// The body; wiped, because it may hold a key. (The buffers of the HTTP and TLS libraries below are not.)
    pub body: Zeroizing<Vec<u8>>,
}

/// A body to send that is wiped once it is sent: it may hold a key or a credential.
pub fn wiped(body: Zeroizing<Vec<u8>>) -> reqwest::Body {
    bytes::Bytes::from_owner(body).into()
}

/// Sends a request and reads its answer to the end.
pub async fn send(request: RequestBuilder) -> Result<Answer> {
    let mut response = request.send().await.map_err(|error| failure(&error))?;
    let url = response.url().clone();
    let mut chunks = Vec::new();
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error.with_url(url.clone())))? {
        length += chunk.len();
        if length > MAX_BODY {
            return Err(Kind::KmsUnavailable
                .error(format_args!("{} answered more than {MAX_BODY} bytes: is this the key service?", place(&url))));
        }
        chunks.push(chunk);
    }
    let mut body = Zeroizing::new(Vec::with_capacity(length));
    chunks.iter().for_each(|chunk| body.extend_from_slice(chunk));
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    clocks::heard(place(&url), date, SystemTime::now());
    Ok(Answer {
        status: response.status().as_u16(),
        retry_after: retry_after(response.headers(), SystemTime::now()),
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

/// Why there is no answer. The text names the server, never what was sent.
pub fn failure(error: &reqwest::Error) -> Error {
    let place = error.url().map_or_else(|| "the key service".to_owned(), place);
    if let Some(fault) = tls::fault(CA_FILE, error) {
        return fault.at(place);
    }
    let cause = root_cause(error);
    if error.is_timeout() {
        let limit = if error.is_connect() { "kms.connect-timeout" } else { "kms.attempt-timeout" };
        Kind::KmsTimeout.error(format_args!("{place} did not answer within {limit}"))
    } else if error.is_builder() {
        Kind::Config.error(format_args!("no request to {place} can be made: {cause}"))
    } else if at_proxy(error) {
        Kind::KmsUnavailable.error(format_args!("{place} cannot be reached through {PROXY}: {cause}"))
    } else if error.is_dns() {
        Kind::KmsUnavailable.error(format_args!("{place}: the name of the host cannot be resolved: {cause}"))
    } else if error.is_connect() {
        Kind::KmsUnavailable.error(format_args!("{place} cannot be reached: {cause}"))
    } else {
        Kind::KmsUnavailable.error(format_args!("{place} broke the connection off: {cause}"))
    }
}

/// How long the header asks to stay away: seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(http_date(text)?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::path::PathBuf;
    use std::thread;

    use reqwest::header::HeaderValue;

    use super::*;

    fn config() -> KmsTransport {
        KmsTransport {
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            ca_file: None,
            proxy: None,
        }
    }

    /// A server that handles one connection.
    fn server(handle: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            handle(stream);
        });
        address
    }

    fn answering(text: &'static str) -> SocketAddr {
        server(move |mut stream| stream.write_all(text.as_bytes()).unwrap())
    }

    fn get(address: SocketAddr, config: &KmsTransport) -> Result<Answer> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = client(config).unwrap();
        runtime.block_on(send(client.get(format!("http://{address}/secret-path"))))
    }

    #[test]
    fn an_answer_is_read_whole_whatever_its_status() {
        let address = answering(
            "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        );
        let answer = get(address, &config()).unwrap();
        assert_eq!((answer.status, answer.retry_after), (429, Some(Duration::from_secs(7))));
        assert_eq!(answer.body.as_slice(), b"abcde");
        let elsewhere = answering("HTTP/1.1 307 Other\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(get(elsewhere, &config()).unwrap().status, 307);
    }

    #[test]
    fn no_answer_is_unavailable_or_a_timeout_and_names_the_server() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let impatient = KmsTransport { attempt_timeout: Duration::from_millis(200), ..config() };
        let cases = [
            (Kind::KmsUnavailable, free, config(), "refused"),
            (Kind::KmsUnavailable, server(drop), config(), "connection"),
            (Kind::KmsUnavailable, answering("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nhalf"), config(), ""),
            (Kind::KmsUnavailable, answering("SSH-2.0-OpenSSH_9.2\r\n"), config(), ""),
            (Kind::KmsTimeout, silent.local_addr().unwrap(), impatient, "kms.attempt-timeout"),
        ];
        for (kind, address, config, said) in cases {
            let Err(error) = get(address, &config) else { panic!("{address} answered") };
            assert_eq!(error.kind(), kind, "{error}");
            let text = error.message().to_lowercase();
            assert!(text.contains(&address.to_string()) && text.contains(said), "{error}");
            assert!(!text.contains("secret-path"), "{error}");
        }
    }

    #[test]
    fn an_endless_answer_is_cut_off() {
        let address = server(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        });
        let Err(error) = get(address, &config()) else { panic!("it was read") };
        assert!(error.message().contains("more than"), "{error}");
    }

    #[test]
    fn the_proxy_of_the_configuration_is_used_and_its_password_never_told() {
        let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy");
        let through = KmsTransport { proxy: Some(format!("http://user:hunter2@{address}")), ..config() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(send(client(&through).unwrap().get("http://vault.test/v1")));
        assert_eq!(answer.unwrap().body.as_slice(), b"proxy");
        let wrong = KmsTransport { proxy: Some("://user:hunter2@x".to_owned()), ..config() };
        let error = client(&wrong).unwrap_err();
        assert!(error.message().contains("kms.proxy") && !error.message().contains("hunter2"), "{error}");
    }

    #[test]
    fn the_file_of_authorities_must_be_there() {
        let missing = KmsTransport { ca_file: Some(PathBuf::from("/nonexistent/ca.pem")), ..config() };
        assert!(client(&missing).unwrap_err().message().contains("kms.ca-file"));
    }

    #[test]
    fn an_address_is_https_or_this_machine() {
        for good in [
            "https://vault:8200",
            "https://vault/prefix",
            "http://127.0.0.1:8200",
            "http://localhost",
            "http://[::1]:1",
        ] {
            assert!(address("kms.vault.address", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "vault:8200",
            "vault",
            "http://vault:8200",
            "ftp://vault",
            "https://",
            "https://a?b",
            "https://a#b",
            "http://127.0.0.1.evil/",
        ] {
            let error = address("kms.vault.address", bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.message().starts_with("kms.vault.address: "), "{error}");
        }
        assert!(!address("x", "https://u:hunter2@vault").unwrap_err().message().contains("hunter2"));
    }

    #[test]
    fn a_wish_to_be_left_alone_is_seconds_or_a_date() {
        let now = http_date("Tue, 24 Nov 2026 21:00:00 GMT").unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            ("Tue, 24 Nov 2026 21:00:30 GMT", Some(30)),
            ("Tue, 24 Nov 2026 20:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
