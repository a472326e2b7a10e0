//! The one way to an object store's server: paced, bounded, tried again where a failure may pass, and read by one table of
//! what answers mean. The retries of `object_store` are off.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Body, Client, Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::answers::{self, Meaning};
use crate::error::{Error, Kind, Result};
use crate::net::{self, Limits, tls};
use crate::store::pace::Pace;

pub const CA_FILE: &str = "store.ca-file";

/// Long enough for a part of an upload over a slow line.
const ATTEMPT: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(30);
/// For how long a request is tried again.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same while the server has never answered: the address may be wrong.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(5);
/// The machine's own source of credentials is there or not.
const PATIENCE_WITH_METADATA: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The most bytes that an answer may have: more than any piece that is read at once.
const MAX_ANSWER: usize = 512 * 1024 * 1024;

tokio::task_local! {
    /// Set when an attempt may have been carried out although no answer to it came.
    static UNCLEAR: AtomicBool;
}

/// Runs an operation; the flag says that one of its requests may have been carried out twice.
pub async fn watched<R>(operation: impl Future<Output = R>) -> (R, bool) {
    UNCLEAR
        .scope(AtomicBool::new(false), async {
            let result = operation.await;
            (result, UNCLEAR.with(|unclear| unclear.load(Ordering::Relaxed)))
        })
        .await
}

/// What is to be done where there are no credentials.
const GIVE: &str = "set the variables of the environment that hold some, as docs/STORES.md lists them";

/// Makes the clients of one store and of whoever gives it credentials.
#[derive(Debug)]
pub struct Connector {
    pub ca_file: Option<PathBuf>,
    pub pace: Arc<Pace>,
    /// The host of the store; any other is asked for credentials.
    pub host: String,
}

impl Connector {
    /// What every store's builder is given.
    pub fn options(allow_http: Option<bool>) -> ClientOptions {
        let options = ClientOptions::new().with_connect_timeout(CONNECT);
        match allow_http {
            Some(allowed) => options.with_allow_http(allowed),
            None => options,
        }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let value = |key| options.get_config_value(&key).unwrap_or_default();
        let allow_http = value(ClientConfigKey::AllowHttp) == "true";
        // The machine's own service is asked with a limit that is not ours.
        let metadata = value(ClientConfigKey::ConnectTimeout)
            != Connector::options(None).get_config_value(&ClientConfigKey::ConnectTimeout).unwrap_or_default();
        let connect = if metadata { PATIENCE_WITH_METADATA } else { CONNECT };
        let limits = Limits { connect, attempt: ATTEMPT, read: READ };
        let made = net::client(limits, CA_FILE, self.ca_file.as_deref(), None, !allow_http);
        let client = made.map_err(refuse_to_build)?;
        let (host, pace) = (self.host.clone(), Arc::clone(&self.pace));
        Ok(HttpClient::new(Service { client, pace, host, metadata, allow_http, answered: AtomicBool::new(false) }))
    }
}

fn refuse_to_build(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "store", source: Box::new(Refusal::Fault(error)) }
}

#[derive(Debug)]
struct Service {
    client: Client,
    pace: Arc<Pace>,
    host: String,
    metadata: bool,
    allow_http: bool,
    /// It has answered once, so that its address is right.
    answered: AtomicBool,
}

/// Why there is no answer that `object_store` is to read; it is found again in the error that comes out of it.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The range begins after the end of the object.
    PastEnd,
    /// Anything else.
    Fault(Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::PastEnd => f.write_str("the range begins after the end"),
            Refusal::Fault(error) => error.fmt(f),
        }
    }
}

impl StdError for Refusal {}

