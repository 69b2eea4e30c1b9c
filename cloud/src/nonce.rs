//! Challenge nonces: freshness without a clock at the station and without state at the cloud (PROTOCOL §9.11).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lotgate_domain::ids::{StationId, TenantId};
use lotgate_domain::time::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

const PREFIX: &[u8] = b"lotgate/nonce/v1";
const MINUTE_MS: i64 = 60_000;
const MINUTES_AFTER: i64 = 10;
const MAC: usize = 32;

/// The keys of the nonces, the same at every worker: the one that makes them and the one before it.
#[derive(Clone)]
pub struct NonceKeys {
    current: Zeroizing<[u8; 32]>,
    previous: Option<Zeroizing<[u8; 32]>>,
}

impl NonceKeys {
    /// Takes the key that makes nonces, and the one whose nonces are still taken.
    #[must_use]
    pub fn new(current: [u8; 32], previous: Option<[u8; 32]>) -> Self {
        Self { current: Zeroizing::new(current), previous: previous.map(Zeroizing::new) }
    }

    /// The nonce of a station for the minute of `now`.
    #[must_use]
    pub fn issue(&self, tenant: TenantId, station: StationId, now: Timestamp) -> String {
        let minute = minute_of(now);
        let mac = mac(&self.current, tenant, station, minute).map(|mac| mac.finalize().into_bytes());
        let mac = mac.unwrap_or_default();
        URL_SAFE_NO_PAD.encode([minute.to_be_bytes().as_slice(), mac.as_slice()].concat())
    }

    /// Whether `nonce` is one of the station's, of this minute or one of the ten before it.
    #[must_use]
    pub fn is_fresh(&self, nonce: &str, tenant: TenantId, station: StationId, now: Timestamp) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((minute, given)) = bytes.split_first_chunk::<8>() else { return false };
        let minute = i64::from_be_bytes(*minute);
        let age = minute_of(now).checked_sub(minute);
        if given.len() != MAC || !age.is_some_and(|age| (0..=MINUTES_AFTER).contains(&age)) {
            return false;
        }
        std::iter::once(&self.current)
            .chain(&self.previous)
            .any(|key| mac(key, tenant, station, minute).is_some_and(|mac| mac.verify_slice(given).is_ok()))
    }
}

impl std::fmt::Debug for NonceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NonceKeys")
    }
}

fn minute_of(now: Timestamp) -> i64 {
    now.unix_ms().div_euclid(MINUTE_MS)
}

fn mac(key: &[u8; 32], tenant: TenantId, station: StationId, minute: i64) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    let (tenant, station) = (tenant.to_string(), station.to_string());
    for part in [PREFIX, &[0], tenant.as_bytes(), &[0], station.as_bytes(), &[0], &minute.to_be_bytes()] {
        mac.update(part);
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (TenantId, StationId) {
        (TenantId::from_parts(1, &[1; 10]), StationId::from_parts(2, &[2; 10]))
    }

    #[test]
    fn a_nonce_holds_for_its_minute_and_the_ten_after_it() {
        let (tenant, station) = ids();
        let keys = NonceKeys::new([1; 32], None);
        let made = Timestamp::from_unix_ms(1_700_000_000_000 / MINUTE_MS * MINUTE_MS + 59_999);
        let nonce = keys.issue(tenant, station, made);
        for (later_ms, fresh) in
            [(0, true), (1, true), (10 * MINUTE_MS, true), (10 * MINUTE_MS + 1, false), (-MINUTE_MS, false)]
        {
            let now = made.plus_ms(later_ms);
            assert_eq!(keys.is_fresh(&nonce, tenant, station, now), fresh, "{later_ms} ms later");
        }
    }

    #[test]
    fn a_nonce_is_for_one_station_of_one_tenant_under_a_known_key() {
        let ((tenant, station), now) = (ids(), Timestamp::from_unix_ms(1_700_000_000_000));
        let old = NonceKeys::new([1; 32], None);
        let nonce = old.issue(tenant, station, now);
        assert!(!old.is_fresh(&nonce, TenantId::from_parts(9, &[1; 10]), station, now), "other tenant");
        assert!(!old.is_fresh(&nonce, tenant, StationId::from_parts(9, &[1; 10]), now), "other station");
        assert!(NonceKeys::new([2; 32], Some([1; 32])).is_fresh(&nonce, tenant, station, now), "rotated");
        assert!(!NonceKeys::new([2; 32], None).is_fresh(&nonce, tenant, station, now), "other key");
    }

    #[test]
    fn any_other_text_is_not_fresh() {
        let ((tenant, station), now) = (ids(), Timestamp::from_unix_ms(1_700_000_000_000));
        let keys = NonceKeys::new([1; 32], None);
        let nonce = keys.issue(tenant, station, now);
        let mut minute_ahead = URL_SAFE_NO_PAD.decode(&nonce).unwrap();
        minute_ahead[7] -= 1;
        for bad in ["", "x", "AAAA", &nonce[1..], &format!("{nonce}A"), &URL_SAFE_NO_PAD.encode(minute_ahead)]
        {
            assert!(!keys.is_fresh(bad, tenant, station, now), "{bad}");
        }
    }
}
