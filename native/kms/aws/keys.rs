//! Which key we use, and which keys' data keys we open: decided by the configuration, whatever a file says.

use std::fmt;

use parking_lot::RwLock;

use crate::error::{Error, Kind, Result};

/// An alias may be pointed at another key; so many of its keys are remembered.
const MOST_SEEN: usize = 16;

/// The name of a key that never changes: `arn:aws:kms:eu-central-1:111122223333:key/1234abcd-...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyArn {
    partition: String,
    region: String,
    account: String,
    id: String,
}

/// The key as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Arn(KeyArn),
    Id(String),
    /// `alias/<name>`, or its ARN, which names the account.
    Alias {
        account: Option<String>,
    },
}

/// The configured key, and the further ones that may be opened.
#[derive(Debug)]
pub struct Keys {
    region: String,
    text: String,
    name: Name,
    further: Vec<KeyArn>,
    /// The keys that the service found behind the configured name.
    seen: RwLock<Vec<KeyArn>>,
}

impl Keys {
    /// Checks what the configuration says.
    pub fn new(region: &str, key_id: &str, open_key_ids: &[String]) -> Result<Keys> {
        check_region(region)?;
        let name = Name::parse(region, key_id).map_err(|error| error.at("kms.aws.key-id"))?;
        let further = open_key_ids.iter().map(|text| {
            let arn = KeyArn::parse(text)
                .ok_or_else(|| Kind::Config.error(format_args!("'{}' is not the ARN of a key", text.escape_debug())))?;
            arn.check_region(region)?;
            Ok(arn)
        });
        let further = further.collect::<Result<_>>().map_err(|error: Error| error.at("kms.aws.open-key-ids"))?;
        Ok(Keys { region: region.to_owned(), text: key_id.to_owned(), name, further, seen: RwLock::default() })
    }

    /// The configured key, as the configuration names it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The key to name to the service so that it opens a data key under `kek` with that key and no other; `None` if the
    /// configuration allows none.
    pub fn to_open(&self, kek: &str) -> Option<String> {
        let kek = KeyArn::parse(kek)?;
        let here = kek.in_region(&self.region)?;
        if self.is_further(&here) {
            return Some(here.to_string());
        }
        let seen = self.seen.read();
        let own_account = seen.last().is_none_or(|last| last.account == here.account);
        match &self.name {
            Name::Arn(arn) => (*arn == here).then(|| self.text.clone()),
            Name::Id(id) => (*id == here.id && own_account).then(|| self.text.clone()),
            Name::Alias { .. } if seen.contains(&here) => Some(here.to_string()),
            // The alias goes along, so that the service refuses a key that is not behind it.
            Name::Alias { account } => {
                let allowed = account.as_ref().map_or(own_account, |account| *account == here.account);
                allowed.then(|| self.text.clone())
            }
        }
    }

    /// Takes note of the key that the service used for the configured name, and gives its stable name.
    pub fn wrapped_by(&self, answer: Option<&str>) -> Result<String> {
        let arn = answer.and_then(KeyArn::parse).ok_or_else(|| {
            Kind::Internal.error(format_args!("AWS KMS names no key in its answer for {}", self.text))
        })?;
        let expected = match &self.name {
            Name::Arn(own) => *own == arn,
            Name::Id(id) => *id == arn.id,
            Name::Alias { account } => account.as_ref().is_none_or(|account| *account == arn.account),
        };
        if !expected || arn.region != self.region {
            return Err(Kind::Internal.error(format_args!("AWS KMS used {arn} where {} was asked for", self.text)));
        }
        let name = arn.to_string();
        self.see(arn);
        Ok(name)
    }

    /// Checks that what was opened is what the file said, and nothing else.
    pub fn opened_by(&self, kek: &str, answer: Option<&str>) -> Result<()> {
        let claimed = KeyArn::parse(kek).and_then(|kek| kek.in_region(&self.region));
        let used = answer.and_then(KeyArn::parse);
        match (claimed, used) {
            (Some(claimed), Some(used)) if claimed == used => {
                if !self.is_further(&used) && !self.seen.read().contains(&used) {
                    self.see(used);
                }
                Ok(())
            }
            _ => Err(Kind::WrappedKey.error(format_args!(
                "the wrapped data key is not under {kek}, as its file says: the file was tampered with"
            ))),
        }
    }

