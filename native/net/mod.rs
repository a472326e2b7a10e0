//! What every client over the network shares: TLS, proxies, and one HTTP client with explicit limits.

#[cfg(feature = "http")]
mod client;
mod proxy;
pub mod tls;

#[cfg(feature = "http")]
pub use client::{Limits, client, is_loopback, place, root_cause};
pub use proxy::at_proxy;
