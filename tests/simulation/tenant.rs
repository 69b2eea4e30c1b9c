//! The tenant: its keys and what they certify.

use lotgate_domain::certificate::{Certificate, KeyUse, Subject, SubjectType};
use lotgate_domain::ids::{CertificateSerial, Hash, PublicKey, SiteId, StationId, TenantId};
use lotgate_domain::ledger::Authority;
use lotgate_domain::ledger::number::Single;
use lotgate_domain::protocol::Site;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, Statement};
use lotgate_domain::time::Timestamp;

/// The wall clock at the start of every run.
pub(crate) const NOON: i64 = 1_800_000_000_000;

pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) site: Site,
    pub(crate) root: KeyPair,
    pub(crate) log: KeyPair,
    pub(crate) statement: KeyPair,
    issuer: KeyPair,
    /// Root, issuer, log, statement.
    pub(crate) certificates: Vec<Issued>,
}

/// A certificate as it goes into the log and to stations.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) serial: CertificateSerial,
    pub(crate) hash: Hash,
    pub(crate) bytes: Vec<u8>,
}

impl Issued {
    pub(crate) fn leaf(&self) -> Single {
        Single::Certificate { serial: self.serial, hash: self.hash }
    }
}

impl Tenant {
    pub(crate) fn new() -> Self {
        let pair = |n: u8| KeyPair::from_seed(&[n; 32]);
        let id = TenantId::from_parts(1, &[1; 10]);
        let site = SiteId::from_parts(2, &[2; 10]);
        let site = Site { id: site, name: "Plant 1".to_owned(), zone: "Europe/Berlin".to_owned() };
        let (root, issuer, log, statement) = (pair(1), pair(2), pair(3), pair(4));
        let mut tenant = Self { id, site, root, log, statement, issuer, certificates: Vec::new() };
        let own = [
            (&tenant.root, KeyUse::Root),
            (&tenant.issuer, KeyUse::Issuer),
            (&tenant.log, KeyUse::Log),
            (&tenant.statement, KeyUse::Statement),
        ];
        let issued = own.into_iter().zip(1..).map(|((keys, key_use), n)| {
            let id = keys.public().key_id().to_string();
            let subject = Subject { kind: SubjectType::TenantKey, id, key_use, site: None };
            tenant.certify(&tenant.root, n, subject, keys.public(), None, None)
        });
        tenant.certificates = issued.collect();
        tenant
    }

    /// Certifies a station's key; `n` orders serials.
    pub(crate) fn certify_station(
        &self,
        n: u64,
        station: StationId,
        public_key: PublicKey,
        hpke_key: PublicKey,
        previous: Option<CertificateSerial>,
    ) -> Issued {
        let subject = Subject {
            kind: SubjectType::Station,
            id: station.to_string(),
            key_use: KeyUse::Operation,
            site: Some(self.site.id),
        };
        self.certify(&self.issuer, 100 + n, subject, public_key, Some(hpke_key), previous)
    }

    fn certify(
        &self,
        signer: &KeyPair,
        n: u64,
        subject: Subject,
        public_key: PublicKey,
        hpke_key: Option<PublicKey>,
        previous: Option<CertificateSerial>,
    ) -> Issued {
        let serial = CertificateSerial::from_parts(n, &[7; 10]);
        let time = Timestamp::from_unix_ms(NOON);
        let certificate = Certificate {
            v: 1,
            kind: Certificate::KIND.to_owned(),
            tenant: self.id,
            key: signer.public().key_id(),
            serial,
            subject,
            public_key,
            hpke_key,
            training: false,
            roles: Vec::new(),
            not_before: time,
            not_after: None,
            previous,
            issued_at: time,
        };
        let bytes = statement::sign(&certificate, signer).unwrap();
        Issued { serial, hash: lotgate_domain::entry::hash(&bytes), bytes }
    }

    pub(crate) fn authority(&self) -> Authority<'_> {
        Authority { tenant: self.id, keys: &self.statement }
    }

    /// Signs with the statement key.
    pub(crate) fn sign<T: Statement>(&self, value: &T) -> Vec<u8> {
        statement::sign(value, &self.statement).unwrap()
    }
}
