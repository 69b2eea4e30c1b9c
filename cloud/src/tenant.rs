//! `lotgate-cloud tenant create`: a tenant with its keys, certificates and first site (PROTOCOL §9.8).
//!
//! The root's private half goes to the caller once and is kept nowhere here.

use crate::certificates::{self, Issued, Request};
use crate::crypto::{self, SealError, key_use_text};
use crate::database::{DatabaseError, to_system_time};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::{log, startup};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{PublicKey, SiteId};
use lotgate_domain::ledger::number::Single;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::time;
use serde_json::json;
use zeroize::Zeroizing;

/// Creates the tenant of the passage.
#[derive(Debug)]
pub struct CreateTenant {
    /// What people call it.
    pub name: String,
    /// What people call its first site.
    pub site: String,
    /// IANA name of the site's time zone.
    pub zone: String,
    /// The root key pair.
    pub root: KeyPair,
    /// The X25519 keys of the two holders who can open a lost queue together, the first one's first; a tenant
    /// without them cannot recover a queue whose key store is lost (REC-12).
    pub recovery: Option<[PublicKey; 2]>,
}

impl Work for CreateTenant {
    type Reply = SiteId;
    const ACTION: &'static str = "tenant.created";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(SiteId, Change), Rejection> {
        if self.name.trim().is_empty() || self.site.trim().is_empty() {
            return Err(Rejection::BadRequest("a tenant and a site have a name"));
        }
        if time::zone(&self.zone).is_none() {
            return Err(Rejection::BadRequest("the zone is not an IANA time zone"));
        }
        let fingerprint = self.root.public().fingerprint();
        remember_master_key(passage).await?;
        let site = self.insert_tenant_and_site(passage).await?;
        let root = Request::tenant_key(KeyUse::Root, self.root.public());
        let root = certificates::issue(passage, &self.root, root)?;
        certificates::insert(passage, &root).await?;
        insert_key(passage, KeyUse::Root, &root, None).await?;
        // Leaf 0 is the root certificate (PROTOCOL §9.17).
        let mut leaves = vec![root.leaf()];
        for key_use in [KeyUse::Issuer, KeyUse::Log, KeyUse::Statement] {
            let seed = Zeroizing::new(crypto::random::<32>()?);
            let keys = KeyPair::from_seed(&seed);
            let request = Request::tenant_key(key_use, keys.public());
            let issued = certificates::issue(passage, &self.root, request)?;
            certificates::insert(passage, &issued).await?;
            let sealed = passage.cloud.master.seal(passage.tenant, key_use, &keys)?;
            insert_key(passage, key_use, &issued, Some(&sealed)).await?;
            leaves.push(issued.leaf());
        }
        leaves.extend(self.certify_recovery(passage).await?);
        log::append(passage, leaves).await?;
        let change = Change {
            enrolled: None,
            detail: json!({
                "name": self.name,
                "site": site,
                "site_name": self.site,
                "zone": self.zone,
                "recovery": self.recovery,
            }),
            prior: None,
            next: Some(fingerprint),
        };
        Ok((site, change))
    }
}

impl CreateTenant {
    /// The certificates of the recovery keys, in order of the holders (PROTOCOL §9.21); their leaves.
    async fn certify_recovery(&self, passage: &Passage<'_>) -> Result<Vec<Single>, Rejection> {
        let Some(keys) = self.recovery else { return Ok(Vec::new()) };
        let [first, second] = keys;
        if first == second {
            return Err(Rejection::BadRequest("the two recovery keys are one"));
        }
        let mut leaves = Vec::with_capacity(2);
        let mut after = None;
        for key in keys {
            let request = Request::recovery_key(key, after);
            let issued = certificates::issue(passage, &self.root, request)?;
            certificates::insert(passage, &issued).await?;
            after = Some(issued.certificate.serial);
            leaves.push(issued.leaf());
        }
        Ok(leaves)
    }

    async fn insert_tenant_and_site(&self, passage: &Passage<'_>) -> Result<SiteId, Rejection> {
        let now = to_system_time(passage.now);
        let fingerprint = self.root.public().fingerprint();
        passage
            .transaction
            .execute(
                "INSERT INTO tenant (tenant_id, name, root_fingerprint, created_at) VALUES ($1, $2, $3, $4)",
                &[&passage.tenant.0, &self.name, &fingerprint.0.as_slice(), &now],
            )
            .await?;
        let unix_ms = u64::try_from(passage.now.unix_ms()).unwrap_or_default();
        let site = SiteId::from_parts(unix_ms, &crypto::random()?);
        passage
            .transaction
            .execute(
                "INSERT INTO site (tenant_id, site_id, name, zone, created_at) VALUES ($1, $2, $3, $4, $5)",
                &[&passage.tenant.0, &site.0, &self.site, &self.zone, &now],
            )
            .await?;
        Ok(site)
    }
}

/// Writes which master key seals, with the first key that it seals; all others are sealed under the same.
async fn remember_master_key(passage: &Passage<'_>) -> Result<(), Rejection> {
    let own = passage.cloud.master.fingerprint();
    let insert = "INSERT INTO master_key (fingerprint) VALUES ($1) ON CONFLICT DO NOTHING";
    passage.transaction.execute(insert, &[&own.0.as_slice()]).await?;
    match startup::master_key(&**passage.transaction).await? {
        Some(known) if known == own.0 => Ok(()),
        _ => Err(SealError::OtherMaster.into()),
    }
}

async fn insert_key(
    passage: &Passage<'_>,
    key_use: KeyUse,
    issued: &Issued,
    sealed: Option<&[u8]>,
) -> Result<(), DatabaseError> {
    let key = issued.certificate.public_key;
    passage
        .transaction
        .execute(
            "INSERT INTO tenant_key (tenant_id, key_use, key_id, public_key, sealed_seed, certificate_serial)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                &passage.tenant.0,
                &key_use_text(key_use),
                &key.key_id().0.as_slice(),
                &key.0.as_slice(),
                &sealed,
                &issued.certificate.serial.0,
            ],
        )
        .await?;
    Ok(())
}