/// What one attempt came to.
enum Attempt {
    Answer(HttpResponse),
    Refused(Refusal),
    /// It may go better next time; after a pause if one was asked for.
    Again(Error),
    /// The same, but the server may have done what it was asked for.
    Unclear(Error),
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let begun = Instant::now();
        let mut bound = FIRST_PAUSE;
        let mut attempts = 0;
        loop {
            self.pace.turn().await;
            attempts += 1;
            let error = match self.attempt(&request).await {
                Attempt::Answer(answer) => return Ok(answer),
                Attempt::Refused(refusal) => return Err(refused(refusal)),
                Attempt::Again(error) => error,
                Attempt::Unclear(error) => {
                    let _outside = UNCLEAR.try_with(|unclear| unclear.store(true, Ordering::Relaxed));
                    // What is posted (the end of an upload) is not to be done twice.
                    if *request.method() == Method::POST {
                        return Err(refused(Refusal::Fault(error)));
                    }
                    error
                }
            };
            let pause = jittered(bound).max(error.retry_after().unwrap_or_default());
            bound = (bound * 2).min(LONGEST_PAUSE);
            if begun.elapsed() + pause > self.patience() {
                return Err(refused(Refusal::Fault(
                    error.at(format_args!("{attempts} attempts failed, the last one")),
                )));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

impl Service {
    fn patience(&self) -> Duration {
        match (self.metadata, self.answered.load(Ordering::Relaxed)) {
            (true, _) => PATIENCE_WITH_METADATA,
            (false, false) => PATIENCE_AT_FIRST,
            (false, true) => PATIENCE,
        }
    }

    async fn attempt(&self, request: &HttpRequest) -> Attempt {
        let url = match request.uri().to_string().parse() {
            Ok(url) => url,
            Err(error) => return fault(Kind::Config.error(format_args!("no address: {error}"))),
        };
        let mut sent = Request::new(request.method().clone(), url);
        sent.headers_mut().clone_from(request.headers());
        *sent.body_mut() = Some(Body::wrap(request.body().clone()));
        let place = net::place(sent.url());
        if sent.url().scheme() == "http" && !self.allow_http {
            return fault(Kind::Config.error(format_args!(
                "{place}: http is not allowed: give an https address, or allow http (AWS_ALLOW_HTTP, AZURE_ALLOW_HTTP or \
                 GOOGLE_ALLOW_HTTP = true)"
            )));
        }
        let ours = sent.url().host_str() == Some(self.host.as_str());
        let answer = match self.client.execute(sent).await {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(&place, &error),
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = match read(answer).await {
            Ok(Some(body)) => body,
            Ok(None) => return fault(Kind::StoreUnavailable.error(format_args!("{place} answered without end"))),
            Err(error) => return self.unanswered(&place, &error),
        };
        self.answered.store(true, Ordering::Relaxed);
        let conditional = [IF_MATCH, IF_NONE_MATCH].iter().any(|name| request.headers().contains_key(name))
            || request.headers().contains_key("x-goog-if-generation-match");
        match answers::meaning(status, &headers, &body, conditional) {
            Meaning::Answer if ours || status.is_success() => {
                let mut answer = HttpResponse::new(body.into());
                (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
                Attempt::Answer(answer)
            }
            Meaning::PastEnd => Attempt::Refused(Refusal::PastEnd),
            Meaning::Again(error) => {
                let error = error.at(&place).after(retry_after(&headers));
                if carried_out(status) { Attempt::Unclear(error) } else { Attempt::Again(error) }
            }
            Meaning::Refused(error) if ours => fault(error),
            Meaning::Answer | Meaning::Refused(_) => {
                let said = answers::said(&headers, &body);
                fault(
                    Kind::Credentials
                        .error(format_args!("{place} gave no credentials (status {status}{said}): {GIVE}")),
                )
            }
        }
    }

    fn unanswered(&self, place: &str, error: &reqwest::Error) -> Attempt {
        if self.metadata {
            return Attempt::Again(
                Kind::Credentials
                    .error(format_args!("{place}, the machine's own service, gives no credentials: {GIVE}")),
            );
        }
        if let Some(error) = tls::fault(CA_FILE, error) {
            if error.kind() == Kind::Config {
                return fault(error.at(place));
            }
            return Attempt::Again(Kind::StoreUnavailable.error(error.message()).at(place));
        }
        let cause = net::root_cause(error);
        if error.is_builder() {
            return fault(Kind::Config.error(format_args!("no request to {place} can be made: {cause}")));
        }
        let unavailable = |text: fmt::Arguments<'_>| Kind::StoreUnavailable.error(format_args!("{place} {text}"));
        if error.is_connect() {
            return Attempt::Again(unavailable(format_args!(
                "cannot be reached: {cause}; check the address, or the network"
            )));
        }
        if error.is_timeout() {
            return Attempt::Unclear(unavailable(format_args!("does not answer in time")));
        }
        Attempt::Unclear(unavailable(format_args!("broke the connection off: {cause}")))
    }
}

/// A server that failed may have done its work before; one that is too busy has not.
fn carried_out(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE
}

async fn read(mut answer: Response) -> reqwest::Result<Option<Bytes>> {
    let mut whole = BytesMut::new();
    while let Some(piece) = answer.chunk().await? {
        if whole.len() + piece.len() > MAX_ANSWER {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.freeze()))
}

fn fault(error: Error) -> Attempt {
    Attempt::Refused(Refusal::Fault(error))
}

fn refused(refusal: Refusal) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, refusal)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Between half of it and all of it, so that many who were refused at once do not come back at once.
fn jittered(bound: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness the pause is the longest.
    let part = aws_lc_rs::rand::fill(&mut random).map_or(255, |()| u32::from(random[0]));
    bound / 2 + bound / 2 * part / 255
}
