//! As much of a Kubernetes API server as Vault's login method asks: reviews of service account tokens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The namespace of all service accounts.
const NAMESPACE: &str = "streaming";

/// Listens for as long as the test process lives.
pub struct TokenReviewer {
    address: String,
}

impl TokenReviewer {
    pub fn start() -> TokenReviewer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = format!("http://{}", listener.local_addr().expect("it listens"));
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| review(&stream)));
        TokenReviewer { address }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The token of a service account. Vault reads it, and has its signature checked by the reviewer.
pub fn token(account: &str) -> String {
    let claims = json!({
        "iss": "https://kubernetes.default.svc",
        "aud": ["https://kubernetes.default.svc"],
        "exp": 4_000_000_000_u64,
        "nbf": 1_600_000_000,
        "iat": 1_600_000_000,
        "sub": format!("system:serviceaccount:{NAMESPACE}:{account}"),
        "kubernetes.io": {"namespace": NAMESPACE, "serviceaccount": {"name": account, "uid": format!("uid-{account}")}},
    });
    let parts = [json!({"alg": "RS256", "typ": "JWT"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([7; 256]))
}

/// Answers one `POST /apis/authentication.k8s.io/v1/tokenreviews`.
fn review(mut stream: &TcpStream) {
    let mut lines = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).expect("the request is whole");
    let request: Value = serde_json::from_slice(&body).expect("a TokenReview");
    let claims = request["spec"]["token"].as_str().and_then(|token| token.split('.').nth(1)).expect("a token");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("claims");
    let answer = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "status": {
            "authenticated": true,
            "audiences": request["spec"]["audiences"],
            "user": {
                "username": claims["sub"],
                "uid": claims["kubernetes.io"]["serviceaccount"]["uid"],
                "groups": ["system:serviceaccounts"],
            },
        },
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all((head + &answer).as_bytes());
}
