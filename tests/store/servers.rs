//! The servers, and how each store of the contract is opened.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sealpoint::store::{Environment, Location, Store, StoreOptions};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::child::{Child, Missing, root, tool};
use crate::elsewhere::Elsewhere;
use crate::proxy::{Proxy, Route, Tls};

/// A kind of store, what it is tested with, and which cases that server cannot do, each with the reason.
pub struct Kind {
    pub name: &'static str,
    pub start: fn() -> Result<Service, Missing>,
    pub lacks: &'static [(&'static str, &'static str)],
}

pub const KINDS: &[Kind] = &[
    Kind { name: "file", start: files, lacks: FILES },
    Kind { name: "s3", start: minio, lacks: &[] },
    Kind { name: "abfs", start: azurite, lacks: AZURE },
    Kind { name: "gs", start: gcs, lacks: GOOGLE },
];

const OF_S3: &str = "said of S3, whose server is the fastest: what it asks of a store, reading, listing and writing, other cases try here";
const RACES: &str = "said of S3 and Azure; here put_new_race and replace_race try the conditional writes that it rests on, not the whole of it";
const NO_REGIONS: &str = "it is about S3's region, and without credentials others ask the machine that they run on";

const AZURE: &[(&str, &str)] = &[
    ("checkpoints_come_and_go", OF_S3),
    ("sidecar_truncated", OF_S3),
    ("sidecar_swapped", OF_S3),
    ("sidecar_rolled_back", OF_S3),
    ("what_is_wrong_with_a_checkpoint", OF_S3),
    ("compromised_key", OF_S3),
    ("one_read_of_each_head", OF_S3),
    ("written_and_not_given_back", OF_S3),
    ("nowhere_and_nobody", NO_REGIONS),
];

const GOOGLE: &[(&str, &str)] = &[
    ("rewrap_killed", RACES),
    ("several_rewraps_at_once", RACES),
    ("checkpoints_come_and_go", OF_S3),
    ("sidecar_truncated", OF_S3),
    ("sidecar_swapped", OF_S3),
    ("sidecar_rolled_back", OF_S3),
    ("what_is_wrong_with_a_checkpoint", OF_S3),
    ("compromised_key", OF_S3),
    ("shredded_tenant", OF_S3),
    ("nowhere_and_nobody", NO_REGIONS),
    ("throttled_tool", OF_S3),
    ("one_read_of_each_head", OF_S3),
    ("written_and_not_given_back", OF_S3),
];

const FILES: &[(&str, &str)] = &[
    ("unknown_bucket", "files lie in no bucket"),
    ("access_denied", "the tests may run as root, who is denied nothing"),
    ("wrong_credentials", "files take no credentials"),
    ("throttled", "files are asked by no request"),
    ("throttled_for_longer_than_it_is_waited", "files are asked by no request"),
    ("cut_connections", "files are asked by no request"),
    ("lost_answers", "files are asked by no request"),
    ("http_not_allowed", "files are asked by no request"),
    ("unknown_issuer", "files are asked by no request"),
    ("nobody_there", "files are asked by no request"),
    ("rewrap_killed", "tests/rewrap says it of files"),
    ("several_rewraps_at_once", "tests/rewrap says it of files"),
    ("checkpoints_come_and_go", "tests/rewrap says it of files"),
    ("sidecar_truncated", "tests/rewrap says it of files"),
    ("sidecar_swapped", "tests/rewrap says it of files"),
    ("sidecar_rolled_back", "tests/rewrap says it of files"),
    ("what_is_wrong_with_a_checkpoint", "tests/checkpoints says it of files"),
    ("replaced_file", "tests/checkpoints says it of files"),
    ("preflight_of_a_restore", "tests/checkpoints says it of files"),
    ("compromised_key", "tests/checkpoints says it of files"),
    ("shredded_tenant", "tests/retirement says it of files"),
    ("refused_tool", "files are asked by no request"),
    ("nowhere_and_nobody", NO_REGIONS),
    ("reader_only", "tests/rewrap says it of files"),
    ("throttled_tool", "files are asked by no request"),
    ("one_read_of_each_head", "files are asked by no request"),
    ("written_and_not_given_back", "files are asked by no request"),
];

/// The account of Azurite that its documentation publishes.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const BUCKET: &str = "checkpoints";
const USER: &str = "contract-user";
const PASSWORD: &str = "contract-password";

