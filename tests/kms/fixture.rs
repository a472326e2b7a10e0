//! What a case works with: a service, a route to it of its own, and clients.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use sealpoint::context::EncryptionContext;
use sealpoint::error::{Error, Kind, Result};
use serde_json::Value;

use crate::client::Client;
use crate::provider::{Pairs, Service};
use crate::proxy::{Proxy, Route, Tls};

/// One test's view of a service.
pub struct Fixture<'s> {
    service: &'s dyn Service,
    proxy: Option<Arc<Proxy>>,
    route: Option<Route>,
}

impl<'s> Fixture<'s> {
    pub fn new(service: &'s dyn Service, proxy: Option<&Arc<Proxy>>) -> Fixture<'s> {
        let upstream = service.upstream();
        let route = upstream.and_then(|upstream| proxy.map(|proxy| proxy.listen(Some(&upstream), Tls::Good)));
        Fixture { service, proxy: proxy.cloned(), route }
    }

    pub fn service(&self) -> &'s dyn Service {
        self.service
    }

    /// The way of this test's clients to the server; `None` where there is no network.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    /// The same, in a case that is about the network.
    pub fn network(&self) -> &Route {
        self.route.as_ref().expect("the case is not applicable where there is no network")
    }

    /// From now on this happens to what clients of the key ask for: in the network, or in the service where there is
    /// none.
    pub fn inject(&self, key: &str, action: Value) {
        match self.route() {
            Some(route) => route.inject(action),
            None => self.service.afflict(key, Some(&action)),
        }
    }

    /// Everything is well again.
    pub fn clear(&self, key: &str) {
        match self.route() {
            Some(route) => route.clear(),
            None => self.service.afflict(key, None),
        }
    }

    /// A second listener in front of the same server, that speaks like this.
    pub fn listen(&self, tls: Tls) -> Route {
        let upstream = self.service.upstream().expect("the case is not applicable where there is no network");
        self.proxy.as_ref().expect("where there is a network there is a proxy").listen(Some(&upstream), tls)
    }

    /// A listener that accepts connections and never says a word.
    pub fn silent(&self) -> Route {
        self.proxy.as_ref().expect("the case is not applicable where there is no network").listen(None, Tls::Good)
    }

    /// The settings of a client of this key that may do everything.
    pub fn settings(&self, key: &str) -> Pairs {
        self.service.settings(key, self.route())
    }

    /// A client of a fresh key.
    pub fn fresh(&self) -> (String, Client) {
        let key = self.service.new_key();
        let client = self.client(&self.settings(&key));
        (key, client)
    }

    /// A client of these settings; `with` gives what the suite adds.
    pub fn client(&self, settings: &Pairs) -> Client {
        Client::connect(&self.complete(settings, self.route())).unwrap_or_else(|error| panic!("it connects: {error}"))
    }

    /// A client of a fresh key that goes by another listener.
    pub fn client_by(&self, route: &Route, more: &Pairs) -> Client {
        let mut settings = self.service.settings(&self.service.new_key(), Some(route));
        settings.extend(more.iter().cloned());
        Client::connect(&self.complete(&settings, Some(route))).unwrap_or_else(|error| panic!("it connects: {error}"))
    }

    /// The settings with the proxy's authority and with time-outs that tests can wait for, unless they say otherwise.
    pub fn complete(&self, settings: &Pairs, route: Option<&Route>) -> Pairs {
        let patient = !settings.iter().any(|(known, _)| known == "kms.attempt-timeout");
        let mut complete = settings.clone();
        let mut add = |key: &str, value: String| {
            if !complete.iter().any(|(known, _)| known == key) {
                complete.push((key.to_owned(), value));
            }
        };
        // Calls to a module wait for each other, also for those that another case holds up.
        let (attempt, all) = if self.route.is_some() || route.is_some() { ("20 s", "30 s") } else { ("60 s", "90 s") };
        add("kms.timeout", all.to_owned());
        if patient {
            add("kms.connect-timeout", "15 s".to_owned());
        }
        add("kms.attempt-timeout", attempt.to_owned());
        add("kms.calls-per-second", "10000".to_owned());
        if let Some(route) = route {
            add("kms.ca-file", route.ca_file().display().to_string());
        }
        complete
    }
}

/// An encryption context of these pairs.
pub fn context<const N: usize>(pairs: [(&str, &str); N]) -> EncryptionContext {
    EncryptionContext::new(pairs).expect("a context within the limits")
}

/// The context of one tenant, as the key ring would give it.
pub fn tenant(name: &str) -> EncryptionContext {
    context([("sealpoint:tenant", name), ("sealpoint:data-key", "00112233445566778899aabbccddeeff")])
}

/// It failed, in just this way, and says something useful. Gives the error.
#[track_caller]
pub fn fails<T: Debug>(outcome: Result<T>, kind: Kind) -> Error {
    match outcome {
        Ok(value) => panic!("it succeeded ({value:?}), but should be {kind:?}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().len() > 20, "an error says what happened and what to do: {error}");
            error
        }
    }
}

/// It succeeded. Gives the result.
#[track_caller]
pub fn ok<T>(outcome: Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{:?}: {error}", error.kind()))
}

/// Within minutes of now: a server's clock is not ours, and its times are often whole seconds.
pub fn is_recent(time: SystemTime) -> bool {
    let now = SystemTime::now();
    let apart = now.duration_since(time).or_else(|_| time.duration_since(now)).expect("one is the later");
    apart.as_secs() < 600
}
