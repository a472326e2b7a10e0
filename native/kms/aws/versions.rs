//! The key material behind a key: AWS KMS keeps all of it, and wraps with the newest.

use std::time::{Duration, SystemTime};

use aws_sdk_kms::operation::get_key_rotation_status::GetKeyRotationStatusOutput;
use aws_sdk_kms::primitives::DateTime;
use aws_sdk_kms::types::{
    IncludeKeyMaterial, KeyMaterialState, KeyMetadata, KeyState, RotationType, RotationsListEntry,
};

use crate::error::{Kind, Result};
use crate::kms::aws::{AwsKmsClient, UNNAMED, errors, named};
use crate::kms::{Destruction, KeyVersion};

/// More pages than a key can have rotations for (a hundred entries each by default).
const MOST_PAGES: usize = 100;
/// How often the end of a rotation is looked for, and how many times. It goes on if it takes longer.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: usize = 12;
const DAY: u64 = 86_400;
/// How often a key can be rotated on demand, ever
/// (https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html).
const ON_DEMAND_ROTATIONS: usize = 25;
/// The period, in days, where AWS KMS names none.
const YEARLY: u32 = 365;

impl AwsKmsClient {
    pub(super) async fn current(&self) -> Result<KeyVersion> {
        let key = self.describe().await?;
        self.current_of(&key).await
    }

    async fn current_of(&self, key: &KeyMetadata) -> Result<KeyVersion> {
        let rotations = self.rotations(self.arn(key)?).await?.unwrap_or_default();
        let id = named(key.current_key_material_id.clone());
        let entry = if id == UNNAMED {
            newest(&rotations)
        } else {
            rotations.iter().find(|entry| entry.key_material_id.as_ref() == Some(&id))
        };
        self.version(key, id, entry)
    }

    pub(super) async fn versions(&self) -> Result<Vec<KeyVersion>> {
        let key = self.describe().await?;
        let rotations = self.rotations(self.arn(&key)?).await?.unwrap_or_default();
        let known: Vec<_> = rotations.iter().filter(|entry| is_in_use(entry)).collect();
        if known.is_empty() {
            let entry = newest(&rotations);
            return Ok(vec![self.version(&key, named(key.current_key_material_id.clone()), entry)?]);
        }
        let versions = known.iter().map(|entry| self.version(&key, named(entry.key_material_id.clone()), Some(*entry)));
        let mut versions = versions.collect::<Result<Vec<_>>>()?;
        versions.sort_by_key(|version| version.created_at);
        Ok(versions)
    }