    fn is_further(&self, here: &KeyArn) -> bool {
        self.further.iter().any(|further| further.in_region(&self.region).as_ref() == Some(here))
    }

    fn see(&self, arn: KeyArn) {
        if self.seen.read().last() == Some(&arn) {
            return;
        }
        let mut seen = self.seen.write();
        if let Some(last) = seen.last().filter(|last| **last != arn) {
            log::warn!(
                "{} now stands for {arn}, no longer for {last}: what is sealed under the old key is opened after a restart \
                 only if kms.aws.open-key-ids holds it",
                self.text
            );
        }
        seen.retain(|known| *known != arn);
        if seen.len() == MOST_SEEN {
            seen.remove(0);
        }
        seen.push(arn);
    }
}

impl KeyArn {
    fn parse(text: &str) -> Option<KeyArn> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else { return None };
        let id = resource.strip_prefix("key/")?;
        let fits = is_label(partition) && is_label(region) && is_account(account) && is_key_id(id);
        fits.then(|| KeyArn {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            id: id.to_owned(),
        })
    }

    fn is_multi_region(&self) -> bool {
        self.id.starts_with("mrk-")
    }

    /// This key as `region` knows it: itself, or the replica there of a multi-region key.
    fn in_region(&self, region: &str) -> Option<KeyArn> {
        let there = self.region == region || self.is_multi_region();
        there.then(|| KeyArn { region: region.to_owned(), ..self.clone() })
    }

    fn check_region(&self, region: &str) -> Result<()> {
        if self.in_region(region).is_some() {
            return Ok(());
        }
        Err(wrong_region(&self.region, region))
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:kms:{}:{}:key/{}", self.partition, self.region, self.account, self.id)
    }
}

impl Name {
    fn parse(region: &str, text: &str) -> Result<Name> {
        if text.starts_with("arn:") {
            return Name::parse_arn(region, text);
        }
        if let Some(alias) = text.strip_prefix("alias/") {
            return Name::alias(alias, None, text);
        }
        if is_key_id(text) {
            return Ok(Name::Id(text.to_owned()));
        }
        let hint = if is_alias(text) { format!(": is alias/{text} meant?") } else { String::new() };
        Err(Kind::Config
            .error(format_args!("'{}' is no id, ARN or alias of an AWS KMS key{hint}", text.escape_debug())))
    }

    fn parse_arn(region: &str, text: &str) -> Result<Name> {
        if let Some(arn) = KeyArn::parse(text) {
            return match arn.region == region {
                true => Ok(Name::Arn(arn)),
                false => Err(wrong_region(&arn.region, region)),
            };
        }
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", _, "kms", place, account, resource] = parts[..] else {
            return Err(not_a_key(text));
        };
        let alias = resource.strip_prefix("alias/").filter(|_| is_account(account)).ok_or_else(|| not_a_key(text))?;
        if place != region {
            return Err(wrong_region(place, region));
        }
        Name::alias(alias, Some(account.to_owned()), text)
    }

    fn alias(alias: &str, account: Option<String>, text: &str) -> Result<Name> {
        if !is_alias(alias) {
            return Err(Kind::Config.error(format_args!("'{}' is no alias of a key", text.escape_debug())));
        }
        if alias.starts_with("aws/") {
            return Err(Kind::Config.error(format_args!(
                "{text} is a key that AWS manages for its own services: only they can use it; create a key of your own"
            )));
        }
        Ok(Name::Alias { account })
    }
}

fn not_a_key(text: &str) -> Error {
    Kind::Config.error(format_args!("'{}' is not the ARN of an AWS KMS key or alias", text.escape_debug()))
}

fn wrong_region(named: &str, configured: &str) -> Error {
    Kind::Config.error(format_args!(
        "the key is in region '{named}', but kms.aws.region is '{configured}': correct one of the two (a key of another \
         region can be a fallback of its own, see kms.fallbacks)"
    ))
}

fn check_region(region: &str) -> Result<()> {
    if is_label(region) && region.contains('-') {
        return Ok(());
    }
    Err(Kind::Config
        .error(format_args!("kms.aws.region: '{}' is no region of AWS, such as eu-central-1", region.escape_debug())))
}

