//! The local keyring: nobody else reads it, no version is ever lost, and whatever is wrong with it is one clear error.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sealpoint::config::KeyringConfig;
use sealpoint::context::EncryptionContext;
use sealpoint::error::{Error, Kind};
use sealpoint::kms::local::{KeyringFile, LocalHsmClient};
use sealpoint::kms::{Destruction, KeySpec, KmsClient, WrappedKey};
use sealpoint::secret::Secret;
use tempfile::TempDir;

struct Fixture {
    directory: TempDir,
    passphrase: Option<PathBuf>,
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Fixture {
    fn plain() -> Fixture {
        let fixture = Fixture { directory: tempfile::tempdir().unwrap(), passphrase: None };
        fixture.file().create("sealpoint").unwrap();
        fixture
    }

    fn with_passphrase(text: &str) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let passphrase = directory.path().join("passphrase");
        write_secret(&passphrase, text);
        let fixture = Fixture { directory, passphrase: Some(passphrase) };
        fixture.file().create("sealpoint").unwrap();
        fixture
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keyring.json")
    }

    fn file(&self) -> KeyringFile {
        KeyringFile::new(&self.path(), self.passphrase.as_deref()).unwrap()
    }

    fn open(&self) -> Result<LocalHsmClient, Error> {
        LocalHsmClient::open(&KeyringConfig {
            keyring: self.path(),
            key: "sealpoint".to_owned(),
            passphrase_file: self.passphrase.clone(),
        })
    }

    /// It cannot be opened, and the error names the file and each of these words.
    fn refused(&self, words: &[&str]) {
        let error = self.open().expect_err("the keyring is refused");
        assert_eq!(error.kind(), Kind::Keyring, "{error}");
        for word in words.iter().copied().chain([self.path().to_str().unwrap()]) {
            assert!(error.message().contains(word), "'{error}' names {word}");
        }
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        run(&self.path(), arguments)
    }
}

fn run(path: &Path, arguments: &[&str]) -> Output {
    let (command, rest) = arguments.split_first().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
    process.args(["keyring", command]).arg(path).args(rest).output().unwrap()
}

fn context(tenant: &str) -> EncryptionContext {
    EncryptionContext::new([("sealpoint:tenant", tenant)]).unwrap()
}

/// The local client works on threads of the runtime that may block.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn what_it_wraps_it_unwraps_in_the_same_context_only() {
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    let (secret, wrapped) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    assert_eq!(secret.expose().len(), 32);
    assert_eq!(now(client.decrypt(&wrapped, &context("a"))).unwrap().expose(), secret.expose());
    let error = now(client.decrypt(&wrapped, &context("b"))).unwrap_err();
    assert_eq!(error.kind(), Kind::WrappedKey);
    now(client.test_connection()).unwrap();
}

#[test]
fn a_wrapped_key_altered_anywhere_is_refused() {
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    let (_, wrapped) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    let refused = |bytes: Vec<u8>| {
        let altered = WrappedKey { kek: wrapped.kek.clone(), version: wrapped.version.clone(), bytes };
        now(client.decrypt(&altered, &context("a"))).unwrap_err().kind() == Kind::WrappedKey
    };
    for bit in 0..wrapped.bytes.len() * 8 {
        let mut bytes = wrapped.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(bytes), "bit {bit}");
    }
    for length in 0..wrapped.bytes.len() {
        assert!(refused(wrapped.bytes[..length].to_vec()), "length {length}");
    }
    assert!(refused([wrapped.bytes.as_slice(), &[0]].concat()));
    assert!(refused(vec![1; 64 * 1024]));
}

