//! `GET /v1/time?tenant=&nonce=`: the signed time, for anybody who asks (PROTOCOL §3).
//!
//! A station whose clock is dead can prove nothing yet, so nobody is authenticated here. What is open to all can
//! change nothing ([`Mode::Show`]) and is answered only so often ([`limit`]).

pub mod limit;

use crate::certificates;
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Mode, Passage, Work};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{Hash, TenantId};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::statement::event::TimeStatement;
use lotgate_domain::statement::{self, Statement as _};

/// What the query asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeQuery {
    /// Whose statement key is to sign.
    pub tenant: TenantId,
    /// The 32 bytes that the station chose.
    pub nonce: Hash,
}

impl TimeQuery {
    /// Reads `tenant=<id>&nonce=<64 hex digits>`, in this order and nothing else.
    ///
    /// # Errors
    /// `bad_request`.
    pub fn of_query(query: &str) -> Result<Self, Rejection> {
        let parse = || {
            let (tenant, nonce) = query.strip_prefix("tenant=")?.split_once("&nonce=")?;
            Some(Self { tenant: tenant.parse().ok()?, nonce: nonce.parse().ok()? })
        };
        parse().ok_or(Rejection::BadRequest("query is not tenant=<id>&nonce=<64 hexadecimal digits>"))
    }
}

/// Signs the time.
#[derive(Debug, Clone, Copy)]
pub struct ShowTime {
    /// The 32 bytes that the answer is bound to.
    pub nonce: Hash,
}

impl Work for ShowTime {
    type Reply = Vec<u8>;
    const ACTION: &'static str = "time.shown";
    const ACCESS: Access = Access::Anyone;
    const MODE: Mode = Mode::Show;

    async fn run(self, passage: &Passage<'_>) -> Result<(Vec<u8>, Change), Rejection> {
        let keys = match certificates::tenant_key(passage, KeyUse::Statement).await {
            // No such tenant: who asks is told no more than who has no key.
            Err(Rejection::Missing(_)) => return Err(ProblemCode::UnknownKey.into()),
            keys => keys?,
        };
        let statement = TimeStatement {
            v: 1,
            kind: TimeStatement::KIND.to_owned(),
            tenant: passage.tenant,
            key: keys.public().key_id(),
            nonce: self.nonce,
            time: passage.now,
        };
        Ok((statement::sign(&statement, &keys)?, Change::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_form_of_the_query_is_read() {
        let tenant = TenantId::from_parts(1, &[1; 10]);
        let nonce = Hash([7; 32]);
        let query = format!("tenant={tenant}&nonce={nonce}");
        assert_eq!(TimeQuery::of_query(&query).unwrap(), TimeQuery { tenant, nonce });
        for bad in [
            String::new(),
            format!("tenant={tenant}"),
            format!("nonce={nonce}&tenant={tenant}"),
            format!("{query}&more=1"),
            format!("{query}00"),
            query.to_uppercase(),
            format!("tenant={tenant}&nonce=abcd"),
        ] {
            assert!(TimeQuery::of_query(&bad).is_err(), "{bad}");
        }
    }
}