/// Part of a host name, and of an ARN.
fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(fits)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A UUID, or `mrk-` and 32 hexadecimal digits.
fn is_key_id(text: &str) -> bool {
    let hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(rest) = text.strip_prefix("mrk-") {
        return hex(rest, 32);
    }
    let groups: Vec<&str> = text.split('-').collect();
    groups.len() == 5 && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, length)| hex(group, length))
}

fn is_alias(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    (1..=250).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: &str = "eu-central-1";
    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
    const OTHER_ID: &str = "9999abcd-12ab-34cd-56ef-1234567890ab";
    const MRK: &str = "mrk-1234abcd12ab34cd56ef1234567890ab";

    fn arn(region: &str, account: &str, id: &str) -> String {
        format!("arn:aws:kms:{region}:{account}:key/{id}")
    }

    fn own(id: &str) -> String {
        arn(REGION, "111122223333", id)
    }

    fn keys(key_id: &str) -> Keys {
        Keys::new(REGION, key_id, &[]).unwrap()
    }

    #[test]
    fn a_key_by_its_arn_opens_that_key_alone() {
        let keys = keys(&own(ID));
        assert_eq!(keys.to_open(&own(ID)), Some(own(ID)));
        let attacks = [
            own(OTHER_ID),
            arn(REGION, "444455556666", ID),
            arn("us-east-1", "111122223333", ID),
            arn("us-east-1", "111122223333", MRK),
            own(ID).replace("arn:aws:", "arn:aws-cn:"),
            own(ID).replace(":kms:", ":kms2:"),
            own(ID).replace(":key/", ":alias/"),
            own(ID).to_uppercase(),
            format!("{} ", own(ID)),
            format!("{}:x", own(ID)),
            format!("{}/x", own(ID)),
            ID.to_owned(),
            "alias/flink".to_owned(),
            String::new(),
        ];
        for kek in attacks {
            assert_eq!(keys.to_open(&kek), None, "{kek}");
        }
    }

    #[test]
    fn a_key_by_its_id_is_that_of_the_region_and_of_the_account_once_that_is_known() {
        let keys = keys(ID);
        assert_eq!(keys.to_open(&own(ID)), Some(ID.to_owned()));
        assert_eq!(keys.to_open(&arn("us-east-1", "111122223333", ID)), None);
        assert_eq!(keys.to_open(&own(OTHER_ID)), None);
        // The service looks the id up in the caller's account, whatever the file says.
        assert_eq!(keys.to_open(&arn(REGION, "444455556666", ID)), Some(ID.to_owned()));
        keys.wrapped_by(Some(&own(ID))).unwrap();
        assert_eq!(keys.to_open(&arn(REGION, "444455556666", ID)), None);
        assert_eq!(keys.to_open(&own(ID)), Some(ID.to_owned()));
    }

    #[test]
    fn a_multi_region_key_opens_in_every_region_with_the_replica_there() {
        for configured in [own(MRK), MRK.to_owned()] {
            let keys = keys(&configured);
            assert_eq!(keys.to_open(&arn("us-east-1", "111122223333", MRK)), Some(configured.clone()));
            assert_eq!(keys.to_open(&arn("us-east-1", "111122223333", ID)), None);
            keys.opened_by(&arn("us-east-1", "111122223333", MRK), Some(&own(MRK))).unwrap();
        }
        assert_eq!(keys(&own(MRK)).to_open(&arn("us-east-1", "444455556666", MRK)), None);
    }

    #[test]
    fn an_alias_goes_along_until_the_service_has_said_what_is_behind_it() {
        let keys = keys("alias/flink");
        // Whatever key the file names: the service compares it with the alias.
        assert_eq!(keys.to_open(&own(ID)), Some("alias/flink".to_owned()));
        assert_eq!(keys.to_open(&arn("us-east-1", "111122223333", ID)), None);
        assert_eq!(keys.wrapped_by(Some(&own(ID))).unwrap(), own(ID));
        assert_eq!(keys.to_open(&own(ID)), Some(own(ID)));
        assert_eq!(keys.to_open(&own(OTHER_ID)), Some("alias/flink".to_owned()));
        assert_eq!(keys.to_open(&arn(REGION, "444455556666", OTHER_ID)), None);
        // The alias moved: both keys were ours.
        keys.wrapped_by(Some(&own(OTHER_ID))).unwrap();
        assert_eq!(keys.to_open(&own(ID)), Some(own(ID)));
        assert_eq!(keys.to_open(&own(OTHER_ID)), Some(own(OTHER_ID)));
        let by_arn = Keys::new(REGION, "arn:aws:kms:eu-central-1:111122223333:alias/flink", &[]).unwrap();
        assert_eq!(by_arn.to_open(&arn(REGION, "444455556666", ID)), None);
    }

    #[test]
    fn what_a_file_says_never_makes_a_key_known() {
        let keys = keys("alias/flink");
        let stranger = arn(REGION, "444455556666", ID);
        assert_eq!(keys.opened_by(&stranger, Some(&own(ID))).unwrap_err().kind(), Kind::WrappedKey);
        assert_eq!(keys.opened_by(&own(ID), None).unwrap_err().kind(), Kind::WrappedKey);
        assert_eq!(keys.to_open(&stranger), Some("alias/flink".to_owned()));
    }

    #[test]
    fn the_memory_of_an_alias_is_bounded() {
        let keys = keys("alias/flink");
        let nth = |n: usize| own(&format!("{n:08x}-12ab-34cd-56ef-1234567890ab"));
        (0..100).for_each(|n| drop(keys.wrapped_by(Some(&nth(n))).unwrap()));
        assert_eq!(keys.seen.read().len(), MOST_SEEN);
        assert_eq!(keys.to_open(&nth(99)), Some(nth(99)));
        assert_eq!(keys.to_open(&nth(0)), Some("alias/flink".to_owned()));
    }

    #[test]
    fn further_keys_open_because_the_configuration_lists_them() {
        let elsewhere = arn("us-east-1", "444455556666", MRK);
        let keys = Keys::new(REGION, "alias/flink", &[own(OTHER_ID), elsewhere.clone()]).unwrap();
        keys.wrapped_by(Some(&own(ID))).unwrap();
        assert_eq!(keys.to_open(&own(OTHER_ID)), Some(own(OTHER_ID)));
        assert_eq!(keys.to_open(&elsewhere), Some(arn(REGION, "444455556666", MRK)));
        for wrong in [arn("us-east-1", "111122223333", ID), "alias/old".to_owned(), ID.to_owned()] {
            let error = Keys::new(REGION, "alias/flink", &[wrong]).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.message().starts_with("kms.aws.open-key-ids: "), "{error}");
        }
    }

    #[test]
    fn a_service_that_uses_another_key_is_not_believed() {
        for (configured, answer) in [
            (own(ID), Some(own(OTHER_ID))),
            (ID.to_owned(), Some(own(OTHER_ID))),
            (ID.to_owned(), Some(arn("us-east-1", "111122223333", ID))),
            ("alias/flink".to_owned(), Some("alias/flink".to_owned())),
            ("alias/flink".to_owned(), None),
        ] {
            assert_eq!(keys(&configured).wrapped_by(answer.as_deref()).unwrap_err().kind(), Kind::Internal);
        }
    }

    #[test]
    fn a_name_that_can_be_no_key_is_refused_and_the_likely_one_suggested() {
        for (name, said) in [
            ("flink-state", "is alias/flink-state meant?"),
            ("alias/aws/s3", "AWS manages"),
            ("alias/", "no alias"),
            ("alias/a b", "no alias"),
            ("", "no id, ARN or alias"),
            ("key/1234", "is alias/key/1234 meant?"),
            ("arn:aws:s3:::bucket", "not the ARN of an AWS KMS key"),
            ("arn:aws:kms:eu-central-1:111122223333:key/short", "not the ARN"),
            ("arn:aws:kms:eu-central-1:1:key/1234abcd-12ab-34cd-56ef-1234567890ab", "not the ARN"),
            (&arn("us-east-1", "111122223333", ID), "the key is in region 'us-east-1'"),
            ("arn:aws:kms:us-east-1:111122223333:alias/flink", "the key is in region 'us-east-1'"),
        ] {
            let error = Keys::new(REGION, name, &[]).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.message().starts_with("kms.aws.key-id: ") && error.message().contains(said), "{error}");
        }
        for region in ["", "Frankfurt", "eu central", "eu-central-1.evil.example/", "EU-CENTRAL-1"] {
            let error = Keys::new(region, ID, &[]).unwrap_err();
            assert!(error.message().starts_with("kms.aws.region: "), "{error}");
        }
    }
}