    /// Has the key rotated, and waits for the new material. A second call while that is going on waits for the same
    /// rotation: AWS KMS limits how many a key may ever have.
    pub(super) async fn rotate_on_demand(&self) -> Result<KeyVersion> {
        let key = self.describe().await?;
        let (arn, before) = (self.arn(&key)?, self.current_of(&key).await?);
        let pending = self.rotating.lock().clone();
        if pending.as_ref().is_some_and(|old| *old != state(&before)) {
            *self.rotating.lock() = None;
            return Ok(before);
        }
        *self.rotating.lock() = Some(state(&before));
        // One that no longer goes on may have ended just now.
        let lost = pending.is_some()
            && !self.rotation_goes_on(arn).await?
            && state(&self.current_of(&self.describe().await?).await?) == state(&before);
        if pending.is_none() || lost {
            self.start_rotation(arn).await?;
        }
        for _ in 0..LOOKS {
            let now = self.current().await?;
            if state(&now) != state(&before) {
                *self.rotating.lock() = None;
                return Ok(now);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(Kind::KmsTimeout.error(format_args!(
            "AWS KMS is still rotating {}: it goes on there; ask for the current version later",
            self.keys.text()
        )))
    }

    /// Has the key deleted after a time that the service bounds; one that is scheduled already stays so.
    pub(super) async fn schedule_deletion(&self, after: Duration) -> Result<Destruction> {
        let days = after.as_secs().div_ceil(DAY);
        let allowed = i32::try_from(days).ok().filter(|days| (7..=30).contains(days));
        let days = allowed.ok_or_else(|| {
            Kind::InvalidArgument.error(format_args!("AWS KMS deletes a key after 7 to 30 days, not after {days}"))
        })?;
        let key = self.describe().await?;
        let arn = self.arn(&key)?;
        let undo = format!("aws kms cancel-key-deletion, then enable-key, --key-id {arn}");
        let scheduled = |date: Option<DateTime>| Destruction::Scheduled { at: date.and_then(time), undo };
        if key.key_state == Some(KeyState::PendingDeletion) {
            return Ok(scheduled(key.deletion_date));
        }
        let request = || self.service.sdk.schedule_key_deletion().key_id(arn).pending_window_in_days(days).send();
        let answer = self.ask(self.call("ScheduleKeyDeletion"), request).await?;
        Ok(scheduled(answer.deletion_date))
    }

    async fn start_rotation(&self, arn: &str) -> Result<()> {
        let call = self.call("RotateKeyOnDemand");
        let request = || self.service.sdk.rotate_key_on_demand().key_id(arn).send();
        let Err(failed) = self.send(call, request).await? else { return Ok(()) };
        if failed.as_service_error().is_some_and(|error| error.is_conflict_exception()) {
            return Ok(()); // someone else began one
        }
        let error = errors::explain(&failed, call);
        if !error.may_pass() {
            *self.rotating.lock() = None;
        }
        Err(error)
    }

    async fn rotation_goes_on(&self, arn: &str) -> Result<bool> {
        Ok(self.rotation_status(arn).await?.on_demand_rotation_start_date.is_some())
    }

    /// The period of automatic rotation, where it is on.
    pub(super) async fn rotates_every(&self) -> Result<Option<Duration>> {
        let key = self.describe().await?;
        let status = self.rotation_status(self.arn(&key)?).await?;
        let days = status.rotation_period_in_days.and_then(|days| u32::try_from(days).ok()).unwrap_or(YEARLY);
        Ok(status.key_rotation_enabled.then(|| Duration::from_secs(DAY * u64::from(days))))
    }

    /// Out of those that a key may ever have on demand; those that AWS KMS made by itself do not count.
    pub(super) async fn rotations_on_demand_left(&self) -> Result<Option<usize>> {
        let key = self.describe().await?;
        let rotations = self.rotations(self.arn(&key)?).await?.unwrap_or_default();
        let asked_for = |entry: &&RotationsListEntry| entry.rotation_type == Some(RotationType::OnDemand);
        Ok(Some(ON_DEMAND_ROTATIONS.saturating_sub(rotations.iter().filter(asked_for).count())))
    }

    pub(super) async fn rotation_status(&self, arn: &str) -> Result<GetKeyRotationStatusOutput> {
        let request = || self.service.sdk.get_key_rotation_status().key_id(arn).send();
        self.ask(self.call("GetKeyRotationStatus"), request).await
    }

    pub(super) async fn describe(&self) -> Result<KeyMetadata> {
        let request = || self.service.sdk.describe_key().key_id(self.keys.text()).send();
        let answer = self.ask(self.call("DescribeKey"), request).await?;
        let key = answer.key_metadata.ok_or_else(|| self.lacks("DescribeKey", "description"))?;
        self.keys.wrapped_by(key.arn.as_deref())?;
        Ok(key)
    }

    /// The key's own name: what is about versions takes no alias.
    fn arn<'k>(&self, key: &'k KeyMetadata) -> Result<&'k str> {
        key.arn.as_deref().ok_or_else(|| self.lacks("DescribeKey", "ARN"))
    }

    /// Every material of the key; `None` where the service keeps no list (emulators).
    pub(super) async fn rotations(&self, arn: &str) -> Result<Option<Vec<RotationsListEntry>>> {
        let call = self.call("ListKeyRotations");
        let (mut found, mut marker) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let request = || {
                let request = self.service.sdk.list_key_rotations().key_id(arn).set_marker(marker.clone());
                request.include_key_material(IncludeKeyMaterial::AllKeyMaterial).send()
            };
            let page = match self.send(call, request).await? {
                Ok(page) => page,
                Err(failed) if errors::is_unknown_operation(&failed) => return Ok(None),
                Err(failed) => return Err(errors::explain(&failed, call)),
            };
            found.extend(page.rotations.unwrap_or_default());
            marker = page.next_marker;
            if !page.truncated || marker.is_none() {
                return Ok(Some(found));
            }
        }
        Err(Kind::Internal.error(format_args!("the list of rotations of {} has no end", self.keys.text())))
    }

    /// The first material has no date of a rotation: it is as old as the key.
    fn version(&self, key: &KeyMetadata, id: String, entry: Option<&RotationsListEntry>) -> Result<KeyVersion> {
        let date = entry.and_then(|entry| entry.rotation_date).or(key.creation_date);
        let created_at = date.and_then(time).ok_or_else(|| self.lacks("DescribeKey", "date of creation"))?;
        Ok(KeyVersion { id, created_at, enabled: key.enabled })
    }
}

/// What tells that a rotation has ended: another material, or a later date where materials have no names.
fn state(version: &KeyVersion) -> String {
    format!("{} {:?}", version.id, version.created_at)
}

fn newest(rotations: &[RotationsListEntry]) -> Option<&RotationsListEntry> {
    rotations.iter().max_by_key(|entry| entry.rotation_date.and_then(time))
}

/// Imported material that waits for its rotation has wrapped nothing yet.
fn is_in_use(entry: &RotationsListEntry) -> bool {
    entry.key_material_id.is_some()
        && matches!(entry.key_material_state, None | Some(KeyMaterialState::Current | KeyMaterialState::NonCurrent))
}

fn time(date: DateTime) -> Option<SystemTime> {
    SystemTime::try_from(date).ok()
}
