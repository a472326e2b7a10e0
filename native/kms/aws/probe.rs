//! Tries each permission, without changing or revealing anything: by dry runs where the API has them.

use std::error::Error as StdError;
use std::future::Future;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, DryRunModifierType};

use crate::error::{Error, Result};
use crate::kms::aws::{AwsKmsClient, errors, pairs};
use crate::kms::{Canary, Need, Probe};

impl AwsKmsClient {
    /// What sealing and opening need comes first, then what only fallbacks and rewrapping need, then rotation.
    /// Whether the key may be rotated cannot be tried without rotating it.
    pub(super) async fn probe_all(&self) -> Vec<Probe> {
        let context = match Canary::context() {
            Ok(context) => pairs(&context),
            Err(error) => return vec![Probe::new("kms:GenerateDataKey", Err(error))],
        };
        let (sdk, key) = (&self.service.sdk, self.keys.text());
        let mut wrapped = None;
        let draw = || {
            let request = sdk.generate_data_key().key_id(key).key_spec(DataKeySpec::Aes256).dry_run(true);
            request.set_encryption_context(context.clone()).send()
        };
        let drawn = match self.dry("GenerateDataKey", draw).await {
            // A server that knows no dry runs has drawn one.
            Ok(answer) => {
                wrapped = answer.and_then(|answer| answer.ciphertext_blob);
                Ok(())
            }
            Err(error) => Err(error),
        };
        let modifier = wrapped.is_none().then(|| vec![DryRunModifierType::IgnoreCiphertext]);
        let open = || {
            let request = sdk.decrypt().key_id(key).dry_run(true).set_dry_run_modifiers(modifier.clone());
            request.set_ciphertext_blob(wrapped.clone()).set_encryption_context(context.clone()).send()
        };
        let wrap = || {
            let request = sdk.encrypt().key_id(key).plaintext(Blob::new([0; 32])).dry_run(true);
            request.set_encryption_context(context.clone()).send()
        };
        let rewrap = || {
            let request = sdk.re_encrypt().source_key_id(key).destination_key_id(key).dry_run(true);
            let request = request.set_dry_run_modifiers(modifier.clone()).set_ciphertext_blob(wrapped.clone());
            let request = request.set_source_encryption_context(context.clone());
            request.set_destination_encryption_context(context.clone()).send()
        };
        let described = self.describe().await;
        let care = |permission: &str, outcome| Probe::new(permission, outcome).needed_for(Need::Care);
        let mut probes = vec![
            Probe::new("kms:GenerateDataKey", drawn),
            Probe::new("kms:Decrypt", self.dry("Decrypt", open).await.map(drop)),
            Probe::new("kms:Encrypt", self.dry("Encrypt", wrap).await.map(drop)).needed_for(Need::Fallback),
            care("kms:ReEncrypt*", self.dry("ReEncrypt", rewrap).await.map(drop)),
            care("kms:DescribeKey", described.as_ref().map(drop).map_err(Error::clone)),
        ];
        // An alias has no rotations: without its key's ARN there is nothing to ask about.
        let arn = described.ok().and_then(|key| key.arn).or_else(|| (!key.contains("alias/")).then(|| key.to_owned()));
        if let Some(arn) = arn {
            probes.push(care("kms:ListKeyRotations", self.rotations(&arn).await.map(drop)));
            probes.push(care("kms:GetKeyRotationStatus", self.rotation_status(&arn).await.map(drop)));
        }
        probes
    }

    /// A dry run that would have succeeded is one of the API's errors; `Some` if the server did it in earnest.
    async fn dry<T, E, F>(&self, action: &'static str, request: impl Fn() -> F + Send + Sync) -> Result<Option<T>>
    where
        T: Send,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        match self.send(self.call(action), request).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if errors::would_succeed(&error) => Ok(None),
            Err(error) => Err(errors::explain(&error, self.call(action))),
        }
    }
}
