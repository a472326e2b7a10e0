//! A key's rotation policy: `GET /keys/<name>/rotationpolicy` of the keys API.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::kms::azure::wire;

const DAY: u64 = 24 * 3600;

/// What the vault does to a key in the course of time.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationPolicy {
    #[serde(default)]
    lifetime_actions: Vec<LifetimeAction>,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Deserialize)]
struct LifetimeAction {
    trigger: Trigger,
    action: Action,
}

/// Either of the two is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    time_after_create: Option<String>,
    time_before_expiry: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    expiry_time: Option<String>,
}

impl RotationPolicy {
    /// The age at which the vault makes a new version, if it does; a policy that only notifies does not.
    pub fn rotates_every(&self) -> Result<Option<Duration>> {
        let Some(rotates) = self.lifetime_actions.iter().find(|one| one.action.kind.eq_ignore_ascii_case("rotate"))
        else {
            return Ok(None);
        };
        let Trigger { time_after_create, time_before_expiry } = &rotates.trigger;
        let every = match (time_after_create, time_before_expiry, &self.attributes.expiry_time) {
            (Some(after), _, _) => period(after),
            (None, Some(before), Some(expiry)) => {
                period(expiry).zip(period(before)).map(|(expiry, before)| expiry.saturating_sub(before))
            }
            (None, _, _) => None,
        };
        every.map(Some).ok_or_else(|| wire::nonsense(format_args!("its rotation policy has no period")))
    }
}

/// A duration of ISO 8601 in years, months, weeks and days, such as `P90D` or `P1Y6M`; a month has 30 days, a year 365.
fn period(text: &str) -> Option<Duration> {
    let mut days = 0_u64;
    let mut number = String::new();
    for character in text.strip_prefix('P')?.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'Y' => 365,
            'M' => 30,
            'W' => 7,
            'D' => 1,
            _ => return None,
        };
        days = days.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && days > 0).then(|| days.checked_mul(DAY).map(Duration::from_secs))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(policy: &str) -> Result<Option<u64>> {
        let policy: RotationPolicy = serde_json::from_str(policy).unwrap();
        Ok(policy.rotates_every()?.map(|every| every.as_secs() / DAY))
    }

    #[test]
    fn a_policy_rotates_after_a_time_or_before_the_end() {
        // The examples of the reference ("Get Key Rotation Policy").
        let after = r#"{"id":"https://v/keys/k/rotationpolicy","lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P2Y","created":1482188947,"updated":1482188947}}"#;
        assert_eq!(every(after).unwrap(), Some(90));
        let before = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":null,"timeBeforeExpiry":"P30D"},"action":{"type":"rotate"}}],"attributes":{"expiryTime":"P1Y"}}"#;
        assert_eq!(every(before).unwrap(), Some(335));
        let notifies = r#"{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":{}}"#;
        assert_eq!(every(notifies).unwrap(), None);
        assert_eq!(every("{}").unwrap(), None);
        assert!(every(&before.replace("P1Y", "soon")).is_err());
        assert!(every(&before.replace("expiryTime", "expires")).is_err());
    }

    #[test]
    fn periods_are_read_as_iso_8601_writes_them() {
        for (text, days) in [("P90D", Some(90)), ("P18M", Some(540)), ("P1Y2M3D", Some(428)), ("P2W", Some(14))] {
            assert_eq!(period(text), days.map(|days| Duration::from_secs(days * DAY)), "{text}");
        }
        for text in ["", "P", "90D", "P90", "PD", "P1H", "PT1H", "P-1D", "P99999999999999999999D", "P0D"] {
            assert_eq!(period(text), None, "{text}");
        }
    }
}
