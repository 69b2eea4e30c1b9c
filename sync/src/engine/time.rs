//! The cloud's signed time, as a pure check (PROTOCOL §3).

use super::failure::InconsistencyCode;
use lotgate_domain::certificate::Trust;
use lotgate_domain::ids::Hash;
use lotgate_domain::statement::event::TimeStatement;
use lotgate_domain::statement::{self, Signed};

/// Reads the answer to a question with `nonce`.
///
/// # Errors
/// `time_invalid` if it is not the tenant's statement, or the answer to another question.
pub fn check_time(
    trust: &Trust,
    nonce: Hash,
    bytes: &[u8],
) -> Result<Signed<TimeStatement>, InconsistencyCode> {
    statement::read::<TimeStatement>(bytes, trust.tenant, &trust.statement)
        .ok()
        .filter(|signed| signed.value.nonce == nonce)
        .ok_or(InconsistencyCode::TimeInvalid)
}