#[test]
fn old_versions_unwrap_after_a_rotation_by_another_process_until_disabled() {
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    let (secret, old) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();

    assert!(fixture.cli(&["rotate"]).status.success());
    let (_, new) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    assert_eq!((old.version.as_str(), new.version.as_str()), ("1", "2"));
    assert_eq!(now(client.decrypt(&old, &context("a"))).unwrap().expose(), secret.expose());
    let rewrapped = now(client.rewrap(&old, &context("a"))).unwrap();
    assert_eq!(rewrapped.version, "2");

    assert!(fixture.cli(&["disable", "1"]).status.success());
    let error = now(client.decrypt(&old, &context("a"))).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyDisabled);
    assert!(error.message().contains("version 1 is disabled"), "{error}");
    assert_eq!(now(client.decrypt(&rewrapped, &context("a"))).unwrap().expose(), secret.expose());

    assert!(fixture.cli(&["enable", "1"]).status.success());
    assert_eq!(now(client.decrypt(&old, &context("a"))).unwrap().expose(), secret.expose());
    let versions = now(client.key_versions()).unwrap();
    assert_eq!(versions.iter().map(|version| version.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert!(versions.iter().all(|version| version.enabled));
    assert!(versions[0].created_at <= versions[1].created_at);
}

#[test]
fn an_unknown_key_or_version_is_an_error_that_names_what_there_is() {
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    let error = client.with_key("other").unwrap_err();
    assert_eq!(error.kind(), Kind::KeyNotFound);
    assert!(error.message().contains("'other'") && error.message().contains("'sealpoint'"), "{error}");
    let (_, mut wrapped) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    for version in ["2", "0", "-1", "01", "+1", "", "4294967297", "\n"] {
        wrapped.version = version.to_owned();
        let error = now(client.decrypt(&wrapped, &context("a"))).unwrap_err();
        assert_eq!(error.kind(), Kind::KeyVersionNotFound, "{version}");
    }
}

#[test]
fn several_keys_live_in_one_keyring_and_do_not_open_each_others() {
    let fixture = Fixture::plain();
    assert!(fixture.cli(&["add", "--key", "payments"]).status.success());
    let common = fixture.open().unwrap();
    let payments = common.with_key("payments").unwrap();
    let (_, wrapped) = now(payments.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    assert_eq!(now(common.decrypt(&wrapped, &context("a"))).unwrap_err().kind(), Kind::WrappedKey);
    assert!(now(payments.decrypt(&wrapped, &context("a"))).is_ok());
    let again = fixture.cli(&["add", "--key", "payments"]);
    assert_eq!(again.status.code(), Some(2));
}

#[test]
fn a_key_that_was_destroyed_is_gone_with_all_its_versions_and_no_other_is() {
    let fixture = Fixture::plain();
    assert!(fixture.cli(&["add", "--key", "payments"]).status.success());
    let common = fixture.open().unwrap();
    let payments = common.with_key("payments").unwrap();
    let (_, wrapped) = now(common.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    assert_eq!(now(payments.schedule_destruction(Duration::ZERO)), Ok(Destruction::Done));
    assert_eq!(
        now(payments.encrypt(&Secret::random(32).unwrap(), &context("a"))).unwrap_err().kind(),
        Kind::KeyNotFound
    );
    assert!(now(common.decrypt(&wrapped, &context("a"))).is_ok());
    assert!(!fs::read_to_string(fixture.path()).unwrap().contains("payments"));
    assert_eq!(now(common.schedule_destruction(Duration::ZERO)), Ok(Destruction::Done), "the last one too");
    assert_eq!(now(common.decrypt(&wrapped, &context("a"))).unwrap_err().kind(), Kind::KeyNotFound);
    assert!(fixture.cli(&["add", "--key", "sealpoint"]).status.success());
    assert_eq!(now(common.decrypt(&wrapped, &context("a"))).unwrap_err().kind(), Kind::WrappedKey, "another key");
}

#[test]
fn a_missing_keyring_says_how_to_get_one() {
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    fs::remove_file(fixture.path()).unwrap();
    fixture.refused(&["there is no keyring", "sealpoint keyring create"]);
    let error = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap_err();
    assert_eq!(error.kind(), Kind::Keyring, "a running process notices too");
}

#[test]
fn a_keyring_that_others_may_read_is_refused() {
    let fixture = Fixture::plain();
    assert_eq!(fs::metadata(fixture.path()).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
        fs::set_permissions(fixture.path(), fs::Permissions::from_mode(mode)).unwrap();
        fixture.refused(&[&format!("mode 0{mode:o}"), &format!("chmod 600 {}", fixture.path().display())]);
    }
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o400)).unwrap();
    fixture.open().unwrap();
}

#[test]
fn a_keyring_of_another_user_is_refused() {
    let fixture = Fixture::plain();
    if std::os::unix::fs::chown(fixture.path(), Some(12_345), None).is_err() {
        eprintln!("not run: only root can give a file away");
        return;
    }
    fixture.refused(&["belongs to user 12345", "chown"]);
}

#[test]
fn a_link_a_directory_or_a_pipe_is_no_keyring() {
    let fixture = Fixture::plain();
    let real = fixture.directory.path().join("real.json");
    fs::rename(fixture.path(), &real).unwrap();
    symlink(&real, fixture.path()).unwrap();
    fixture.refused(&["symbolic link"]);
    fs::remove_file(fixture.path()).unwrap();
    fs::create_dir(fixture.path()).unwrap();
    fixture.refused(&["not a regular file"]);
    fs::remove_dir(fixture.path()).unwrap();
    let made = Command::new("mkfifo").arg("-m").arg("600").arg(fixture.path()).status().unwrap();
    assert!(made.success());
    fixture.refused(&["not a regular file"]);
}

#[test]
fn a_truncated_keyring_is_refused_at_every_length() {
    let fixture = Fixture::plain();
    let whole = fs::read(fixture.path()).unwrap();
    let end = whole.iter().rposition(|byte| *byte == b'}').unwrap();
    for length in 0..=end {
        fs::write(fixture.path(), &whole[..length]).unwrap();
        fixture.refused(&["damaged", "restore it from a backup"]);
    }
}

#[test]
fn a_keyring_with_any_one_bit_flipped_is_refused_or_holds_the_same_keys() {
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    let (secret, wrapped) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    let whole = fs::read(fixture.path()).unwrap();
    let mut refused = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(fixture.path(), &bytes).unwrap();
        match fixture.open() {
            // A flip in white space, say.
            Ok(client) => assert_eq!(now(client.decrypt(&wrapped, &context("a"))).unwrap().expose(), secret.expose()),
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Keyring | Kind::KeyNotFound), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > whole.len() * 4, "most flips break it: {refused}");
}