/// A variable of the environment and its value; an empty one is as good as none.
pub type Variable = (&'static str, String);

/// A running server, or a folder.
pub struct Service {
    /// The bucket.
    pub root: Location,
    pub environment: Vec<Variable>,
    /// `http://127.0.0.1:port`; nothing for files.
    pub upstream: Option<String>,
    /// What follows the server in its address.
    path: &'static str,
    /// The variables that hold the address, and that allow http.
    pub address_names: [&'static str; 2],
    proxy: Option<Arc<Proxy>>,
    _child: Option<Child>,
    folder: TempDir,
}

impl Service {
    /// Parts of objects that were never finished; none where they cannot be looked at.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        let of_minio = self.folder.path().join(".minio.sys/multipart");
        let entries = std::fs::read_dir(of_minio).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// What a case is given: a place of its own in a store.
pub struct Fixture<'s> {
    pub service: &'s Service,
    pub root: Location,
    pub runtime: Runtime,
}

impl<'s> Fixture<'s> {
    pub fn new(service: &'s Service, case: &str) -> Fixture<'s> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Fixture { service, root: service.root.join(case), runtime }
    }

    pub fn store(&self) -> Store {
        Store::open(&self.root, &self.options()).unwrap()
    }

    pub fn options(&self) -> StoreOptions {
        let endpoint = self.service.upstream.as_ref().map(|upstream| format!("{upstream}{}", self.service.path));
        StoreOptions {
            endpoint,
            allow_http: true,
            environment: Environment::of(self.service.environment.clone()),
            ..StoreOptions::default()
        }
    }

    /// What a process is told by its environment to reach the store.
    pub fn of_a_process(&self) -> Vec<Variable> {
        let mut environment = self.service.environment.clone();
        if let Some(upstream) = &self.service.upstream {
            let [endpoint, allow_http] = self.service.address_names;
            environment.push((endpoint, format!("{upstream}{}", self.service.path)));
            environment.push((allow_http, "true".to_owned()));
        }
        environment
    }

    /// The place of the case for the files of a folder.
    pub fn elsewhere(&self) -> Elsewhere {
        Elsewhere::new(self.root.clone(), self.options(), self.of_a_process())
    }

    /// The store behind the fault proxy.
    pub fn through(&self, tls: Tls) -> (Route, StoreOptions) {
        let proxy = self.service.proxy.as_ref().expect("servers have a proxy");
        let route = proxy.listen(self.service.upstream.as_deref(), tls);
        let options = StoreOptions {
            endpoint: Some(format!("{}{}", route.url(), self.service.path)),
            allow_http: false,
            ca_file: Some(route.ca_file()),
            ..self.options()
        };
        (route, options)
    }

    /// What makes somebody of us who may list and read, and do nothing else.
    pub fn reader(&self) -> Vec<Variable> {
        match self.root.scheme() {
            "s3" => vec![("AWS_SKIP_SIGNATURE", "true".to_owned())],
            "gs" => vec![("GOOGLE_BEARER_TOKEN", "reader".to_owned())],
            _ => vec![("AZURE_STORAGE_ACCOUNT_KEY", String::new()), ("AZURE_STORAGE_SAS_TOKEN", read_only())],
        }
    }

    /// What makes somebody of us whom nobody knows.
    pub fn wrong_credentials(&self) -> Vec<Variable> {
        match self.root.scheme() {
            "s3" => vec![("AWS_SECRET_ACCESS_KEY", "hunter2hunter2".to_owned())],
            "gs" => vec![("GOOGLE_BEARER_TOKEN", "hunter2".to_owned())],
            _ => vec![("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMmh1bnRlcjI=".to_owned())],
        }
    }

    /// The same with some variables set otherwise, or added.
    pub fn with(&self, changes: &[Variable]) -> StoreOptions {
        let mut pairs = self.service.environment.clone();
        pairs.retain(|(known, _)| changes.iter().all(|(name, _)| name != known));
        pairs.extend(changes.iter().cloned());
        StoreOptions { environment: Environment::of(pairs), ..self.options() }
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary files can be made")
}

fn program(name: &str) -> PathBuf {
    root().join("target/store-env").join(name)
}

fn files() -> Result<Service, Missing> {
    let folder = folder();
    let root = Location::of_path(folder.path()).unwrap();
    Ok(Service {
        root,
        environment: Vec::new(),
        upstream: None,
        path: "",
        address_names: ["", ""],
        proxy: None,
        _child: None,
        folder,
    })
}

fn minio() -> Result<Service, Missing> {
    let folder = folder();
    // A bucket is a folder of its drive.
    std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
    let (child, port) = Child::serve("s3", |port| {
        let mut command = Command::new(program("minio"));
        command.arg("server").arg("--quiet").arg("--address").arg(format!("127.0.0.1:{port}")).arg(folder.path());
        command.env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD).env("MINIO_BROWSER", "off");
        command.env("MINIO_SITE_REGION", "us-east-1");
        command
    })?;
    let mut policy = Command::new(tool("python"));
    policy.arg(root().join("tests/store/servers/allow_reading.py")).arg(format!("http://127.0.0.1:{port}"));
    let policy = policy.args([USER, PASSWORD, BUCKET]).output().map_err(|error| Missing(format!("python: {error}")))?;
    assert!(policy.status.success(), "{}", String::from_utf8_lossy(&policy.stderr));
    let environment = vec![
        ("AWS_ACCESS_KEY_ID", USER.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", PASSWORD.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    serving("s3://checkpoints", environment, port, ["AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"], "", child, folder)
}

fn azurite() -> Result<Service, Missing> {
    let folder = folder();
    let script = program("node_modules/azurite/dist/src/blob/main.js");
    if !script.exists() {
        return Err(Missing(format!("abfs: there is no {}; `make store-env` builds it", script.display())));
    }
    let (child, port) = Child::serve("abfs", |port| {
        let mut command = Command::new("node");
        command.arg(&script).args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent"]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry", "--location"]).arg(folder.path());
        command
    })?;
    make_container(port);
    let environment =
        vec![("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()), ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.to_owned())];
    let uri = "abfss://checkpoints@devstoreaccount1.dfs.core.windows.net";
    serving(uri, environment, port, ["AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP"], "/devstoreaccount1", child, folder)
}

fn gcs() -> Result<Service, Missing> {
    let (child, port) = Child::serve("gs", |port| {
        let mut command = Command::new("python3");
        command.arg(root().join("tests/store/servers/gcs.py")).arg(port.to_string()).arg(BUCKET);
        command
    })?;
    let environment = vec![("GOOGLE_BEARER_TOKEN", "owner".to_owned())];
    serving("gs://checkpoints", environment, port, ["GOOGLE_BASE_URL", "GOOGLE_ALLOW_HTTP"], "", child, folder())
}

fn serving(
    uri: &str,
    environment: Vec<Variable>,
    port: u16,
    address_names: [&'static str; 2],
    path: &'static str,
    child: Child,
    folder: TempDir,
) -> Result<Service, Missing> {
    Ok(Service {
        root: Location::parse(uri).unwrap(),
        environment,
        upstream: Some(format!("http://127.0.0.1:{port}")),
        path,
        address_names,
        proxy: Some(Proxy::start()?),
        _child: Some(child),
        folder,
    })
}

/// By the account's key: <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.
fn make_container(port: u16) {
    let (date, version) = ("Thu, 01 Jan 2026 00:00:00 GMT", "2021-12-02");
    let resource = format!("/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container");
    let text = format!("PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n{resource}");
    let signature = signature(&text);
    let headers =
        format!("x-ms-date: {date}\r\nx-ms-version: {version}\r\nAuthorization: SharedKey {ACCOUNT}:{signature}\r\n");
    let made = http(port, &format!("PUT /{ACCOUNT}/{BUCKET}?restype=container"), &headers, "");
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
}

/// A shared access signature that lists and reads, and does nothing else.
fn read_only() -> String {
    let (until, version) = ("2099-01-01T00:00:00Z", "2018-11-09");
    let signature = signature(&format!("{ACCOUNT}\nrl\nb\nsco\n\n{until}\n\n\n{version}\n"));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={version}&ss=b&srt=sco&sp=rl&se={}&sig={signature}", until.replace(':', "%3A"))
}

fn signature(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(ACCOUNT_KEY).unwrap()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn http(port: u16, start: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it accepted a connection just now");
    let length = body.len();
    write!(
        stream,
        "{start} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