#[test]
fn a_key_that_stands_in_the_wrong_place_is_not_printed() {
    let fixture = Fixture::plain();
    let whole = fs::read_to_string(fixture.path()).unwrap();
    let material = whole.split("\"material\": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let misplaced = [
        whole.replace("\"enabled\": true", &format!("\"enabled\": \"{material}\"")),
        whole.replace("\"enabled\"", &format!("\"{material}\"")),
    ];
    for text in misplaced {
        assert_ne!(text, whole);
        fs::write(fixture.path(), text).unwrap();
        let error = fixture.open().unwrap_err();
        assert!(error.message().contains("damaged") && !error.message().contains(material), "a key in the error");
    }
}

#[test]
fn a_keyring_with_unknown_doubled_or_disordered_parts_is_refused() {
    let fixture = Fixture::plain();
    assert!(fixture.cli(&["rotate"]).status.success());
    let whole = fs::read_to_string(fixture.path()).unwrap();
    for (old, new) in [
        ("\"format\"", "\"more\": 1, \"format\""),
        ("\"version\": 1,\n  \"keys\"", "\"version\": 2,\n  \"keys\""),
        ("\"version\": 2,\n          \"created", "\"version\": 3,\n          \"created"),
        ("\"name\": \"sealpoint\"", "\"name\": \"\""),
        ("\"name\": \"sealpoint\"", "\"name\": \"other\""),
        ("\"enabled\": true", "\"enabled\": 1"),
        ("\"created_at_ms\": 1", "\"created_at_ms\": 2"),
    ] {
        let altered = whole.replacen(old, new, 1);
        assert_ne!(altered, whole, "{old} is there to be altered");
        fs::write(fixture.path(), altered).unwrap();
        fixture.refused(&["damaged"]);
    }
    let mut json: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let keys = json["keys"].as_array_mut().unwrap();
    keys.push(keys[0].clone());
    fs::write(fixture.path(), json.to_string()).unwrap();
    fixture.refused(&["damaged", "twice"]);
}

#[test]
fn a_passphrase_is_needed_and_must_be_the_right_one() {
    let mut fixture = Fixture::with_passphrase("correct horse\n");
    let client = fixture.open().unwrap();
    let (secret, wrapped) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();

    let file = fixture.passphrase.clone().unwrap();
    fs::write(&file, "correct horse").unwrap();
    assert_eq!(now(fixture.open().unwrap().decrypt(&wrapped, &context("a"))).unwrap().expose(), secret.expose());
    fs::write(&file, "wrong horse\n").unwrap();
    fixture.refused(&["the passphrase in", file.to_str().unwrap(), "does not open"]);
    let rotated = fixture.cli(&["rotate", "--passphrase-file", file.to_str().unwrap()]);
    assert_eq!(rotated.status.code(), Some(1), "nothing is written under a wrong passphrase");

    fixture.passphrase = None;
    fixture.refused(&["protected by a passphrase", "kms.local.passphrase-file"]);
    let text = fs::read_to_string(fixture.path()).unwrap();
    assert!(text.contains("argon2id"));
}

#[test]
fn a_passphrase_for_an_unprotected_keyring_is_a_mistake() {
    let mut fixture = Fixture::plain();
    let file = fixture.directory.path().join("passphrase");
    write_secret(&file, "x");
    fixture.passphrase = Some(file.clone());
    fixture.refused(&["has no passphrase"]);
    fs::write(&file, "\n").unwrap();
    let error = fixture.open().unwrap_err();
    assert!(error.message().contains(file.to_str().unwrap()) && error.message().contains("empty"), "{error}");
}

#[test]
fn a_passphrase_is_changed_added_and_taken_away_and_the_keys_stay() {
    let mut fixture = Fixture::plain();
    let wrapped = now(fixture.open().unwrap().encrypt(&Secret::random(32).unwrap(), &context("a"))).unwrap();
    let [first, second] = ["first", "second"].map(|name| fixture.directory.path().join(name));
    write_secret(&first, "correct horse");
    write_secret(&second, "battery staple");
    let [first, second] = [first, second].map(|path| path.to_str().unwrap().to_owned());
    let steps: [(&[&str], Option<&str>); 3] = [
        (&["--new-passphrase-file", &first], Some(&first)),
        (&["--passphrase-file", &first, "--new-passphrase-file", &second], Some(&second)),
        (&["--passphrase-file", &second, "--no-passphrase"], None),
    ];
    for (arguments, now_under) in steps {
        let changed = fixture.cli(&[&["passphrase"], arguments].concat());
        assert!(changed.status.success(), "{changed:?}");
        fixture.refused(&["passphrase"]);
        fixture.passphrase = now_under.map(PathBuf::from);
        now(fixture.open().unwrap().decrypt(&wrapped, &context("a"))).unwrap();
    }
    let before = fs::read(fixture.path()).unwrap();
    for wrong in [&["passphrase"][..], &["passphrase", "--no-passphrase", "--new-passphrase-file", &first]] {
        assert_eq!(fixture.cli(wrong).status.code(), Some(2));
    }
    assert_eq!(fixture.cli(&["passphrase", "--passphrase-file", &first, "--no-passphrase"]).status.code(), Some(1));
    assert_eq!(fs::read(fixture.path()).unwrap(), before);
}

#[test]
fn a_passphrase_file_that_others_can_read_is_refused() {
    let fixture = Fixture::with_passphrase("x");
    let file = fixture.passphrase.clone().unwrap();
    for mode in [0o400, 0o600] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        fixture.open().unwrap();
    }
    for mode in [0o644, 0o604, 0o660, 0o602] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let error = fixture.open().unwrap_err();
        assert_eq!(error.kind(), Kind::Keyring);
        for word in ["passphrase file", &format!("{mode:04o}"), &format!("chmod 600 {}", file.display())] {
            assert!(error.message().contains(word), "'{error}' names {word}");
        }
        let rotated = fixture.cli(&["rotate", "--passphrase-file", file.to_str().unwrap()]);
        assert_eq!(rotated.status.code(), Some(1));
    }
}

/// Kubernetes puts a secret's files in a dated folder, behind two links.
#[test]
fn a_passphrase_mounted_as_a_kubernetes_secret_is_read_through_its_links() {
    let mut fixture = Fixture::with_passphrase("x");
    let mount = fixture.directory.path().join("mount");
    let dated = mount.join("..2026_11_24_12_00_00.1");
    fs::create_dir_all(&dated).unwrap();
    write_secret(&dated.join("passphrase"), "x");
    symlink("..2026_11_24_12_00_00.1", mount.join("..data")).unwrap();
    symlink("..data/passphrase", mount.join("passphrase")).unwrap();
    fixture.passphrase = Some(mount.join("passphrase"));
    fixture.open().unwrap();
    fs::set_permissions(dated.join("passphrase"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(fixture.open().unwrap_err().message().contains("defaultMode: 0400"));
}

#[test]
fn argon2_parameters_from_the_file_are_bounded_and_bound() {
    let fixture = Fixture::with_passphrase("x");
    let whole = fs::read_to_string(fixture.path()).unwrap();
    for (old, new) in [
        ("\"memory_kib\": 65536", "\"memory_kib\": 4294967295"),
        ("\"memory_kib\": 65536", "\"memory_kib\": 8"),
        ("\"passes\": 3", "\"passes\": 4294967295"),
        ("\"lanes\": 4", "\"lanes\": 0"),
        ("argon2id", "argon2i"),
    ] {
        let altered = whole.replacen(old, new, 1);
        assert_ne!(altered, whole);
        fs::write(fixture.path(), altered).unwrap();
        fixture.refused(&["damaged"]);
    }
    fs::write(fixture.path(), whole.replacen("\"passes\": 3", "\"passes\": 2", 1)).unwrap();
    fixture.refused(&["does not open"]);
}

#[test]
fn create_never_touches_what_is_there() {
    let fixture = Fixture::plain();
    let before = fs::read(fixture.path()).unwrap();
    let output = fixture.cli(&["create"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("exists already"));
    assert_eq!(fs::read(fixture.path()).unwrap(), before);

    let dangling = fixture.directory.path().join("link.json");
    symlink(fixture.directory.path().join("nowhere"), &dangling).unwrap();
    assert_eq!(run(&dangling, &["create"]).status.code(), Some(1));
    assert!(fs::symlink_metadata(&dangling).unwrap().is_symlink());
}

#[test]
fn what_a_crash_left_behind_is_cleared_away() {
    let fixture = Fixture::plain();
    let leftover = fixture.directory.path().join(".keyring.json.tmp");
    fs::write(&leftover, "half").unwrap();
    assert!(fixture.cli(&["rotate"]).status.success());
    assert!(!leftover.exists());
    assert_eq!(now(fixture.open().unwrap().current_key_version()).unwrap().id, "2");
}

#[test]
fn two_processes_that_rotate_at_once_lose_no_version() {
    const ROUNDS: usize = 25;
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    let (secret, first) = now(client.generate_data_key(KeySpec::Aes256, &context("a"))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let output = fixture.cli(&["rotate"]);
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                }
            });
        }
        for _ in 0..ROUNDS {
            now(client.rotate()).unwrap();
        }
    });
    let versions = now(client.key_versions()).unwrap();
    assert_eq!(versions.len(), 1 + 3 * ROUNDS);
    assert_eq!(now(client.decrypt(&first, &context("a"))).unwrap().expose(), secret.expose());
}

#[test]
fn show_tells_everything_but_the_keys() {
    let fixture = Fixture::plain();
    assert!(fixture.cli(&["rotate"]).status.success());
    assert!(fixture.cli(&["disable", "1"]).status.success());
    let json: serde_json::Value = serde_json::from_slice(&fixture.cli(&["show", "--json"]).stdout).unwrap();
    assert_eq!(json["keys"][0]["name"], "sealpoint");
    assert_eq!(json["keys"][0]["current"], 2);
    assert_eq!(json["keys"][0]["versions"][0]["enabled"], false);
    let text = String::from_utf8(fixture.cli(&["show"]).stdout).unwrap();
    assert!(text.contains("disabled") && text.contains("current"), "{text}");
    let file: serde_json::Value = serde_json::from_slice(&fs::read(fixture.path()).unwrap()).unwrap();
    for version in file["keys"][0]["versions"].as_array().unwrap() {
        let material = version["material"].as_str().unwrap();
        assert!(!text.contains(material) && !json.to_string().contains(material));
    }
    let current = fixture.cli(&["disable", "2"]);
    assert_eq!(current.status.code(), Some(2));
    assert!(String::from_utf8(current.stderr).unwrap().contains("rotate"));
}

#[test]
fn a_file_that_is_waited_for_holds_up_nothing_else_on_the_thread() {
    let fixture = Fixture::plain();
    let client = fixture.open().unwrap();
    let lock = fs::File::create(fixture.path().with_extension("json.lock")).unwrap();
    lock.lock().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let rotation = tokio::spawn(async move { client.rotate().await });
        // Whoever waits for the lock on this thread never lets this end before it has given up.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!rotation.is_finished());
        lock.unlock().unwrap();
        assert_eq!(rotation.await.unwrap().unwrap().id, "2");
    });
}
